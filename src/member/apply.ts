import { readEnvelope } from "../cluster/envelope.js";
import { formatId } from "../cluster/ids.js";
import { decodeMemberChange } from "../cluster/member-change.js";
import type { Membership } from "../cluster/membership.js";
import { judgeConfChange } from "../cluster/rules.js";
import { assert } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { decodeConfChange as decodeRaftChange } from "../raft/conf-change.js";
import { type Entry, EntryType } from "../raft/entry.js";
import type { Position } from "../raft/log.js";
import type { Raft } from "../raft/raft.js";
import type { Machines } from "./machine.js";
import type { MembershipChanges } from "./membership-changes.js";
import type { RaftMetrics } from "./metrics.js";
import type { Removal } from "./removal.js";
import type { ClientPort } from "./replies.js";
import type { SlowWarnings } from "./slow-warnings.js";
import type { Snapshots } from "./snapshots.js";
import type { TurnTimes } from "./times.js";
import type { V2Machine } from "./v2-machine.js";
import type { Writes } from "./writes.js";

/** Entries between two publishes: the frontends send responses while the core goes on applying. */
const PUBLISH_RESPONSES = 64;

const LEARNER_PROMOTIONS = cellOf("learnerPromotions");

export interface ApplierParts {
  readonly raft: Raft;
  readonly machines: Machines;
  /** The machine that holds the membership. */
  readonly v2: V2Machine;
  readonly membership: Membership;
  readonly writes: Writes;
  readonly changes: MembershipChanges;
  readonly removal: Removal;
  readonly snapshots: Snapshots;
  readonly clients: ClientPort;
  readonly times: TurnTimes;
  readonly raftMetrics: RaftMetrics;
  readonly slow: SlowWarnings;
  readonly metrics: MetricCells;
  readonly log: Logger;
}

/**
 * Applies committed entries: commands to the machine they name, conf changes to raft and the
 * membership.
 */
export class Applier {
  readonly #parts: ApplierParts;
  #index: number;
  #term: number;

  /** @param position of the snapshot that the machines were restored from */
  constructor(parts: ApplierParts, { index, term }: Position) {
    assert(index > 0 || term === 0, "no entry precedes the first");
    this.#parts = parts;
    this.#index = index;
    this.#term = term;
  }

  /** Of the last entry applied, or of the snapshot that replaced it. */
  get index(): number {
    return this.#index;
  }

  get term(): number {
    return this.#term;
  }

  /** A snapshot replaced the entries up to this position. */
  skipTo({ index, term }: Position): void {
    assert(
      index > this.#index && term >= this.#term,
      "an installed snapshot is ahead of the applied index",
    );
    this.#index = index;
    this.#term = term;
    this.#parts.writes.skipTo(term);
  }

  apply(entries: readonly Entry[]): void {
    const { raft, writes, snapshots, clients, raftMetrics, slow, v2 } = this.#parts;
    const startMs = performance.now();
    let bytes = 0;
    for (const entry of entries) {
      assert(entry.index === this.#index + 1, "entries are applied in order, each exactly once");
      assert(entry.term >= this.#term, "terms never decrease along the log");
      bytes += entry.data.length;
      if (entry.term !== this.#term) writes.onTerm(entry.term);
      if (entry.type === EntryType.confChange) this.#applyConfChange(entry);
      else if (entry.data.length > 0) this.#applyCommand(entry);
      this.#index = entry.index;
      this.#term = entry.term;
      if (entry.index % PUBLISH_RESPONSES === 0) clients.publish();
    }
    assert(this.#index <= raft.commit, "only committed entries are applied");
    raft.applied(this.#index);
    snapshots.applied(this.#index, bytes);
    const tookMs = performance.now() - startMs;
    raftMetrics.onApplied(entries.length, tookMs, v2.store);
    if (tookMs > slow.applyMs) slow.apply(entries, tookMs);
    raftMetrics.showWrites(raft.commit, this.#index, writes.open);
  }

  /** @throws NewerFormatError for a machine unknown to this build */
  #applyCommand(entry: Entry): void {
    const { machines, writes } = this.#parts;
    const oldest = writes.takeIfOldest(entry.data);
    if (oldest !== undefined) {
      assert(oldest.data === entry.data, "a proposal taken for an entry is that entry's own");
      machines.get(oldest.machine).apply(entry, oldest.payloadAt, oldest);
      return;
    }
    const envelope = readEnvelope(entry.data);
    assert(envelope.payloadAt <= entry.data.length, "a payload lies within its entry");
    machines.get(envelope.machine).apply(entry, envelope.payloadAt, writes.takeOf(envelope));
  }

  #applyConfChange(entry: Entry): void {
    const { raft, v2, membership, changes, removal, metrics, times, log } = this.#parts;
    const change = decodeRaftChange(entry.data);
    const content = decodeMemberChange(change.context);
    v2.countMembershipReads();
    assert(entry.type === EntryType.confChange, "a membership change has a type of its own");
    const verdict = judgeConfChange(content, membership);
    if (verdict === "ok") {
      raft.applyConfChange(change);
      v2.applyConfChange(content);
    }
    changes.applied(content, verdict);
    if (verdict === "ok" && content.kind === "promote") {
      if (raft.isLeader) metrics.add(LEARNER_PROMOTIONS, 1);
      log.info({ member: formatId(content.id) }, "promoted learner to voter");
    }
    if (verdict === "ok" && content.kind === "remove" && content.id === raft.id) {
      removal.onApplied(times.monoMs);
    }
  }
}
