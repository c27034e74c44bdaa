import { LEARNER_LEVEL } from "../cluster/format.js";
import type { CarriedConfChange, MemberChange } from "../cluster/member-change.js";
import type { Membership } from "../cluster/membership.js";
import { OpenChanges } from "../cluster/open-changes.js";
import { raftChangeOf } from "../cluster/raft-change.js";
import type { ConfChangeVerdict } from "../cluster/rules.js";
import { assert } from "../lib/assert.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { NONE } from "../raft/entry.js";
import type { Raft } from "../raft/raft.js";
import {
  confChangeResponse,
  internalError,
  learnerNotReady,
  learnersUnsupported,
  refuseConfChange,
  tooManyChanges,
} from "../v2/members.js";
import type { ApiResponse } from "../v2/plain.js";
import { LIMIT_REACHED, type MemberLimits } from "./limits.js";
import type { ClientRequest } from "./replies.js";

const OPEN = cellOf("openChanges");
/** A leader forgets once an election timeout whom it has heard. */
const HEARD_HEARTBEATS = 5;
/** Below the timeout of a client's request. */
const PROMOTE_MS_MAX = 1500;

export interface ChangesPorts {
  readonly metrics: MetricCells;
  readonly limits: Pick<MemberLimits, "changesMax">;
  /** The cluster's. */
  readonly formatLevel: () => number;
  readonly electionMs: number;
  readonly heartbeatMs: number;
  readonly answer: (client: ClientRequest, answer: ApiResponse) => void;
  /** A client's change was applied. */
  readonly onChanged: (client: ClientRequest, change: MemberChange) => void;
}

/** Pending membership changes requested by this member's clients. */
export class MembershipChanges {
  readonly #raft: Raft;
  readonly #membership: Membership;
  readonly #ports: ChangesPorts;
  readonly #open: OpenChanges<ClientRequest>;

  /** @param firstNumber far from the range of any earlier incarnation of this member */
  constructor(raft: Raft, membership: Membership, firstNumber: number, ports: ChangesPorts) {
    assert(ports.electionMs > ports.heartbeatMs, "an election timeout is some heartbeats");
    this.#raft = raft;
    this.#membership = membership;
    this.#ports = ports;
    this.#open = new OpenChanges(raft.id, firstNumber);
  }

  /** Call once this member has applied all entries that were committed when the request came. */
  add(client: ClientRequest, change: MemberChange, monoMs: number): void {
    const { metrics, limits } = this.#ports;
    const level = this.#ports.formatLevel();
    if (change.kind === "addLearner" && level < LEARNER_LEVEL) {
      this.#answer(client, learnersUnsupported(level));
      return;
    }
    if (this.#open.size >= limits.changesMax) {
      metrics.add(LIMIT_REACHED.changes, 1);
      this.#answer(client, tooManyChanges());
      return;
    }
    this.#open.add(change, client, monoMs);
    assert(this.#open.size <= limits.changesMax, "the open changes are bounded");
    this.#proposeDue(monoMs);
  }

  /**
   * Times out old changes, proposes due ones and, on the leader, promotes a learner that has caught
   * up.
   */
  tick(monoMs: number, timeoutMs: number): void {
    assert(timeoutMs > 0, "a change has time to be committed");
    this.#giveUp(monoMs - timeoutMs);
    if (this.#open.size > 0) {
      this.#giveUpPromotions(monoMs);
      this.#proposeDue(monoMs);
    }
    if (this.#raft.isLeader) this.#promote();
    this.#ports.metrics.set(OPEN, this.#open.size);
  }

  /** A change was committed. @param verdict the same on all members */
  applied(change: CarriedConfChange, verdict: ConfChangeVerdict): void {
    const open = this.#open.take(change.origin);
    if (open === undefined) return;
    assert(open.change.kind === change.kind, "an entry has the change of its origin");
    assert(open.change.id === change.id, "an entry is about the member of its origin");
    if (verdict === "ok") this.#ports.onChanged(open.client, open.change);
    this.#answer(open.client, confChangeResponse(open.change, verdict, this.#membership));
  }

  /** Fails all pending changes, as the member stops. */
  endAll(): void {
    this.#giveUp(Number.POSITIVE_INFINITY);
    assert(this.#open.size === 0, "a member that stops leaves no change without a response");
  }

  #answer(client: ClientRequest, answer: ApiResponse): void {
    this.#ports.answer(client, answer);
  }

  #giveUp(startMs: number): void {
    for (const { client } of this.#open.takeOlderThan(startMs)) {
      this.#answer(client, internalError());
    }
  }

  /**
   * A leader rejects a learner that is behind; one that is heard again within some heartbeats is
   * not. On a follower no answer comes back, so it takes a leader's silence for one. A change in
   * the log may be the promotion, however long the disks take: that one is no silence.
   */
  #giveUpPromotions(monoMs: number): void {
    const { electionMs, heartbeatMs } = this.#ports;
    if (this.#raft.lead === NONE) return;
    const waitMs = Math.min(
      this.#raft.isLeader ? HEARD_HEARTBEATS * heartbeatMs : electionMs,
      PROMOTE_MS_MAX,
    );
    assert(waitMs > 0, "a learner has time to be heard");
    const late = monoMs - waitMs;
    if (!this.#open.hasOlderThan(late, "promote") || this.#raft.hasOpenConfChange) return;
    for (const { client } of this.#open.takeOlderThan(late, "promote")) {
      this.#answer(client, learnerNotReady());
    }
  }

  #proposeDue(monoMs: number): void {
    for (const open of this.#open.due(monoMs)) {
      assert(open.origin.memberId === this.#raft.id, "a member proposes its own clients' changes");
      const refusal = refuseConfChange(open.change, this.#membership);
      if (refusal !== undefined) {
        // Another change came first. The leader rejects changes without effect, so no entry would
        // complete this one.
        this.#open.take(open.origin);
        this.#answer(open.client, refusal);
        continue;
      }
      const result = this.#raft.proposeConfChange(raftChangeOf(open.change, open.origin));
      if (result.kind === "refused" && result.reason === "confChangeInvalid") {
        // The last voter cannot be removed: nothing could be committed again.
        this.#open.take(open.origin);
        this.#answer(open.client, internalError());
      } else this.#open.proposed(open, result.kind !== "refused", monoMs);
    }
  }

  /** One at a time: raft allows only one pending change. Lasting learners wait for a client. */
  #promote(): void {
    assert(this.#raft.isLeader, "only a leader knows which learners have caught up");
    const id = this.#raft.conf.learners.find(
      (learner) =>
        this.#membership.member(learner)?.isLearner === false && this.#raft.isCaughtUp(learner),
    );
    assert(id !== this.#raft.id, "a leader is a voter already");
    if (id !== undefined) this.#raft.proposeConfChange(raftChangeOf({ kind: "promote", id }));
  }
}
