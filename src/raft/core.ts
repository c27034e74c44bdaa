import { assert } from "../lib/assert.js";
import { type ConfChange, nextConf } from "./conf-change.js";
import { QuorumContact } from "./contact.js";
import { DiskJobs } from "./disk-jobs.js";
import { type ConfState, EntryType, type HardState, NONE, type SnapshotMeta } from "./entry.js";
import { Inflights } from "./inflights.js";
import type { RaftLog } from "./log.js";
import type { ForwardOnce, Message, NumberedProposal } from "./message.js";
import {
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
 * The state of one member (Raft paper, figure 2) and the few moves that every role makes. What the
 * roles do is in election.ts, leader.ts and follower.ts; step.ts tells messages apart, and raft.ts
 * is the way in from outside.
 *
 *   1. `lead` is `id` exactly if the role is leader
 *   2. a candidate or leader has voted for itself
 *   3. the leader has a Progress for every other member, nobody else has any
 *   4. no entry is of a later term than `term`
 *   5. log.ts and progress.ts hold their own
 */
export class RaftCore {
  readonly id: bigint;
  readonly options: RaftOptions;
  readonly limits: RaftLimits;
  readonly log: RaftLog;
  readonly disk = new DiskJobs();
  readonly reads: ReadIndexes;
  /** Random, so that messages of before the last start are told apart. */
  readonly life: number;

  role: Role = "follower";
  term: number;
  vote: bigint;
  lead = NONE;
  conf: ConfState;
  /** What lagging peers get; covers everything that is compacted away. */
  snapshot: SnapshotMeta;

  /** Candidates: who said what. */
  readonly votes = new Map<bigint, boolean>();

  /** Leader: the others, voters and learners. */
  peers: Progress[] = [];
  readonly #progress = new Map<bigint, Progress>();
  /** Leader: no membership change is taken until the store has applied up to here. */
  pendingConfIndex = 0;
  /** Leader: who is to take over, or NONE. */
  transferee = NONE;
  /** Until the transfer is given up. */
  transferTicksLeft = 0;
  /** Came during the transfer. */
  #heldForwards: ForwardOnce[] = [];
  #heldBytes = 0;
  contact: QuorumContact;
  uncommittedBytes = 0;

  /** Ticks since the leader was heard; for the leader, since it last looked for its quorum. */
  electionElapsed = 0;
  heartbeatElapsed = 0;
  /** In ticks; drawn anew at every change of role or term. */
  electionTimeout = 0;

  /**
   * Asked to campaign in this term, as soon as the store has applied what is committed; 0 if not.
   */
  campaignTerm = 0;

  /** For the next ready. */
  outbox: Message[] = [];
  readStates: ReadState[] = [];
  forwards: NumberedProposal[] = [];
  forwardBytes = 0;
  /** Below it no number is passed on any more, as the shell says. */
  oldestForward = 0;
  /** Members that take a `forwardOnce`. */
  readonly takesOnce = new Set<bigint>();
  /** Came from the leader and is not in a disk job yet. */
  snapshotToWrite: SnapshotMeta | undefined;
  /** As in the last disk job that had one. */
  handedHardState: HardState;

  constructor(options: RaftOptions) {
    const { hardState, snapshot } = options.restored;
    this.options = options;
    this.id = options.id;
    this.limits = { ...RAFT_LIMITS, ...options.limits };
    this.log = restoreLog(options.restored, this.limits.packEntries);
    this.conf = snapshot.conf;
    this.snapshot = snapshot;
    // Entries may be on the disk without the hard state of their job (disk-jobs.ts). A vote in
    // their term would have been in an earlier job, or was never let out.
    this.term = Math.max(hardState.term, this.log.lastTerm);
    this.vote = this.term === hardState.term ? hardState.vote : NONE;
    this.handedHardState = hardState;
    const life = options.random(2 ** 32);
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
    this.outbox.push(message);
  }

  /** Term, vote, entries or a snapshot wait for a disk job. */
  hasUnwritten(): boolean {
    return (
      this.log.handedToDisk < this.log.lastIndex ||
      this.term !== this.handedHardState.term ||
      this.vote !== this.handedHardState.vote ||
      this.snapshotToWrite !== undefined
    );
  }

  /** For a message that is only true once everything decided so far is on the disk. */
  sendWhenDurable(message: Message): void {
    const job = this.disk.issued + (this.hasUnwritten() ? 1 : 0);
    if (!this.disk.isDurable(job) || message.to === this.id) this.disk.hold(job, message);
    else this.outbox.push(message);
  }

  /** For replies to candidates, see message.ts. */
  committed(): { readonly commit: number; readonly commitTerm: number } {
    const { commit } = this.log;
    const commitTerm = this.log.term(commit);
    assert(commitTerm !== undefined, "the term of what was committed last is kept");
    return { commit, commitTerm };
  }

  becomeFollower(term: number, lead: bigint): void {
    assert(lead !== this.id, "a follower follows somebody else");
    this.#enter("follower", term, lead);
  }

  /** Keeps the term and the vote; forgets the leader, which is not heard any more. */
  becomePreCandidate(): void {
    assert(this.role !== "leader", "a leader does not campaign");
    this.#enter("preCandidate", this.term, NONE);
  }

  becomeCandidate(): void {
    assert(this.role !== "leader", "a leader does not campaign");
    this.#enter("candidate", this.term + 1, NONE);
    this.vote = this.id;
  }

  becomeLeader(): void {
    assert(this.role === "candidate", "only a candidate wins");
    this.#enter("leader", this.term, this.id);
    this.heartbeatElapsed = 0;
    this.syncPeers();
    // An entry of our own term, so that what earlier leaders left can be committed (paper, 5.4.2).
    // They may have left a membership change too: it and this entry come before the next one.
    this.pendingConfIndex = this.appendOwn(EntryType.normal, new Uint8Array(0));
  }

  #enter(role: Role, term: number, lead: bigint): void {
    assert(term >= this.term, "the term never goes back");
    const changesTerm = term !== this.term;
    if (changesTerm) {
      this.term = term;
      this.vote = NONE;
    }
    if (lead !== this.lead || role !== this.role) this.reads.reset();
    // They were for one leader in one term.
    if (changesTerm || lead !== this.lead) this.dropForwards();
    this.role = role;
    this.lead = lead;
    this.votes.clear();
    this.electionElapsed = 0;
    this.transferee = NONE;
    this.takeHeldForwards();
    this.contact = new QuorumContact(this.options.heartbeatTicks, this.options.electionTicks);
    this.uncommittedBytes = 0;
    this.peers = [];
    this.#progress.clear();
    this.drawElectionTimeout();
  }

  dropForwards(): void {
    this.forwards = [];
    this.forwardBytes = 0;
  }

  /**
   * Leader that hands over: keeps proposals of a follower, which sends them again only to the next
   * leader. Those that find no room are lost.
   */
  holdForward(message: ForwardOnce): void {
    assert(this.transferee !== NONE, "only who hands over lets proposals wait");
    if (this.#heldBytes >= this.limits.forwardBytesMax) return;
    if (this.#heldForwards.length >= this.limits.forwardProposalsMax) return;
    this.#heldForwards.push(message);
    for (const { data } of message.proposals) this.#heldBytes += data.length;
  }

  takeHeldForwards(): readonly ForwardOnce[] {
    const held = this.#heldForwards;
    this.#heldForwards = [];
    this.#heldBytes = 0;
    return held;
  }

  drawElectionTimeout(): void {
    const { electionTicks, random } = this.options;
    this.electionTimeout = electionTicks + random(electionTicks);
    assert(this.electionTimeout < 2 * electionTicks, "an election timeout has an end");
  }

  /** Leader: at the end of its log. Peers and disk get it with the next ready. */
  appendOwn(type: EntryType, data: Uint8Array): number {
    assert(this.role === "leader", "only a leader appends to its own log");
    const index = this.log.lastIndex + 1;
    this.log.push({ index, term: this.term, type, data });
    this.uncommittedBytes += data.length;
    return index;
  }

  /** Leader: one Progress for each other member, kept for those that stay. */
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
        // Active at first: it gets an election time-out to show itself.
        progress = new Progress(id, learner, this.log.lastIndex + 1, true, window);
      }
      progress.learner = learner;
      this.peers.push(progress);
    }
    this.#progress.clear();
    for (const progress of this.peers) this.#progress.set(progress.id, progress);
  }

  changeConf(change: ConfChange): void {
    const { voters } = this.conf;
    this.conf = nextConf(this.conf, change);
    const difference = this.conf.voters.length - voters.length;
    assert(Math.abs(difference) <= 1, "majorities before and after share a member");
    assert(this.conf.voters.length > 0 || voters.length === 0, "the last voter stays");
  }

  checkInvariants(): void {
    assert((this.lead === this.id) === (this.role === "leader"), "the leader follows itself"); // 1
    const campaigns = this.role === "candidate" || this.role === "leader";
    assert(!campaigns || this.vote === this.id, "who campaigns votes for itself"); // 2
    const members = this.conf.voters.length + this.conf.learners.length;
    const others = members - (this.isVoter() || this.conf.learners.includes(this.id) ? 1 : 0);
    assert(this.peers.length === (this.role === "leader" ? others : 0), "leaders know peers"); // 3
    assert(this.log.lastTerm <= this.term, "no entry is of a later term"); // 4
    this.log.checkInvariants(); // 5
    for (const progress of this.peers) progress.checkInvariants();
  }
}
