import { FormatLevels, LATE_TTL_LEVEL, VERSIONED_LEVEL } from "../cluster/format.js";
import type { SnapshotHead } from "../cluster/snapshot-head.js";
import { assert } from "../lib/assert.js";
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
   * Once per rise, also at start and after a snapshot. Entries and files written from now on have
   * this format.
   */
  readonly onFormatLevel: (level: number) => void;
}

/**
 * Replicated state besides the store and the membership: the cluster's time and the format level.
 */
export class Agreed {
  readonly time: ClusterTime;
  readonly formats: FormatLevels;
  readonly #rise: FormatRise;
  readonly #ports: AgreedPorts;

  /**
   * @param newest format level that this member supports
   * @param head of the snapshot it starts from
   */
  constructor(newest: number, head: SnapshotHead, ports: AgreedPorts) {
    assert(head.format <= newest, "a member starts from formats that it reads");
    this.formats = new FormatLevels(newest);
    this.time = new ClusterTime(head.clock, { ...ports, formats: this.formats });
    this.#rise = new FormatRise(ports.raft, this.formats, ports.propose);
    this.#ports = ports;
  }

  /** Saved with a snapshot. */
  get head(): SnapshotHead {
    return { format: this.formats.level, clock: this.time.mark };
  }

  /**
   * Whether writes may be accepted. Under a leader of a build without a cluster clock, followers
   * use their own clocks.
   */
  get hasTime(): boolean {
    if (this.time.clock.isKnown) return true;
    const { raft } = this.#ports;
    const isOldLeader = !raft.isLeader && this.formats.isOld(raft.lead);
    return isOldLeader && this.formats.level < VERSIONED_LEVEL;
  }

  /**
   * A snapshot, from the leader or from disk at start, replaced the log up to it.
   * @throws NewerFormatError
   */
  restore({ clock, format }: SnapshotHead, monoMs: number): void {
    assert(format >= 1, "formats count from 1");
    this.time.restore(clock, monoMs);
    this.#raise(format, "");
  }

  /** As ClusterTime.applies. @throws NewerFormatError */
  applies(entry: Entry, command: Command, ownMs: number | undefined, monoMs: number): boolean {
    if (command.op === CommandOp.raise) {
      const before = this.formats.level;
      this.#raise(Number(command.prevIndex), command.value);
      const isFirst = before < LATE_TTL_LEVEL && this.formats.level >= LATE_TTL_LEVEL;
      if (isFirst) this.time.countFrom(command.timeMs);
    }
    return this.time.applies(entry, command, ownMs, monoMs);
  }

  /** As ClusterTime.dated. */
  dated(command: Command): Command {
    if (command.expirationMs === 0 || this.formats.level < LATE_TTL_LEVEL) return command;
    return this.time.dated(command);
  }

  /** @param members of the cluster, learners and this one included */
  tick(
    members: readonly bigint[],
    store: { readonly appliedTerm: number; readonly expiringNodes: number },
    { wallMs, monoMs }: { readonly wallMs: number; readonly monoMs: number },
  ): void {
    assert(store.expiringNodes >= 0, "a number of nodes is not negative");
    this.time.tick(store.appliedTerm, store.expiringNodes, wallMs, monoMs);
    // The times of the log count from that of the raise: neither a wall clock nor a time that
    // entries not yet applied have replaced may begin them.
    if (this.time.clock.isKnown && store.appliedTerm === this.#ports.raft.term) {
      this.#rise.tick(members, this.time.clock.read(wallMs, monoMs), monoMs);
    }
  }

  #raise(level: number, version: string): void {
    const before = this.formats.level;
    const hasRisen = this.formats.raise(level, version, "the log");
    assert(this.formats.level >= level, "a format level never falls");
    assert(this.formats.level <= this.formats.newest, "a member reads all formats that it runs at");
    assert(hasRisen === this.formats.level > before, "a rise is told of, and nothing else is");
    this.#ports.metrics.set(FORMAT_LEVEL, this.formats.level);
    if (hasRisen) this.#ports.onFormatLevel(level);
  }
}
