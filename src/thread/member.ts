import { internalError } from "../api/members.js";
import { routePath } from "../api/path.js";
import { RaftStats } from "../api/raft-stats.js";
import type { ApiRequest } from "../api/request.js";
import { healthAnswer } from "../api/status.js";
import { confChangeCommands } from "../cluster/commands.js";
import { decodeConfChange } from "../cluster/conf-change.js";
import { encodeConf } from "../cluster/conf-state.js";
import { formatId } from "../cluster/ids.js";
import { Membership } from "../cluster/membership.js";
import { MEMBERS_PATH, REMOVED_MEMBERS_PATH } from "../cluster/paths.js";
import { judgeConfChange } from "../cluster/rules.js";
import type { StartPlan } from "../cluster/start-plan.js";
import type { Config } from "../config/config.js";
import { AnswerType, writeNumbers } from "../frontend/records.js";
import { assert } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf, idCellOf } from "../metrics/families.js";
import { packVersion } from "../metrics/version-id.js";
import { decodeConfChange as decodeRaftChange } from "../raft/conf-change.js";
import type { AppendJob } from "../raft/disk-jobs.js";
import { type Entry, EntryType, NONE, type SnapshotMeta } from "../raft/entry.js";
import type { Message } from "../raft/message.js";
import { decodeMessage } from "../raft/message-codec.js";
import type { Raft, Ready } from "../raft/raft.js";
import type { Outlet } from "../ring/fragments.js";
import { type Command, syncCommand } from "../store/command.js";
import { Event } from "../store/event.js";
import { ErrorCode, Refusal } from "../store/refusal.js";
import { Stat } from "../store/stats.js";
import type { Store } from "../store/store.js";
import { Arrival } from "./arrival.js";
import type { Client, ClientPort } from "./client-port.js";
import { FirstElection } from "./first-election.js";
import { type Consensus, KeysService } from "./keys-service.js";
import { Listings } from "./listings.js";
import { AppendType, writeEntry, writeHardState } from "./log-records.js";
import { MembershipChanges } from "./membership-changes.js";
import type { Peers } from "./peers.js";
import type { Proposal } from "./proposals.js";
import { Publication } from "./publication.js";
import { RaftFigures, showStoreStats } from "./raft-figures.js";
import { type Recovery, startRaft } from "./raft-start.js";
import { Reads, type WaitingRead } from "./reads.js";
import { Snapshots } from "./snapshots.js";
import { StatusService } from "./status-service.js";
import { Writes } from "./writes.js";

/** How often the leader lets nodes expire. */
const SYNC_MS = 500;
/** What a write may take beyond two election time-outs. */
const REQUEST_MS = 5000;
const HEALTH_MS = 1000;
/**
 * A removed member goes on until the others say that they know: if only it knew, and ended, the last of
 * two could not go on alone. For so long it waits for their word, and for so long after it.
 */
const REMOVED_UNSAID_MS = 30_000;
const REMOVED_SAID_MS = 1000;
/** More take up the room of several lives among the 2^32 that there is. */
const PROPOSALS_PER_LIFE = 2 ** 20;
/** A batch that takes longer to apply counts as slow (etcd: warnApplyDuration). */
const SLOW_APPLY_MS = 100;
/** Answers after which their frontend is told, so that it works on them beside the core. */
const PUBLISH_ANSWERS = 64;

const TIMED_OUT = "etcdserver: request timed out";
const TOO_MANY = "etcdserver: too many requests";
const STOPPED = "etcdserver: server stopped";

const HAS_LEADER = cellOf("hasLeader");
const IS_LEADER = cellOf("isLeader");
const LEADER_CHANGES = cellOf("leaderChanges");
const COMMITTED = cellOf("proposalsCommitted");
const APPLIED = cellOf("proposalsApplied");
const PENDING = cellOf("proposalsPending");
const PROPOSAL_SECONDS = cellOf("proposalDuration");
const APPLY_SECONDS = cellOf("applyDuration");
const APPLY_ENTRIES = cellOf("applyBatchEntries");
const SLOW_APPLIES = cellOf("slowApplies");
const LATE_HEARTBEATS = cellOf("heartbeatSendFailures");
const READ_INDEXES_FAILED = cellOf("readIndexesFailed");
const SLOW_READ_INDEXES = cellOf("slowReadIndexes");
const LEARNER_PROMOTIONS = cellOf("learnerPromotions");
const SNAPSHOT_APPLYING = cellOf("snapshotApplying");
const HEALTH_SUCCESS = cellOf("healthSuccess");
const HEALTH_FAILURES = cellOf("healthFailures");
const CLUSTER_VERSION = idCellOf("clusterVersion");

/** The ends of rings and other things a member works with. */
export interface MemberPorts {
  readonly append: Outlet;
  readonly snapshot: Outlet;
  /** To the main thread's frontend, for what is not an answer. */
  readonly main: Outlet;
  readonly peers: Peers;
  readonly clients: ClientPort;
  /** Of the client port. */
  readonly frontends: number;
  readonly metrics: MetricCells;
  readonly log: Logger;
  /** Uniform in 0 .. below - 1. */
  readonly random: (below: number) => number;
  /** Once: this member serves clients from now on. */
  readonly onReady: (news: readonly string[]) => void;
}

/**
 * The core of a member: raft, the store on top of it, and the answers. The core's loop calls in;
 * everything leaves through rings. Times: `nowMs` is the wall clock in Unix milliseconds, for TTLs;
 * `monoMs` a clock that never jumps, for time-outs.
 */
export class Member implements Consensus {
  readonly #config: Config;
  readonly #plan: StartPlan | undefined;
  readonly #ports: MemberPorts;
  readonly #id: bigint;
  readonly #store: Store;
  readonly #raft: Raft;
  readonly #membership = new Membership();
  readonly #writes: Writes;
  readonly #reads: Reads;
  readonly #changes: MembershipChanges;
  readonly #listings: Listings;
  readonly #keys: KeysService;
  readonly #status: StatusService;
  readonly #publication: Publication;
  readonly #stats: RaftStats;
  readonly #snapshots: Snapshots;
  readonly #figures: RaftFigures;
  readonly #arrival: Arrival;
  readonly #firstElection: FirstElection;
  readonly #timeoutMs: number;
  #applied: number;
  #appliedTerm: number;
  #lastLeader = NONE;
  #electedMs = 0;
  #tickedMs = 0;
  #nextSyncMs = 0;
  /** The log takes nothing until the member is started again: it no longer takes part. */
  #isFailed = false;
  #isStopping = false;
  #leaveMs = Number.POSITIVE_INFINITY;
  monoMs: number;
  nowMs: number;

  constructor(
    config: Config,
    plan: StartPlan | undefined,
    recovery: Recovery,
    ports: MemberPorts,
    times: { nowMs: number; monoMs: number },
  ) {
    const { clients, metrics, peers } = ports;
    const { memberId, clusterId, snapshot, store } = recovery;
    this.#config = config;
    this.#plan = plan;
    this.#ports = ports;
    this.#id = memberId;
    this.#store = store;
    this.#timeoutMs = REQUEST_MS + 2 * config.electionMs;
    this.nowMs = times.nowMs;
    this.monoMs = times.monoMs;
    this.#applied = snapshot.index;
    this.#appliedTerm = snapshot.term;
    this.#restoreMembership();
    this.#raft = startRaft(config, plan, recovery, this.#membership, ports);
    this.#writes = new Writes(this.#raft, firstNumber(ports.random), {
      metrics,
      isConnected: (id) => peers.isConnected(id),
      refuse: ({ client }, why) => {
        if (client !== undefined) this.#refuse(client, why);
      },
    });
    this.#figures = new RaftFigures(metrics);
    this.#reads = new Reads(this.#raft);
    this.#changes = new MembershipChanges(
      this.#raft,
      this.#membership,
      firstNumber(ports.random),
      (client, answer) => clients.answerWhole(client, answer),
    );
    this.#stats = new RaftStats(memberId, config.name, times.nowMs);
    this.#listings = new Listings(clients);
    this.#keys = new KeysService(store, clients, this, this.#listings, metrics);
    this.#status = new StatusService({
      config,
      id: memberId,
      raft: this.#raft,
      store,
      membership: this.#membership,
      peers,
      stats: this.#stats,
    });
    this.#publication = new Publication(config, { memberId, clusterId }, this.#membership, {
      propose: (command) => this.#proposeOwn(command),
      onReady: ports.onReady,
    });
    this.#snapshots = new Snapshots(ports.snapshot, config.snapshotCount, snapshot.index);
    this.#arrival = new Arrival({ historyEventsMax: config.eventHistoryMax });
    this.#firstElection = new FirstElection(config);
    this.#onMembership();
    this.#carryOutAll();
    if (this.#raft.conf.voters.length === 1) this.#raft.campaign();
  }

  /** X-Raft-Index and X-Raft-Term. */
  get position(): { index: number; term: number } {
    return { index: this.#raft.commit, term: this.#raft.term };
  }

  get openWrites(): number {
    return this.#writes.open;
  }

  /** This member was removed from its cluster, and has had the time to say good-bye. */
  get isOut(): boolean {
    return this.monoMs >= this.#leaveMs;
  }

  request(client: Client, request: ApiRequest): void {
    const routed = routePath(request.path, request.query, request.method);
    if (routed.kind === "answer") {
      this.#ports.clients.answerWhole(client, routed.answer);
      return;
    }
    const { path } = routed;
    if (path.startsWith("/v2/keys") && (path.length === 8 || path.charCodeAt(8) === 0x2f)) {
      this.#keys.handle(client, request, path, this.nowMs, this.monoMs);
      return;
    }
    this.#handleOther(client, request, path);
  }

  abort(client: Client): void {
    this.#keys.abort(client);
    this.#listings.abort(client);
    this.#writes.abort(client);
  }

  hold(client: Client, isHeld: boolean): void {
    this.#listings.hold(client, isHeld);
  }

  propose(proposal: Proposal): void {
    this.#writes.propose(proposal);
  }

  readIndex(client: Client, then: () => void): void {
    this.#addRead({ client, then, startMs: this.monoMs, kind: "keys" });
  }

  /** One turn of the clock. */
  tick(): void {
    if (!this.#isFailed) this.#raft.tick();
    const { monoMs, nowMs } = this;
    this.#showFigures();
    this.#writes.giveUp(monoMs - this.#timeoutMs, (startMs) => this.#timeoutCause(startMs));
    for (const read of this.#reads.takeExpired(monoMs, this.#timeoutMs, HEALTH_MS)) {
      this.#ports.metrics.add(SLOW_READ_INDEXES, 1);
      this.#failRead(read, this.#timeoutCause(read.startMs));
    }
    this.#changes.tick(monoMs, this.#timeoutMs);
    if (this.#raft.lead === NONE) return;
    this.#writes.retry();
    this.#publication.step(this.#raft.isLeader, nowMs, monoMs);
    this.#sync();
  }

  /** Jobs up to this one are on the disk. */
  durable(job: number): void {
    this.#raft.durable(job);
  }

  /** @param why the log takes nothing; "" when it does again */
  block(why: string): void {
    this.#writes.block(why);
    // A leader whose disk is full can commit nothing by itself: better another one leads.
    if (why !== "") this.#handOver();
  }

  /** The log takes nothing until the member is started again. What it cannot keep, it must not promise. */
  fail(why: string): void {
    this.block(why);
    this.#isFailed = true;
    this.#writes.giveUp(Number.POSITIVE_INFINITY, () => why);
  }

  /** An encoded message from another member. */
  receive(bytes: Uint8Array): void {
    if (this.#isFailed) return;
    const message = decodeMessage(bytes);
    const { type, from } = message;
    if (type === "append") {
      // Refusing it would make the leader send once more the snapshot that is being read.
      if (this.#arrival.isLoading) return;
      // One of an earlier term is from a leader that was: it comes late, and changes nothing.
      if (message.term >= this.#raft.term) {
        this.#stats.onAppendReceived(from, bytes.length, this.monoMs, this.nowMs);
      }
    } else if (type === "appendReply") this.#stats.onAppendReply(from, message.index, this.monoMs);
    else if (type === "appendReject") this.#stats.onAppendFailed(from);
    this.#raft.step(message);
  }

  /** The stream to a member opened, or ended: what was sent may be lost. */
  peerUp(id: bigint, takesOnce: boolean): void {
    this.#ports.peers.up(id, this.monoMs);
    this.#raft.peerTakesOnce(id, takesOnce);
    if (id === this.#raft.lead) {
      this.#writes.sendAgain();
      this.#writes.retry();
    }
    this.#firstElection.onPeerUp(this.#raft, (voter) => this.#ports.peers.isConnected(voter));
  }

  peerDown(id: bigint): void {
    this.#ports.peers.down(id);
    this.#stats.onAppendFailed(id);
    this.#raft.reportUnreachable(id);
  }

  /** Some of what was sent to a member last is lost. */
  peerOverflow(id: bigint): void {
    this.#raft.reportUnreachable(id);
  }

  /** The snapshot a message stood for has reached the member and was taken in, or never will be. */
  snapshotSent(id: bigint, hasArrived: boolean): void {
    this.#raft.reportSnapshot(id, hasArrived);
  }

  /** The file of a snapshot from the leader is on this member's disk. */
  snapshotReceived(bytes: Uint8Array): void {
    const message = decodeMessage(bytes);
    assert(message.type === "snapshot", "the peer thread gives only whole snapshots");
    const { index, term } = message.meta;
    if (this.#isFailed || this.#arrival.isLoading || index <= this.#applied) return;
    this.#arrival.begin(message);
    writeNumbers(this.#ports.append, AppendType.loadSnapshot, term, index);
  }

  snapshotBlock(bytes: Uint8Array): void {
    this.#arrival.block(bytes);
  }

  /** The last block came: raft decides whether the snapshot is still wanted. */
  snapshotLoaded(): void {
    const message = this.#arrival.finish();
    if (message === undefined) return;
    this.#raft.step(message);
    this.#carryOutAll();
    this.#arrival.drop();
  }

  snapshotUnreadable(): void {
    this.#arrival.drop();
  }

  /** The other members say so; the log cannot, as they no longer send it. */
  removed(): void {
    this.#ports.log.error("the other members say that this member was removed from the cluster");
    this.#leaveWithin(REMOVED_SAID_MS);
  }

  /** Does what can be done without new input, in pieces of about a millisecond. */
  step(): void {
    this.#carryOutAll();
    if (this.#snapshots.isDue(this.#applied)) this.#startSnapshot();
    if (this.#snapshots.hasWork()) this.#snapshots.step();
    this.#listings.step();
  }

  /** Whether step() would do something. */
  hasWork(): boolean {
    return this.#raft.hasReady() || this.#snapshots.hasWork() || this.#listings.hasWork();
  }

  /**
   * The pool thread wrote the snapshot up to `index`; 0: it could not.
   *
   * @param oldestIndex of the snapshots that are kept: the log before it can go
   */
  snapshotDone(index: number, oldestIndex: number): void {
    const meta = this.#snapshots.done(index > 0, this.#applied);
    if (meta === undefined) return;
    this.#raft.offerSnapshot(meta);
    this.#raft.compact(meta.index - this.#config.catchUpEntries);
    writeNumbers(this.#ports.append, AppendType.release, oldestIndex);
    this.#ports.log.info({ index: meta.index, term: meta.term }, "saved snapshot");
  }

  /** Before a stop: a leader hands over, so that the others need not wait for an election time-out. */
  beginStop(): void {
    this.#isStopping = true;
    this.#handOver();
  }

  get isHandingOver(): boolean {
    return this.#isStopping && this.#raft.isLeader && this.#raft.status().transferee !== NONE;
  }

  /** Ends everything that waits: watches in the middle, writes and reads with an error. */
  stop(): void {
    this.#keys.cutWatches();
    this.#writes.giveUp(Number.POSITIVE_INFINITY, () => STOPPED);
    for (const read of this.#reads.takeAll()) this.#failRead(read, STOPPED);
    this.#changes.endAll();
    this.#ports.peers.stop();
  }

  #restoreMembership(): void {
    const cursor = this.#store.cursor();
    cursor.seek("/0/");
    const nodes = [];
    for (let node = cursor.next(); node?.path.startsWith("/0/"); node = cursor.next()) {
      nodes.push(node);
    }
    this.#membership.restore(nodes);
  }

  #carryOutAll(): void {
    for (let ready = this.#raft.ready(); ready !== undefined; ready = this.#raft.ready()) {
      this.#carryOut(ready);
    }
  }

  #carryOut({ messages, append, committed, readStates, softState }: Ready): void {
    for (const message of messages) this.#send(message);
    if (append !== undefined) this.#append(append);
    if (committed.length > 0) this.#applyAll(committed);
    this.#reads.confirm(readStates);
    this.#reads.answerUpTo(this.#applied);
    if (softState !== undefined) this.#onSoftState();
  }

  #send(message: Message): void {
    const bytes = this.#ports.peers.send(message);
    if (bytes > 0) {
      if (message.type !== "append") return;
      const lastIndex = message.prevIndex + message.entries.length;
      this.#stats.onAppendSent(message.to, lastIndex, bytes, this.monoMs);
    } else if (message.type === "snapshot") this.#raft.reportSnapshot(message.to, false);
    else this.#raft.reportUnreachable(message.to);
  }

  #append({ job, snapshot, entries, hardState }: AppendJob): void {
    const { append } = this.#ports;
    if (snapshot !== undefined) this.#install(snapshot);
    for (const entry of entries) writeEntry(append, AppendType.entry, entry);
    if (hardState !== undefined) writeHardState(append, AppendType.hardState, hardState);
    writeNumbers(append, AppendType.endJob, job);
  }

  /** The leader's snapshot replaces log and store. */
  #install({ index, term }: SnapshotMeta): void {
    writeNumbers(this.#ports.append, AppendType.install, term, index);
    const store = this.#arrival.take();
    assert(store !== undefined, "raft installs the snapshot it has just been given");
    if (!this.#store.become(store)) this.#keys.cutWatches();
    this.#applied = index;
    this.#appliedTerm = term;
    this.#writes.skipTo(term);
    this.#snapshots.installed(index);
    this.#restoreMembership();
    this.#keys.deliver(this.#ports.frontends);
    this.#onMembership();
    this.#ports.log.info({ index, term }, "went on from the leader's snapshot");
  }

  #applyAll(entries: readonly Entry[]): void {
    const startMs = performance.now();
    for (const entry of entries) {
      if (entry.term !== this.#appliedTerm) this.#writes.onTerm(entry.term);
      if (entry.type === EntryType.confChange) this.#applyConfChange(entry);
      else if (entry.data.length > 0) this.#applyCommand(entry);
      this.#applied = entry.index;
      this.#appliedTerm = entry.term;
      if (entry.index % PUBLISH_ANSWERS === 0) this.#ports.clients.publish();
    }
    this.#raft.applied(this.#applied);
    const { metrics } = this.#ports;
    const tookMs = performance.now() - startMs;
    if (tookMs > SLOW_APPLY_MS) metrics.add(SLOW_APPLIES, 1);
    metrics.observe(APPLY_SECONDS, tookMs / 1000);
    metrics.observe(APPLY_ENTRIES, entries.length);
    metrics.set(COMMITTED, this.#raft.commit);
    metrics.set(APPLIED, this.#applied);
    metrics.set(PENDING, this.#writes.open);
    showStoreStats(metrics, this.#store);
  }

  /** What changes without an entry, too. */
  #showFigures(): void {
    const { metrics } = this.#ports;
    const status = this.#raft.status();
    const lateMs = this.monoMs - this.#tickedMs;
    if (status.role === "leader" && this.#tickedMs > 0 && lateMs > 2 * this.#config.heartbeatMs) {
      metrics.add(LATE_HEARTBEATS, status.peers.length);
    }
    this.#tickedMs = this.monoMs;
    this.#figures.show(status);
    metrics.set(COMMITTED, status.commit);
    metrics.set(APPLIED, this.#applied);
    metrics.set(PENDING, this.#writes.open);
    metrics.set(SNAPSHOT_APPLYING, this.#arrival.isLoading ? 1 : 0);
  }

  #applyCommand(entry: Entry): void {
    const { command, proposal } = this.#writes.take(entry.data);
    if (!this.#membership.mayApply(command)) return;
    const result = this.#store.apply(command);
    if (result instanceof Event && Membership.concerns(result.node.path)) {
      this.#membership.apply(result);
      this.#onMembership();
    }
    if (proposal?.client !== undefined && result !== undefined) {
      const seconds = Math.max(0, this.monoMs - proposal.startMs) / 1000;
      this.#ports.metrics.observe(PROPOSAL_SECONDS, seconds);
      this.#keys.answerWrite(proposal.client, result, proposal.noValueOnSuccess, seconds);
    }
    this.#keys.deliver(this.#ports.frontends);
    if (proposal !== undefined && proposal.client === undefined) {
      this.#publication.onOwnCommand(command);
      this.#publication.step(this.#raft.isLeader, this.nowMs, this.monoMs); // Not only with the next tick.
      this.#publication.check();
    }
  }

  #applyConfChange(entry: Entry): void {
    const change = decodeRaftChange(entry.data);
    const content = decodeConfChange(change.context);
    this.#countMembershipReads();
    const verdict = judgeConfChange(content, this.#membership);
    if (verdict === "ok") {
      this.#raft.applyConfChange(change);
      for (const command of confChangeCommands(content, 0)) {
        const result = this.#store.apply(command);
        if (result instanceof Event) this.#membership.apply(result);
      }
      this.#keys.deliver(this.#ports.frontends);
      this.#onMembership();
    }
    this.#changes.applied(content, verdict);
    if (verdict === "ok" && content.kind === "promote") {
      if (this.#raft.isLeader) this.#ports.metrics.add(LEARNER_PROMOTIONS, 1);
      this.#ports.log.info({ member: formatId(content.id) }, "a new member votes from now on");
    }
    if (verdict === "ok" && content.kind === "remove" && content.id === this.#id) {
      this.#ports.log.error("this member was removed from the cluster; it stops");
      this.#leaveWithin(REMOVED_UNSAID_MS);
    }
  }

  #leaveWithin(ms: number): void {
    this.#leaveMs = Math.min(this.#leaveMs, this.monoMs + ms);
  }

  #onMembership(): void {
    this.#ports.peers.tellMembers(this.#membership, this.#plan?.members ?? []);
    const ids = this.#membership.members().map(({ id }) => id);
    this.#stats.setPeers(ids.filter((id) => id !== this.#id));
    this.#ports.metrics.setId(CLUSTER_VERSION, packVersion(this.#membership.version));
    this.#publication.check();
  }

  /** etcd reads the membership back from the store to judge a change, and counts that as reads. */
  #countMembershipReads(): void {
    if (this.#store.read(MEMBERS_PATH) instanceof Refusal) return;
    this.#store.read(REMOVED_MEMBERS_PATH);
  }

  #onSoftState(): void {
    const { metrics, log } = this.#ports;
    const { lead, isLeader, term } = this.#raft;
    metrics.set(HAS_LEADER, lead === NONE ? 0 : 1);
    metrics.set(IS_LEADER, isLeader ? 1 : 0);
    this.#figures.show(this.#raft.status());
    if (lead === this.#lastLeader) return;
    const before = this.#lastLeader;
    this.#lastLeader = lead;
    if (isLeader) this.#stats.onBecomeLeader(this.nowMs);
    if (lead === NONE) {
      log.warn(`lost leader ${formatId(before)} at term ${term}`);
      return;
    }
    this.#electedMs = this.monoMs;
    metrics.add(LEADER_CHANGES, 1);
    log.info({ leader: formatId(lead), term }, `elected leader ${formatId(lead)} at term ${term}`);
    this.#writes.sendAgain();
    this.#writes.retry();
    this.#publication.step(isLeader, this.nowMs, this.monoMs);
  }

  /** @returns false if it cannot even be tried now */
  #proposeOwn(command: Command): boolean {
    if (this.#raft.lead === NONE || this.#writes.blockedBy !== "") return false;
    const startMs = this.monoMs;
    this.#writes.propose({ command, client: undefined, noValueOnSuccess: false, startMs });
    return true;
  }

  /** Only the leader's clock lets nodes expire. */
  #sync(): void {
    if (this.monoMs < this.#nextSyncMs) return;
    this.#nextSyncMs = this.monoMs + SYNC_MS;
    if (this.#store.expiringNodes > 0 && this.#raft.isLeader) {
      this.#proposeOwn(syncCommand(this.nowMs));
    }
  }

  #handOver(): void {
    const successor = this.#raft.successor();
    if (successor !== NONE) this.#raft.transferLeadership(successor);
  }

  #startSnapshot(): void {
    const meta = { index: this.#applied, term: this.#appliedTerm, conf: this.#raft.conf };
    this.#snapshots.start(this.#store, meta);
    const { main } = this.#ports;
    const metadata = encodeConf(meta.conf);
    main.open(16 + metadata.length);
    main.view.setFloat64(main.at, meta.term, true);
    main.view.setFloat64(main.at + 8, meta.index, true);
    main.bytes.set(metadata, main.at + 16);
    main.close(AnswerType.startSnapshot, 16 + metadata.length);
    this.#ports.log.info({ index: meta.index }, "taking snapshot");
  }

  #addRead(read: WaitingRead): void {
    if (this.#reads.add(read)) return;
    this.#ports.metrics.add(READ_INDEXES_FAILED, 1);
    this.#failRead(read, TOO_MANY);
  }

  #failRead({ client, kind }: WaitingRead, why: string): void {
    if (kind === "health") this.#answerHealth(client, false);
    else if (kind === "change") this.#ports.clients.answerWhole(client, internalError());
    else this.#refuse(client, why);
  }

  #answerHealth(client: Client, isHealthy: boolean): void {
    if (isHealthy) this.#store.stats.add(Stat.getsSuccess); // etcd reads the root for it.
    this.#ports.metrics.add(isHealthy ? HEALTH_SUCCESS : HEALTH_FAILURES, 1);
    this.#ports.clients.answerWhole(client, healthAnswer(isHealthy));
  }

  /** Why a request that came at `startMs` is not answered by now, in etcd's words (parseProposeCtxErr). */
  #timeoutCause(startMs: number): string {
    const { lead } = this.#raft;
    const lostMs = this.#electedMs - 2 * this.#config.electionMs;
    if (startMs > lostMs && startMs < this.#electedMs) {
      return `${TIMED_OUT}, possibly due to previous leader failure`;
    }
    const isReachable = lead === NONE || this.#ports.peers.isUpSince(lead, startMs);
    return isReachable ? TIMED_OUT : `${TIMED_OUT}, possibly due to connection lost`;
  }

  #refuse(client: Client, why: string): void {
    this.#keys.refuse(client, new Refusal(ErrorCode.raftInternal, why, 0));
  }

  #handleOther(client: Client, request: ApiRequest, path: string): void {
    const outcome = this.#status.handle(request, path, this.nowMs, this.monoMs);
    switch (outcome.kind) {
      case "answer":
        this.#ports.clients.answerWhole(client, outcome.answer);
        return;
      case "propose": {
        // Someone else's change of a moment ago must be known here before this one is judged.
        const then = () => this.#changes.add(client, outcome.change, this.monoMs);
        this.#addRead({ client, then, startMs: this.monoMs, kind: "change" });
        return;
      }
      case "health": {
        const then = () => this.#answerHealth(client, this.#writes.blockedBy === "");
        if (this.#raft.lead === NONE) this.#answerHealth(client, false);
        else this.#addRead({ client, then, startMs: this.monoMs, kind: "health" });
        return;
      }
    }
  }
}

/**
 * Where a life of this member begins to number its proposals. An entry of an earlier life that is committed
 * in this one must not pass for one of this life's: it would be applied as another command than everywhere
 * else. So lives are far apart, by lot and not by the clock, as a machine may be set back in time, and one
 * without a clock of its own starts at the same second every time.
 */
function firstNumber(random: (below: number) => number): number {
  return random(2 ** 32) * PROPOSALS_PER_LIFE;
}
