import { assert } from "../lib/assert.js";
import { NONE } from "./entry.js";
import { Forwarded } from "./forwarded.js";
import type { Inflights } from "./inflights.js";

/**
 * How the leader sends to a peer:
 *   probe      finds where the logs agree: one append at a time, the next after its reply
 *   replicate  the logs agree up to `match`; appends are pipelined within a window
 *   snapshot   the peer needs compacted entries; sends nothing until the transfer is reported
 *
 *   probe --appendReply--> replicate --reject, unreachable--> probe
 *   probe --log compacted--> snapshot --reported, or caught up otherwise--> probe
 */
export type ProgressState = "probe" | "replicate" | "snapshot";

/**
 * The leader's state for one peer.
 *
 *   1. match < next
 *   2. in probe, `next` is the guess being probed; in replicate, everything below `next` was sent
 *   3. in snapshot, `snapshotIndex` > 0, else 0
 */
export class Progress {
  readonly id: bigint;
  learner: boolean;
  #state: ProgressState = "probe";
  /** The peer's disk holds our log up to this index. */
  #match = 0;
  #next: number;
  #snapshotIndex = 0;
  /** In probe: an append is in flight. */
  #probeSent = false;
  readonly inflights: Inflights;
  /** Proposals accepted from the peer in this term. */
  readonly forwarded = new Forwarded();
  /** The commit index of the last append sent. */
  commitSent = 0;
  /** Send an append even without news: its reply shows whether an earlier one was lost. */
  nudge = false;
  /** Heard from since the last quorum check. */
  recentlyActive: boolean;
  /** Ticks since the peer was last heard, not counting those with large appends in flight. */
  silentTicks = 0;
  /** The newest read round the peer has acknowledged. */
  readRound = 0;

  constructor(id: bigint, learner: boolean, next: number, active: boolean, inflights: Inflights) {
    assert(id !== NONE, "a member's id is not 0");
    assert(next > 0, "entries count from 1");
    this.id = id;
    this.learner = learner;
    this.#next = next;
    this.recentlyActive = active;
    this.inflights = inflights;
  }

  get state(): ProgressState {
    return this.#state;
  }
  get match(): number {
    return this.#match;
  }
  /** Index of the next entry to send. */
  get next(): number {
    return this.#next;
  }

  /** Whether no append may be sent now, not even an empty one. */
  isPaused(): boolean {
    if (this.#state === "snapshot") return true;
    return this.#state === "probe" && this.#probeSent;
  }

  /** Records a sent append with entries up to `lastIndex` (next - 1 if it has none). */
  sent(lastIndex: number, bytes: number, commit: number): void {
    assert(!this.isPaused(), "nothing is sent to a peer that is paused");
    assert(lastIndex >= this.#next - 1, "entries are sent from the next one on");
    assert(commit >= this.commitSent, "the commit index never goes back");
    this.nudge = false;
    this.commitSent = commit;
    if (this.#state === "probe") {
      this.#probeSent = true;
    } else if (lastIndex >= this.#next) {
      this.#next = lastIndex + 1;
      this.inflights.add(lastIndex, bytes);
    }
  }

  /**
   * The peer's disk holds our log up to `index`.
   *
   * @returns whether the match advanced
   */
  acknowledged(index: number): boolean {
    const news = index > this.#match;
    if (news) this.#match = index;
    if (this.#next <= index) this.#next = index + 1;
    assert(this.#match < this.#next, "what is acknowledged was sent");
    if (this.#state === "replicate") this.inflights.freeTo(index);
    return news;
  }

  /**
   * The peer rejected an append at `rejectedIndex`; the logs may agree at `agreeIndex`.
   *
   * @returns false if the rejection is stale
   */
  rejected(rejectedIndex: number, agreeIndex: number): boolean {
    if (this.#state === "snapshot") return false;
    if (rejectedIndex <= this.#match) return false;
    if (this.#state === "replicate") {
      this.becomeProbe();
      return true;
    }
    if (rejectedIndex !== this.#next - 1) return false;
    this.#next = Math.max(Math.min(rejectedIndex, agreeIndex + 1), this.#match + 1);
    this.#probeSent = false;
    assert(this.#match < this.#next, "what is acknowledged is not asked about");
    return true;
  }

  becomeProbe(): void {
    // Assume that a snapshot in transfer arrived; if not, the peer rejects the probe.
    this.#next = Math.max(this.#match, this.#snapshotIndex) + 1;
    this.#enter("probe");
  }

  becomeReplicate(): void {
    this.#next = this.#match + 1;
    this.#enter("replicate");
  }

  becomeSnapshot(index: number): void {
    assert(index > 0, "the snapshot has an index");
    assert(index >= this.#next, "a snapshot holds entries that the peer lacks");
    this.#enter("snapshot");
    this.#snapshotIndex = index;
  }

  /** The snapshot transfer ended. Probing resumes when the peer is next heard. */
  snapshotReported(arrived: boolean): void {
    if (this.#state !== "snapshot") return;
    assert(this.#snapshotIndex > 0, "a snapshot that is reported was sent");
    if (!arrived) this.#snapshotIndex = 0;
    this.becomeProbe();
    this.#probeSent = true;
  }

  /** The peer can be reached, so the next probe may get through. */
  resumeProbe(): void {
    this.#probeSent = false;
  }

  #enter(state: ProgressState): void {
    this.#state = state;
    this.#snapshotIndex = 0;
    this.#probeSent = false;
    this.inflights.clear();
    assert(this.#match < this.#next, "what is acknowledged is not sent again");
  }

  assertInvariants(): void {
    assert(this.#match < this.#next, "match is below next"); // 1
    assert(
      this.#state === "replicate" || this.inflights.count === 0,
      "only replicate has appends in flight",
    ); // 2
    assert(!this.#probeSent || this.#state === "probe", "only a probe waits for its reply"); // 2
    this.inflights.assertInvariants();
    // 3
    assert(
      (this.#state === "snapshot") === this.#snapshotIndex > 0,
      "only snapshot has a snapshot index",
    );
  }
}
