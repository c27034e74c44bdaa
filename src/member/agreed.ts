import { FormatLevels, VERSIONED_LEVEL } from "../cluster/format.js";
import type { SnapshotHead } from "../cluster/snapshot-head.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import type { Entry } from "../raft/entry.js";
import { type Command, CommandOp } from "../store/command.js";
import { ClusterTime, type ClusterTimePorts } from "./cluster-time.js";
import { FormatRise } from "./format-rise.js";

const FORMAT_LEVEL = cellOf("formatLevel");

export interface AgreedPorts extends Omit<ClusterTimePorts, "formats"> {
  readonly metrics: MetricCells;
  /**
   * Once for each rise, at a start and with a snapshot too: what is written from now on has this
   * format.
   */
  readonly onFormatLevel: (level: number) => void;
}

/**
 * What members agree on by the log besides the store and the membership: the time, and the formats.
 */
export class Agreed {
  readonly time: ClusterTime;
  readonly formats: FormatLevels;
  readonly #rise: FormatRise;
  readonly #ports: AgreedPorts;

  /**
   * @param newest format level that this member knows. @param head of the snapshot it starts from
   */
  constructor(newest: number, head: SnapshotHead, ports: AgreedPorts) {
    this.formats = new FormatLevels(newest);
    this.time = new ClusterTime(head.clock, { ...ports, formats: this.formats });
    this.#rise = new FormatRise(ports.raft, this.formats, ports.propose);
    this.#ports = ports;
  }

  /** For a snapshot. */
  get head(): SnapshotHead {
    return { format: this.formats.level, clock: this.time.mark };
  }

  /**
   * Whether writes may be taken. A leader of a build that does not tell the time leaves its
   * followers to their own clocks.
   */
  get hasTime(): boolean {
    if (this.time.clock.isKnown) return true;
    const { raft } = this.#ports;
    const isOldLeader = !raft.isLeader && this.formats.isOld(raft.lead);
    return isOldLeader && this.formats.level < VERSIONED_LEVEL;
  }

  /**
   * A snapshot, the leader's or the one of the start, stands for the log up to it. @throws
   * NewerFormatError
   */
  restore({ clock, format }: SnapshotHead, monoMs: number): void {
    this.time.restore(clock, monoMs);
    this.#raise(format, "");
  }

  /** As ClusterTime.applies. @throws NewerFormatError */
  applies(entry: Entry, command: Command, isOwn: boolean, monoMs: number): boolean {
    if (command.op === CommandOp.raise) this.#raise(Number(command.prevIndex), command.value);
    return this.time.applies(entry, command, isOwn, monoMs);
  }

  /** @param members of the cluster, learners and this one included */
  tick(
    members: readonly bigint[],
    store: { readonly appliedTerm: number; readonly expiringNodes: number },
    { wallMs, monoMs }: { readonly wallMs: number; readonly monoMs: number },
  ): void {
    this.time.tick(store.appliedTerm, store.expiringNodes, wallMs, monoMs);
    this.#rise.tick(members, this.time.clock.read(wallMs, monoMs), monoMs);
  }

  #raise(level: number, version: string): void {
    const hasRisen = this.formats.raise(level, version, "the log");
    this.#ports.metrics.set(FORMAT_LEVEL, this.formats.level);
    if (hasRisen) this.#ports.onFormatLevel(level);
  }
}
