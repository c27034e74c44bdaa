import { assert } from "../lib/assert.js";
import { type ConfChange, nextConf } from "./conf-change.js";
import { QuorumContact } from "./contact.js";
import { DiskJobs } from "./disk-jobs.js";
import { type ConfState, EntryType, type HardState, NONE, type SnapshotMeta } from "./entry.js";
import { Inflights } from "./inflights.js";
import type { RaftLog } from "./log.js";
import type { ForwardOnce, Message, NumberedProposal } from "./message.js";
import {
  checkLimits,
  RAFT_LIMITS,
  type RaftLimits,
  type RaftOptions,
  READ_REQUESTS_PER_LIFE,
} from "./options.js";
import { Progress } from "./progress.js";
import { ReadIndexes, type ReadState } from "./read-index.js";
import { restoreLog } from "./restore.js";

export type Role = "follower" | "preCandidate" | "candidate" | "leader";

/**
 * The state of one member (Raft paper, figure 2) and the transitions shared by all roles. The roles
 * are in election.ts, leader.ts and follower.ts; step.ts dispatches messages; raft.ts is the public
 * interface.
 *
 *   1. `lead` is `id` if and only if the role is leader
 *   2. a candidate or leader has voted for itself
 *   3. the leader has a Progress for every other member; other roles have none
 *   4. no entry has a later term than `term`
 *   5. votes are counted in a campaign only
 *   6. only a leader has uncommitted bytes, a transfer and, during one, held proposals
 *   7. proposals queue only for a leader that is another member
 *   8. the snapshot covers everything that is compacted
 *   9. a peer has acknowledged, and was sent, nothing that the leader's log does not have
 *   10. the invariants of log.ts, progress.ts, read-index.ts and disk-jobs.ts hold
 */
export class RaftCore {
  readonly id: bigint;
  readonly options: RaftOptions;
  readonly limits: RaftLimits;
  readonly log: RaftLog;
  readonly disk = new DiskJobs();
  readonly reads: ReadIndexes;
  /**
   * This incarnation's random number, which tells its forwarded proposals from those of before a
   * restart.
   */
  readonly life: number;

  role: Role = "follower";
  term: number;
  vote: bigint;
  lead = NONE;
  conf: ConfState;
  /** Sent to lagging peers; covers everything that is compacted. */
  snapshot: SnapshotMeta;

  /** Candidates: votes received, by voter. */
  readonly votes = new Map<bigint, boolean>();

  /** Leader: all other members, voters and learners. */
  peers: Progress[] = [];
  readonly #progress = new Map<bigint, Progress>();
  /** Leader: rejects membership changes until the store has applied up to this index. */
  pendingConfIndex = 0;
  /** Leader: target of the leadership transfer in progress, or NONE. */
  transferee = NONE;
  /** Ticks until the transfer is aborted. */
  transferTicksLeft = 0;
  /** Forwarded proposals that arrived during the transfer. */
  #heldForwards: ForwardOnce[] = [];
  #heldBytes = 0;
  contact: QuorumContact;
  uncommittedBytes = 0;

  /** Ticks since the leader was heard; on the leader, since its last quorum check. */
  electionElapsed = 0;
  heartbeatElapsed = 0;
  /** In ticks; redrawn at every change of role or term. */
  electionTimeout = 0;

  /**
   * Term in which a transferring leader asked us to campaign, once committed changes are applied; 0
   * if none.
   */
  campaignTerm = 0;

  /** Output collected for the next ready. */
  outbox: Message[] = [];
  readStates: ReadState[] = [];
  forwards: NumberedProposal[] = [];
  forwardBytes = 0;
  /** Lower proposal numbers will not be forwarded again, by the shell's word. */
  oldestForward = 0;
  /** Members that support `forwardOnce`. */
  readonly takesOnce = new Set<bigint>();
  /** Received from the leader and not in a disk job yet. */
  snapshotToWrite: SnapshotMeta | undefined;
  /** The hard state of the last disk job that had one. */
  handedHardState: HardState;

  constructor(options: RaftOptions) {
    const { hardState, snapshot } = options.restored;
    this.options = options;
    this.id = options.id;
    this.limits = { ...RAFT_LIMITS, ...options.limits };
    checkLimits(this.limits);
    this.log = restoreLog(options.restored, this.limits.packEntries);
    this.conf = snapshot.conf;
    this.snapshot = snapshot;
    // A crash may keep a job's entries without its hard state (disk-jobs.ts). A vote in the term of
    // those entries is either in an earlier job or was never sent.
    this.term = Math.max(hardState.term, this.log.lastTerm);
    this.vote = this.term === hardState.term ? hardState.vote : NONE;
    this.handedHardState = hardState;
    assert(this.term >= hardState.term, "a restart does not go back to an earlier term");
    const life = options.random(2 ** 32);
    assert(life >= 0 && life < 2 ** 32, "a random number is below its limit");
    this.life = life + 1;
    this.reads = new ReadIndexes(
      this.limits.readsMax,
      this.limits.readRoundsMax,
      life * READ_REQUESTS_PER_LIFE,
    );
    this.contact = new QuorumContact(options.heartbeatTicks, options.electionTicks);
    this.drawElectionTimeout();
  }

  isVoter(): boolean {
    return this.conf.voters.includes(this.id);
  }

  isOnlyVoter(): boolean {
    return this.conf.voters.length === 1 && this.conf.voters[0] === this.id;
  }

  progressOf(id: bigint): Progress | undefined {
    return this.#progress.get(id);
  }

  send(message: Message): void {
    assert(message.to !== this.id, "a member does not send to itself");
    assert(message.to !== NONE, "a message has a receiver");
    assert(message.from === this.id, "a member speaks for itself alone");
    this.outbox.push(message);
  }

  /** Whether term, vote, entries or a snapshot must go into a disk job. */
  hasUnwritten(): boolean {
    return (
      this.log.handedToDisk < this.log.lastIndex ||
      this.term !== this.handedHardState.term ||
      this.vote !== this.handedHardState.vote ||
      this.snapshotToWrite !== undefined
    );
  }

  /** Sends a message after everything decided so far is durable, as the message promises it. */
  sendWhenDurable(message: Message): void {
    assert(message.term === this.term, "a promise is of the term it is made in");
    const job = this.disk.issued + (this.hasUnwritten() ? 1 : 0);
    if (!this.disk.isDurable(job) || message.to === this.id) this.disk.hold(job, message);
    else this.outbox.push(message);
  }

  /** Sent in replies to candidates, see message.ts. */
  committed(): { readonly commit: number; readonly commitTerm: number } {
    const { commit } = this.log;
    const commitTerm = this.log.term(commit);
    assert(commitTerm !== undefined, "the term of what was committed last is kept");
    return { commit, commitTerm };
  }

  becomeFollower(term: number, lead: bigint): void {
    assert(lead !== this.id, "a follower's leader is another member");
    this.#enter("follower", term, lead);
  }

  /** Keeps term and vote; drops the leader, which is not heard any more. */
  becomePreCandidate(): void {
    assert(this.role !== "leader", "a leader does not campaign");
    assert(this.isVoter(), "only a voter asks for votes");
    this.#enter("preCandidate", this.term, NONE);
  }

  becomeCandidate(): void {
    assert(this.role !== "leader", "a leader does not campaign");
    this.#enter("candidate", this.term + 1, NONE);
    this.vote = this.id;
  }

  becomeLeader(): void {
    assert(this.role === "candidate", "only a candidate becomes leader");
    assert(this.vote === this.id, "a leader has its own vote");
    this.#enter("leader", this.term, this.id);
    this.heartbeatElapsed = 0;
    this.syncPeers();
    // An entry of our own term lets entries of earlier terms be committed (paper, 5.4.2). One of
    // those may be a membership change, so the next one waits until this entry is applied.
    this.pendingConfIndex = this.appendOwn(EntryType.normal, new Uint8Array(0));
  }

  #enter(role: Role, term: number, lead: bigint): void {
    assert(term >= this.term, "the term never decreases");
    const changesTerm = term !== this.term;
    if (changesTerm) {
      this.term = term;
      this.vote = NONE;
    }
    if (lead !== this.lead || role !== this.role) this.reads.reset();
    // Queued forwards are only for one leader in one term.
    if (changesTerm || lead !== this.lead) this.dropForwards();
    this.role = role;
    this.lead = lead;
    this.votes.clear();
    this.electionElapsed = 0;
    this.transferee = NONE;
    this.takeHeldForwards(); // Dropped: followers send them again to the next leader.
    assert(lead === NONE || term > 0, "a leader was elected in a term");
    this.contact = new QuorumContact(this.options.heartbeatTicks, this.options.electionTicks);
    this.uncommittedBytes = 0;
    this.peers = [];
    this.#progress.clear();
    this.drawElectionTimeout();
  }

  dropForwards(): void {
    assert(this.forwards.length > 0 || this.forwardBytes === 0, "an empty queue holds no bytes");
    this.forwards = [];
    this.forwardBytes = 0;
  }

  /**
   * Leader during a transfer: holds a follower's proposals, as the follower sends them again only
   * to the next leader. Proposals over the limits are dropped.
   */
  holdForward(message: ForwardOnce): void {
    assert(this.transferee !== NONE, "only who hands over lets proposals wait");
    assert(message.term === this.term, "a numbered proposal is for its term alone");
    if (this.#heldBytes >= this.limits.forwardBytesMax) return;
    if (this.#heldForwards.length >= this.limits.forwardProposalsMax) return;
    this.#heldForwards.push(message);
    for (const { data } of message.proposals) this.#heldBytes += data.length;
  }

  takeHeldForwards(): readonly ForwardOnce[] {
    const held = this.#heldForwards;
    assert(held.length > 0 || this.#heldBytes === 0, "an empty queue holds no bytes");
    this.#heldForwards = [];
    this.#heldBytes = 0;
    return held;
  }

  drawElectionTimeout(): void {
    const { electionTicks, random } = this.options;
    this.electionTimeout = electionTicks + random(electionTicks);
    assert(this.electionTimeout >= electionTicks, "no election timeout is below the base");
    assert(this.electionTimeout < 2 * electionTicks, "an election timeout has an end");
  }

  /** Leader: appends an entry of its term. It goes to peers and disk with the next ready. */
  appendOwn(type: EntryType, data: Uint8Array): number {
    assert(this.role === "leader", "only a leader appends to its own log");
    const index = this.log.lastIndex + 1;
    this.log.push({ index, term: this.term, type, data });
    this.uncommittedBytes += data.length;
    return index;
  }

  /** Leader: rebuilds the Progress list for `conf`, keeping that of members that stay. */
  syncPeers(): void {
    assert(this.role === "leader", "only a leader keeps track of the others");
    const { voters, learners } = this.conf;
    const { inflightMessagesMax, inflightBytesMax } = this.limits;
    this.peers = [];
    for (const id of [...voters, ...learners]) {
      if (id === this.id) continue;
      const learner = learners.includes(id);
      let progress = this.#progress.get(id);
      if (progress === undefined) {
        const window = new Inflights(inflightMessagesMax, inflightBytesMax);
        // Counts as active for its first election timeout, until it can have replied.
        progress = new Progress(id, learner, this.log.lastIndex + 1, true, window);
      }
      progress.learner = learner;
      this.peers.push(progress);
    }
    this.#progress.clear();
    for (const progress of this.peers) this.#progress.set(progress.id, progress);
    assert(this.#progress.size === this.peers.length, "each member has one Progress");
  }

  changeConf(change: ConfChange): void {
    const { voters } = this.conf;
    this.conf = nextConf(this.conf, change);
    const difference = this.conf.voters.length - voters.length;
    assert(Math.abs(difference) <= 1, "majorities before and after share a member");
    assert(this.conf.voters.length > 0 || voters.length === 0, "the last voter stays");
  }

  /** Cheap enough for the end of every step: integers, and one pass over the peers. */
  assertInvariants(): void {
    const { role, lead, id, log } = this;
    const isLeader = role === "leader";
    assert((lead === id) === isLeader, "only the leader has itself as lead"); // 1
    const campaigns = role === "candidate" || isLeader;
    assert(!campaigns || this.vote === id, "candidates and leaders voted for themselves"); // 2
    assert(isLeader || this.peers.length === 0, "only the leader tracks peers"); // 3
    const members = this.conf.voters.length + this.conf.learners.length;
    const others = this.isVoter() || this.conf.learners.includes(id) ? members - 1 : members;
    assert(!isLeader || this.peers.length === others, "the leader tracks all others"); // 3
    assert(log.lastTerm <= this.term, "no entry has a later term"); // 4
    assert(this.handedHardState.term <= this.term, "no later term is on the disk"); // 4
    assert(this.campaignTerm <= this.term, "no later term is campaigned for"); // 4
    const counts = role === "candidate" || role === "preCandidate";
    assert(counts || this.votes.size === 0, "votes are counted in a campaign"); // 5
    assert(this.uncommittedBytes >= 0, "bytes are committed once"); // 6
    assert(isLeader || this.uncommittedBytes === 0, "only a leader proposes"); // 6
    assert(isLeader || this.transferee === NONE, "only a leader hands over"); // 6
    const holds = this.#heldForwards.length > 0;
    assert(!holds || this.transferee !== NONE, "proposals are held for a transfer"); // 6
    const canForward = lead !== NONE && !isLeader;
    assert(canForward || this.forwards.length === 0, "proposals queue for a leader elsewhere"); // 7
    assert(this.snapshot.index >= log.base.index, "the snapshot covers what is compacted"); // 8
    const { lastIndex, commit } = log;
    for (const peer of this.peers) this.#assertPeer(peer, lastIndex, commit);
    log.assertInvariants(); // 10
    this.reads.assertInvariants();
  }

  #assertPeer(peer: Progress, lastIndex: number, commit: number): void {
    assert(peer.match <= lastIndex, "what a peer acknowledged is in the log"); // 9
    assert(peer.next <= lastIndex + 1, "what a peer was sent is in the log"); // 9
    assert(peer.commitSent <= commit, "a peer is told what is committed"); // 9
    assert(peer.readRound <= this.reads.lastRound, "a peer confirms rounds that began"); // 9
    peer.assertInvariants(); // 10
  }
}
