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
 * Work for the shell. Its order is part of the safety argument, so each field states it. The shell
 * carries out one Ready after the other, each in the order of its fields.
 */
export interface Ready {
  /**
   * Send at once, in order per receiver. Messages that promise something were held back until the
   * promise was durable; a leader's appends do not wait for its own disk (Raft thesis, 10.2.1).
   */
  readonly messages: readonly Message[];
  /**
   * Write, fsync, then call `durable(append.job)`. Jobs in order; several may share an fsync. A
   * `snapshot` replaces the store now, before `committed`.
   */
  readonly append: AppendJob | undefined;
  /**
   * Apply in index order, then call `applied(index of the last)`. Durable on a quorum, perhaps not
   * yet on our disk. Also pass a confChange entry to `applyConfChange`.
   */
  readonly committed: readonly Entry[];
  /** Reads to serve once the store has applied up to their index. */
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
  /** Leader: all other members. */
  readonly peers: readonly PeerStatus[];
}

/**
 * One member's Raft, pure: no clock, disk or network. The shell reports events, then carries out
 * `ready()`:
 *
 *   loop: for each finished disk job   raft.durable(job)
 *         for each message             raft.step(message)
 *         for each request             raft.propose(data), raft.readIndex(ctx)
 *         for each tick due            raft.tick()
 *         while (ready = raft.ready()) send, write, apply, respond
 *
 * Start: restore the store, construct from the recovered state, carry out `ready()` until it is
 * undefined (it returns the committed rest of the log), then, if the only voter, `campaign()`.
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

  /** One tick of the clock; its length is the shell's choice. */
  tick(): void {
    const core = this.#core;
    if (core.role === "leader") leader.tickLeader(core);
    else this.#tickElection();
    core.assertInvariants();
  }

  #tickElection(): void {
    const core = this.#core;
    follower.repeatRead(core);
    core.electionElapsed++;
    if (core.electionElapsed < core.electionTimeout) return;
    // A node that may not campaign must still drop its leader, or the lease never expires.
    if (!campaign(core, false)) core.becomeFollower(core.term, NONE);
    assert(core.electionElapsed === 0, "a timeout that expired starts over");
  }

  /**
   * Campaigns without waiting for the election timeout.
   *
   * @returns false if this member is the leader, is not a voter, or must apply membership changes
   *   first
   */
  campaign(): boolean {
    return campaign(this.#core, false);
  }

  /**
   * Shortens a follower's wait when an existing leader would have been heard by now: at most two
   * heartbeats of the base election timeout remain. The random part stays, so that members that
   * hurry together seldom campaign together.
   */
  hurryElection(): void {
    const core = this.#core;
    if (core.role !== "follower" || core.lead !== NONE) return;
    const { electionTicks, heartbeatTicks } = core.options;
    core.electionElapsed = Math.max(core.electionElapsed, electionTicks - 2 * heartbeatTicks);
    assert(core.electionElapsed < core.electionTimeout, "a hurried election still waits a tick");
  }

  /**
   * On the leader: appends. On a follower: forwards to the leader, without a guarantee. A numbered
   * proposal may be repeated: to the same leader in the same term, which accepts it at most once;
   * and to any leader after an entry of a later term was applied, as the first one can no longer be
   * committed.
   *
   * @param number never reused; 0 for none
   * @param oldest lowest number that may be proposed again
   */
  propose(data: Uint8Array, number = 0, oldest = number): ProposeResult {
    assert(oldest >= 0 && oldest <= number, "a proposal may itself be proposed again");
    this.#core.oldestForward = oldest;
    return propose(this.#core, EntryType.normal, data, number);
  }

  /** Sets whether a member supports `forwardOnce`; older builds do not. */
  peerTakesOnce(peer: bigint, takes: boolean): void {
    this.#assertOther(peer);
    if (takes) this.#core.takesOnce.add(peer);
    else this.#core.takesOnce.delete(peer);
  }

  proposeConfChange(change: ConfChange): ProposeResult {
    return proposeConfChange(this.#core, change);
  }

  /**
   * Applies a committed confChange entry. The shell may skip one by not calling this, if all
   * members do.
   *
   * @returns the membership from here on, for the next snapshot's meta
   */
  applyConfChange(change: ConfChange): ConfState {
    const core = this.#core;
    const before = core.conf;
    assert(change.member !== NONE, "a membership change names a member");
    core.changeConf(change);
    const left = change.op === "remove" ? change.member : NONE;
    if (core.conf !== before && core.role === "leader") leader.onConfApplied(core, left);
    core.assertInvariants();
    return core.conf;
  }

  /**
   * Requests an index that makes a read linearizable; it comes in `readStates`. None comes without
   * a leader: timeouts are the shell's.
   *
   * @param ctx the shell's id of the read
   * @returns false if too many reads are waiting
   */
  readIndex(ctx: number): boolean {
    return this.#core.reads.add(ctx);
  }

  /** Disk jobs up to `job` are durable. Repeated and skipped numbers are fine. */
  durable(job: number): void {
    const core = this.#core;
    assert(job >= 0, "jobs are numbered");
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
   * A snapshot file is durable and can be sent to peers. Its state was applied here, and may be
   * ahead of the log on our own disk (`status().durable`); restoreLog handles that after a restart.
   */
  offerSnapshot(meta: SnapshotMeta): void {
    const core = this.#core;
    assert(meta.index <= core.log.applied, "the snapshot's state was applied");
    assert(
      (core.log.term(meta.index) ?? meta.term) === meta.term,
      "the snapshot's position is the log's",
    );
    if (meta.index > core.snapshot.index) core.snapshot = meta;
  }

  /**
   * Drops log entries from memory, at most up to the offered snapshot and the durable index. Peers
   * that need a dropped entry get the snapshot, so the shell should keep a tail.
   *
   * @param index the last entry to drop
   */
  compact(index: number): void {
    const { log, snapshot } = this.#core;
    log.compactTo(Math.min(index, snapshot.index, log.durable));
    assert(log.base.index <= snapshot.index, "a peer that lacks an entry finds it in the snapshot");
  }

  /** A snapshot transfer ended. @param arrived whether the peer stepped the `snapshot` message */
  reportSnapshot(peer: bigint, arrived: boolean): void {
    this.#assertOther(peer);
    this.#core.progressOf(peer)?.snapshotReported(arrived);
  }

  /** The stream to the peer closed: messages in flight may be lost. */
  reportUnreachable(peer: bigint): void {
    this.#assertOther(peer);
    const progress = this.#core.progressOf(peer);
    if (progress?.state === "replicate") progress.becomeProbe();
  }

  /** A stream to the peer opened: probe it without waiting for the next heartbeat. */
  reportReachable(peer: bigint): void {
    this.#assertOther(peer);
    this.#core.progressOf(peer)?.resumeProbe();
  }

  /**
   * Starts a leadership transfer to `target`. A follower forwards the request to the leader.
   *
   * @returns false if no leader is known, or `target` cannot lead
   */
  transferLeadership(target: bigint): boolean {
    const core = this.#core;
    if (core.role === "leader") return leader.startTransfer(core, target);
    if (core.lead === NONE || !core.conf.voters.includes(target)) return false;
    assert(core.lead !== core.id, "a leader asks itself for nothing");
    core.send({ type: "transfer", to: core.lead, from: core.id, term: 0, target });
    return true;
  }

  /**
   * Leader: the best target of a leadership transfer; NONE if there is none, or on other members.
   */
  bestTransferee(): bigint {
    return leader.bestTransferee(this.#core)?.id ?? NONE;
  }

  /** Leader: whether a learner's log is complete enough for a promotion. */
  isCaughtUp(learner: bigint): boolean {
    return isCaughtUp(this.#core, learner);
  }

  /** Whether this member's log has a membership change that is not applied yet. */
  get hasOpenConfChange(): boolean {
    const { log } = this.#core;
    return log.hasUnappliedConfChange(log.lastIndex);
  }

  /** Handles a message from a peer: any sender, any order, nothing about it is assumed. */
  step(message: Message): void {
    const { term } = this.#core;
    step(this.#core, message);
    assert(this.#core.term >= term, "the term never decreases");
    this.#core.assertInvariants();
  }

  #assertOther(peer: bigint): void {
    assert(peer !== this.#core.id, "a member is not its own peer");
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

  /** Whether `ready()` would return something. */
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

  /** The pending work, each item once; undefined if there is none. */
  ready(): Ready | undefined {
    if (!this.hasReady()) return undefined;
    const core = this.#core;
    const { committedEntriesMax, committedBytesMax } = core.limits;
    const messages = core.outbox;
    const readStates = core.readStates;
    core.outbox = [];
    core.readStates = [];
    const append = core.hasUnwritten() ? this.#takeAppendJob() : undefined;
    const committed = core.log.takeCommitted(committedEntriesMax, committedBytesMax);
    const softState = this.#softStateChanged() ? this.#takeSoftState() : undefined;
    assert(!core.hasUnwritten(), "a ready leaves nothing unwritten");
    core.assertInvariants();
    return { messages, append, committed, readStates, softState };
  }

  #takeAppendJob(): AppendJob {
    const core = this.#core;
    const { log, snapshotToWrite: snapshot } = core;
    assert(core.hasUnwritten(), "a job for the disk has something to write");
    const entries = log.takeUnwritten();
    const first = entries[0];
    assert(
      snapshot === undefined || first === undefined || first.index === snapshot.index + 1,
      "a log that restarts goes on after its snapshot",
    );
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
    assert(term >= last.term, "the term never decreases");
    const isSameTerm = term === last.term && last.vote !== NONE;
    assert(!isSameTerm || vote === last.vote, "a vote is for its whole term");
    core.handedHardState = { term, vote, commit };
    return core.handedHardState;
  }

  #takeSoftState(): SoftState {
    const { role, lead, term } = this.#core;
    assert(term >= this.#softState.term, "the term never decreases");
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
    this.#core.assertInvariants();
  }
}
