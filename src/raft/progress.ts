import { assert } from "../lib/assert.js";
import { Forwarded } from "./forwarded.js";
import type { Inflights } from "./inflights.js";

/**
 * How the leader sends to a peer:
 *   probe      where do our logs agree? One append at a time, the next one after an answer
 *   replicate  they agree up to `match`; appends are sent ahead of the answers, within a window
 *   snapshot   the peer needs entries that are compacted; nothing is sent until the shell reports
 *
 *   probe --appendReply--> replicate --reject, unreachable--> probe
 *   probe --log compacted--> snapshot --reported, or caught up otherwise--> probe
 */
export type ProgressState = "probe" | "replicate" | "snapshot";

/**
 * What a leader knows about one peer.
 *
 *   1. match < next
 *   2. in probe, `next` is being asked about; in replicate, everything below `next` was sent
 *   3. in snapshot, `snapshotIndex` > 0, else 0
 */
export class Progress {
  readonly id: bigint;
  learner: boolean;
  #state: ProgressState = "probe";
  /** The peer's disk holds our log up to here. */
  #match = 0;
  #next: number;
  #snapshotIndex = 0;
  /** In probe: an append is out and not answered. */
  #probeSent = false;
  readonly inflights: Inflights;
  /** Its proposals in this term. */
  readonly forwarded = new Forwarded();
  /** The commit index of the last append sent. */
  commitSent = 0;
  /** Send an append even if there is nothing new: its answer shows whether one was lost. */
  nudge = false;
  /** Heard from since the leader last looked (CheckQuorum). */
  recentlyActive: boolean;
  /** Since it was last heard from, not counting those in which it may have been busy. */
  silentTicks = 0;
  /** The newest read round the peer has answered. */
  readRound = 0;

  constructor(id: bigint, learner: boolean, next: number, active: boolean, inflights: Inflights) {
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
  /** The first entry to send next. */
  get next(): number {
    return this.#next;
  }

  /** Nothing may be sent now, not even an append without entries. */
  isPaused(): boolean {
    if (this.#state === "snapshot") return true;
    return this.#state === "probe" && this.#probeSent;
  }

  /** An append with entries up to `lastIndex` (or without, then `lastIndex` = next - 1) leaves. */
  sent(lastIndex: number, bytes: number, commit: number): void {
    assert(!this.isPaused(), "nothing is sent to a peer that is paused");
    assert(lastIndex >= this.#next - 1, "entries are sent from the next one on");
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
   * @returns whether that is news
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
   * The peer does not have `rejectedIndex`; our logs may agree at `agreeIndex`.
   *
   * @returns false for an answer that has been overtaken by others
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
    // After a snapshot the log goes on behind it, if it arrived; if not, the peer will say so.
    this.#next = Math.max(this.#match, this.#snapshotIndex) + 1;
    this.#enter("probe");
  }

  becomeReplicate(): void {
    this.#next = this.#match + 1;
    this.#enter("replicate");
  }

  becomeSnapshot(index: number): void {
    assert(index > 0, "the snapshot has an index");
    this.#enter("snapshot");
    this.#snapshotIndex = index;
  }

  /** The snapshot went over, or failed to. Goes on when the peer is next heard from. */
  snapshotReported(arrived: boolean): void {
    if (this.#state !== "snapshot") return;
    assert(this.#snapshotIndex > 0, "a snapshot that is reported was sent");
    if (!arrived) this.#snapshotIndex = 0;
    this.becomeProbe();
    this.#probeSent = true;
  }

  /** The peer answers heartbeats, so another try may get through. */
  resumeProbe(): void {
    this.#probeSent = false;
  }

  #enter(state: ProgressState): void {
    this.#state = state;
    this.#snapshotIndex = 0;
    this.#probeSent = false;
    this.inflights.clear();
  }

  checkInvariants(): void {
    assert(this.#match < this.#next, "what is acknowledged was sent"); // 1
    assert(
      this.#state === "replicate" || this.inflights.count === 0,
      "only replicate has a window",
    ); // 2
    // 3
    assert((this.#state === "snapshot") === this.#snapshotIndex > 0, "a snapshot has an index");
  }
}
