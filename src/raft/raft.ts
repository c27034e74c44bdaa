import { assert } from "../lib/assert.js";
import type { ConfChange } from "./conf-change.js";
import { RaftCore, type Role } from "./core.js";
import type { AppendJob } from "./disk-jobs.js";
import { campaign, campaignIfAsked } from "./election.js";
import {
  type ConfState,
  type Entry,
  EntryType,
  type HardState,
  NONE,
  type SnapshotMeta,
} from "./entry.js";
import * as follower from "./follower.js";
import * as leader from "./leader.js";
import type { Message } from "./message.js";
import { checkOptions, type RaftOptions } from "./options.js";
import type { ProgressState } from "./progress.js";
import { isCaughtUp, type ProposeResult, propose, proposeConfChange } from "./propose.js";
import type { ReadState } from "./read-index.js";
import { step } from "./step.js";

/**
 * Work for the shell. What may run before what is the safety argument, so each field says it. The
 * shell carries out one Ready after the other, each in the order of its fields.
 */
export interface Ready {
  /**
   * Send at once, in order per receiver. Those that promise something were held back until the
   * promise was durable; a leader's appends do not wait for its own disk (Raft thesis, 10.2.1).
   */
  readonly messages: readonly Message[];
  /**
   * For the disk: write, fsync, then `durable(append.job)`. Jobs in order; several may share a
   * fsync. With a `snapshot` the store is replaced by it now, before `committed`.
   */
  readonly append: AppendJob | undefined;
  /**
   * For the store, in index order, then `applied(index of the last)`. On a quorum's disks; perhaps
   * not yet on ours. A confChange entry is also given to `applyConfChange`.
   */
  readonly committed: readonly Entry[];
  /** Reads that may be answered once the store has applied up to their index. */
  readonly readStates: readonly ReadState[];
  /** Present when it changed. */
  readonly softState: SoftState | undefined;
}

export interface SoftState {
  readonly role: Role;
  readonly lead: bigint;
  readonly term: number;
}

export interface PeerStatus {
  readonly id: bigint;
  readonly learner: boolean;
  readonly state: ProgressState;
  readonly match: number;
  readonly next: number;
  readonly inflight: number;
  readonly recentlyActive: boolean;
}

export interface RaftStatus {
  readonly id: bigint;
  readonly role: Role;
  readonly term: number;
  readonly vote: bigint;
  readonly lead: bigint;
  readonly commit: number;
  readonly applied: number;
  readonly durable: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly conf: ConfState;
  readonly transferee: bigint;
  /** Leader: everybody else. */
  readonly peers: readonly PeerStatus[];
}

/**
 * One member's part in Raft, pure: no clock, no disk, no network. The shell calls in what happened,
 * then carries out `ready()`:
 *
 *   loop: for each finished disk job   raft.durable(job)
 *         for each message             raft.step(message)
 *         for each request             raft.propose(data), raft.readIndex(ctx)
 *         for each tick due            raft.tick()
 *         while (ready = raft.ready()) send, write, apply, answer
 *
 * Start: restore the store, construct with what the disk held, carry out `ready()` until it is
 * undefined (it brings the committed rest of the log), then, if alone, `campaign()`.
 */
export class Raft {
  readonly #core: RaftCore;
  #softState: SoftState;

  constructor(options: RaftOptions) {
    checkOptions(options);
    this.#core = new RaftCore(options);
    this.#softState = { role: "follower", lead: NONE, term: this.#core.term };
  }

  get id(): bigint {
    return this.#core.id;
  }
  get term(): number {
    return this.#core.term;
  }
  get role(): Role {
    return this.#core.role;
  }
  get isLeader(): boolean {
    return this.#core.role === "leader";
  }
  /** NONE if unknown. */
  get lead(): bigint {
    return this.#core.lead;
  }
  get commit(): number {
    return this.#core.log.commit;
  }
  get conf(): ConfState {
    return this.#core.conf;
  }

  /** Time passes, in units of the shell's choice. */
  tick(): void {
    const core = this.#core;
    if (core.role === "leader") {
      leader.tickLeader(core);
      return;
    }
    follower.repeatRead(core);
    core.electionElapsed++;
    if (core.electionElapsed < core.electionTimeout) return;
    // Who may not campaign forgets the leader all the same, or its lease would never end.
    if (!campaign(core, false)) core.becomeFollower(core.term, NONE);
  }

  /**
   * Tries to become leader without waiting for the election time-out.
   *
   * @returns false if this member is leader already, is no voter, or must apply membership changes
   *   first
   */
  campaign(): boolean {
    return campaign(this.#core, false);
  }

  /**
   * Whoever leads would have been heard by now: a follower that knows no leader shortens its wait,
   * as if all of the election time-out but two heartbeats were over. What is random of it stays, so
   * that members that hurry at the same time seldom campaign at the same time.
   */
  hurryElection(): void {
    const core = this.#core;
    if (core.role !== "follower" || core.lead !== NONE) return;
    const { electionTicks, heartbeatTicks } = core.options;
    core.electionElapsed = Math.max(core.electionElapsed, electionTicks - 2 * heartbeatTicks);
  }

  /**
   * At the leader: appended. At a follower: passed on to the leader, without a guarantee. With a
   * number it may be proposed again: to the same leader in the same term, who takes it once; and to
   * anybody once an entry of a later term was applied, as it cannot be committed any more.
   *
   * @param number never used for another proposal; 0: it has none
   * @param oldest the lowest number that may be proposed again
   */
  propose(data: Uint8Array, number = 0, oldest = number): ProposeResult {
    this.#core.oldestForward = oldest;
    return propose(this.#core, EntryType.normal, data, number);
  }

  /** Whether a member knows `forwardOnce`: older ones do not. */
  peerTakesOnce(peer: bigint, takes: boolean): void {
    assert(peer !== this.#core.id, "a member is not its own peer");
    if (takes) this.#core.takesOnce.add(peer);
    else this.#core.takesOnce.delete(peer);
  }

  proposeConfChange(change: ConfChange): ProposeResult {
    return proposeConfChange(this.#core, change);
  }

  /**
   * The shell applies a confChange entry; it may also decide, alike on all members, not to, and
   * then does not call this.
   *
   * @returns the membership from here on, for the next snapshot's meta
   */
  applyConfChange(change: ConfChange): ConfState {
    const core = this.#core;
    const before = core.conf;
    core.changeConf(change);
    const left = change.op === "remove" ? change.member : NONE;
    if (core.conf !== before && core.role === "leader") leader.onConfApplied(core, left);
    return core.conf;
  }

  /**
   * Asks for an index that makes a read linearizable; the answer is in `readStates`. No answer
   * comes while there is no leader: giving up is the shell's.
   *
   * @param ctx the shell's name for the read
   * @returns false if too many reads wait already
   */
  readIndex(ctx: number): boolean {
    return this.#core.reads.add(ctx);
  }

  /**
   * Disk jobs up to number `job` are durable. Repeats and gaps are fine, as later ones include
   * them.
   */
  durable(job: number): void {
    const core = this.#core;
    const { ends, released } = core.disk.finish(job);
    for (const end of ends) core.log.durableTo(end);
    if (ends.length > 0 && core.role === "leader") leader.advanceCommit(core);
    for (const message of released) {
      if (message.to === core.id) step(core, message);
      else core.send(message);
    }
  }

  /** The store contains everything up to `index`. */
  applied(index: number): void {
    this.#core.log.appliedTo(index);
    campaignIfAsked(this.#core);
  }

  /**
   * A snapshot file is durable and can be sent to peers. It is of a state that was applied here,
   * which may be ahead of the log on our own disk (`status().durable`); a restart copes with that.
   */
  offerSnapshot(meta: SnapshotMeta): void {
    const core = this.#core;
    assert(meta.index <= core.log.applied, "the snapshot is of an applied state");
    if (meta.index > core.snapshot.index) core.snapshot = meta;
  }

  /**
   * Drops log entries from memory, at most up to the offered snapshot and what the disk holds.
   * Peers that lack one of them get the snapshot, so the shell keeps a tail.
   *
   * @param index the last entry to drop
   */
  compact(index: number): void {
    const { log, snapshot } = this.#core;
    log.compactTo(Math.min(index, snapshot.index, log.durable));
    assert(log.base.index <= snapshot.index, "a peer that lacks an entry finds it in the snapshot");
  }

  /**
   * The transfer that a `snapshot` message stood for ended: the peer has stepped it, or never will.
   */
  reportSnapshot(peer: bigint, arrived: boolean): void {
    this.#core.progressOf(peer)?.snapshotReported(arrived);
  }

  /** The stream to the peer broke: what was sent may be lost. */
  reportUnreachable(peer: bigint): void {
    const progress = this.#core.progressOf(peer);
    if (progress?.state === "replicate") progress.becomeProbe();
  }

  /** A stream to the peer opened: it need not wait for its next heartbeat to get what it lacks. */
  reportReachable(peer: bigint): void {
    this.#core.progressOf(peer)?.resumeProbe();
  }

  /**
   * Makes `target` leader, if it can be. A follower passes the wish on.
   *
   * @returns false if there is no leader to hand over, or `target` cannot lead
   */
  transferLeadership(target: bigint): boolean {
    const core = this.#core;
    if (core.role === "leader") return leader.startTransfer(core, target);
    if (core.lead === NONE || !core.conf.voters.includes(target)) return false;
    core.send({ type: "transfer", to: core.lead, from: core.id, term: 0, target });
    return true;
  }

  /**
   * Leader: who is best to hand over to; NONE if there is nobody, or if this member does not lead.
   */
  bestTransferee(): bigint {
    return leader.bestTransferee(this.#core)?.id ?? NONE;
  }

  /** Leader: whether a learner holds enough of the log to be made a voter. */
  isCaughtUp(learner: bigint): boolean {
    return isCaughtUp(this.#core, learner);
  }

  /** A message from another member. Any member, any order: the world's, so nothing is assumed. */
  step(message: Message): void {
    step(this.#core, message);
  }

  #flush(): void {
    if (this.#core.role === "leader") leader.flushLeader(this.#core);
    else follower.flushFollower(this.#core);
  }

  #softStateChanged(): boolean {
    const { role, lead, term } = this.#core;
    const last = this.#softState;
    return role !== last.role || lead !== last.lead || term !== last.term;
  }

  /** Whether `ready()` would bring something. */
  hasReady(): boolean {
    const core = this.#core;
    this.#flush();
    return (
      core.outbox.length > 0 ||
      core.log.handedOut < core.log.commit ||
      core.readStates.length > 0 ||
      core.hasUnwritten() ||
      this.#softStateChanged()
    );
  }

  /** What is to be done now; undefined if nothing. Each thing is handed out once. */
  ready(): Ready | undefined {
    if (!this.hasReady()) return undefined;
    const core = this.#core;
    const { committedEntriesMax, committedBytesMax } = core.limits;
    const messages = core.outbox;
    const readStates = core.readStates;
    core.outbox = [];
    core.readStates = [];
    return {
      messages,
      append: core.hasUnwritten() ? this.#takeAppendJob() : undefined,
      committed: core.log.takeCommitted(committedEntriesMax, committedBytesMax),
      readStates,
      softState: this.#softStateChanged() ? this.#takeSoftState() : undefined,
    };
  }

  #takeAppendJob(): AppendJob {
    const core = this.#core;
    const { log, snapshotToWrite: snapshot } = core;
    assert(core.hasUnwritten(), "a job for the disk has something to write");
    const entries = log.takeUnwritten();
    core.snapshotToWrite = undefined;
    const changesLog = entries.length > 0 || snapshot !== undefined;
    const end = changesLog ? { index: log.lastIndex, term: log.lastTerm } : undefined;
    return { job: core.disk.issue(end), snapshot, entries, hardState: this.#takeHardState() };
  }

  #takeHardState(): HardState | undefined {
    const core = this.#core;
    const { term, vote } = core;
    const { commit } = core.log;
    const last = core.handedHardState;
    if (term === last.term && vote === last.vote && commit === last.commit) return undefined;
    core.handedHardState = { term, vote, commit };
    return core.handedHardState;
  }

  #takeSoftState(): SoftState {
    const { role, lead, term } = this.#core;
    this.#softState = { role, lead, term };
    return this.#softState;
  }

  status(): RaftStatus {
    const { id, role, term, vote, lead, conf, transferee, log } = this.#core;
    const { commit, applied, durable, lastIndex } = log;
    const peers = this.#core.peers.map((peer) => ({
      id: peer.id,
      learner: peer.learner,
      state: peer.state,
      match: peer.match,
      next: peer.next,
      inflight: peer.inflights.count,
      recentlyActive: peer.recentlyActive,
    }));
    const indexes = { commit, applied, durable, firstIndex: log.base.index + 1, lastIndex };
    return { id, role, term, vote, lead, ...indexes, conf, transferee, peers };
  }

  /** The term of an entry in memory, or of the last compacted one. For tests and `X-Raft-Term`. */
  termOf(index: number): number | undefined {
    return this.#core.log.term(index);
  }

  /** An entry in memory. */
  entryOf(index: number): Entry {
    return this.#core.log.entry(index);
  }

  checkInvariants(): void {
    this.#core.checkInvariants();
  }
}
