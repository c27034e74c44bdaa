import type { StartPlan } from "../bootstrap/start-plan.js";
import { confChangeCommands } from "../cluster/commands.js";
import { decodeConfChange } from "../cluster/conf-change.js";
import { FORWARD_ONCE_LEVEL } from "../cluster/format.js";
import { formatId } from "../cluster/ids.js";
import { Membership } from "../cluster/membership.js";
import { MEMBERS_PATH, REMOVED_MEMBERS_PATH } from "../cluster/paths.js";
import { judgeConfChange } from "../cluster/rules.js";
import { decodeSnapshotHead, encodeSnapshotHead } from "../cluster/snapshot-head.js";
import type { Config } from "../config/config.js";
import { assert } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import {
  AppendType,
  writeBytes,
  writeEntry,
  writeFormat,
  writeHardState,
} from "../messages/log.js";
import { writeNumbers } from "../messages/numbers.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf, idCellOf } from "../metrics/families.js";
import { packVersion } from "../metrics/version-id.js";
import type { StoreLimits } from "../process/heap.js";
import { decodeConfChange as decodeRaftChange } from "../raft/conf-change.js";
import type { AppendJob } from "../raft/disk-jobs.js";
import { type Entry, EntryType, NONE, type SnapshotMeta } from "../raft/entry.js";
import type { Message } from "../raft/message.js";
import { decodeMessage } from "../raft/message-codec.js";
import type { RaftLimits } from "../raft/options.js";
import type { Raft, Ready } from "../raft/raft.js";
import type { Outlet } from "../ring/fragments.js";
import type { Command } from "../store/command.js";
import { Event } from "../store/event.js";
import { ErrorCode, Refusal } from "../store/refusal.js";
import type { Store } from "../store/store.js";
import { internalError } from "../v2/members.js";
import { routePath } from "../v2/path.js";
import { RaftStats } from "../v2/raft-stats.js";
import type { ApiRequest } from "../v2/request.js";
import { Agreed } from "./agreed.js";
import { FirstElection } from "./first-election.js";
import { Health } from "./health.js";
import { Arrival } from "./incoming-snapshot.js";
import { Listings } from "./listings.js";
import { MembershipChanges } from "./membership-changes.js";
import { RaftFigures } from "./metrics.js";
import type { Peers } from "./peer-port.js";
import { firstNumber, type Proposal } from "./proposals.js";
import { Publication } from "./publication.js";
import { type Recovery, startRaft } from "./raft-start.js";
import { Reads, type WaitingRead } from "./reads.js";
import { Removal } from "./removal.js";
import type { Client, ClientPort } from "./replies.js";
import { Snapshots } from "./snapshots.js";
import { Space } from "./space.js";
import { Timeouts } from "./timeouts.js";
import { type Consensus, KeysService } from "./v2-keys.js";
import { StatusService } from "./v2-status.js";
import { Writes } from "./writes.js";

const HEALTH_MS = 1000;
/** Answers after which their frontend is told, so that it works on them beside the core. */
const PUBLISH_ANSWERS = 64;

const TOO_MANY = "etcdserver: too many requests";
const STOPPED = "etcdserver: server stopped";
const NO_SPACE = "etcdserver: database space exceeded";

const LEADER_CHANGES = cellOf("leaderChanges");
const PROPOSAL_SECONDS = cellOf("proposalDuration");
const READ_INDEXES_FAILED = cellOf("readIndexesFailed");
const SLOW_READ_INDEXES = cellOf("slowReadIndexes");
const LEARNER_PROMOTIONS = cellOf("learnerPromotions");
const SNAPSHOT_APPLYING = cellOf("snapshotApplying");
const CLUSTER_VERSION = idCellOf("clusterVersion");

/** The ends of rings and other things a member works with. */
export interface MemberPorts {
  readonly append: Outlet;
  /** To the pool. */
  readonly jobs: Outlet;
  readonly peers: Peers;
  readonly clients: ClientPort;
  /** Of the client port. */
  readonly frontends: number;
  readonly metrics: MetricCells;
  readonly log: Logger;
  readonly limits: StoreLimits;
  readonly raftLimits: RaftLimits;
  /** Uniform in 0 .. below - 1. */
  readonly random: (below: number) => number;
  /** Once: this member serves clients from now on. */
  readonly onReady: (news: readonly string[]) => void;
}

/**
 * The core of a member: raft, the store on top of it, and the answers. The core's loop calls in;
 * everything leaves through rings. Times: `monoMs` is a clock that never jumps, for timeouts; `clusterMs`
 * the cluster's clock in Unix milliseconds, for TTLs; `wallMs` this machine's, for what operators read.
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
  readonly #health: Health;
  readonly #publication: Publication;
  readonly #stats: RaftStats;
  readonly #snapshots: Snapshots;
  readonly #figures: RaftFigures;
  readonly #arrival: Arrival;
  readonly #firstElection: FirstElection;
  readonly #agreed: Agreed;
  readonly #removal = new Removal();
  readonly #timeouts: Timeouts;
  readonly #space: Space;
  #applied: number;
  #appliedTerm: number;
  #memberIds: readonly bigint[] = [];
  #lastLeader = NONE;
  /** The log takes nothing until the member is started again: it no longer takes part. */
  #isFailed = false;
  #isStopping = false;
  monoMs: number;
  wallMs: number;
  clusterMs: number;

  constructor(
    config: Config,
    plan: StartPlan | undefined,
    recovery: Recovery,
    ports: MemberPorts,
    times: { wallMs: number; monoMs: number },
  ) {
    const { clients, metrics, peers } = ports;
    const { memberId, clusterId, snapshot, store } = recovery;
    this.#config = config;
    this.#plan = plan;
    this.#ports = ports;
    this.#id = memberId;
    this.#store = store;
    this.#space = new Space(store, ports.limits, metrics, ports.log);
    this.wallMs = times.wallMs;
    this.monoMs = times.monoMs;
    this.#applied = snapshot.index;
    this.#appliedTerm = snapshot.term;
    this.#membership.restoreFrom(this.#store.cursor());
    this.#raft = startRaft(config, plan, recovery, this.#membership, ports);
    this.#timeouts = new Timeouts(this.#raft, peers, config.electionMs);
    this.#writes = new Writes(this.#raft, firstNumber(ports.random), {
      metrics,
      isConnected: (id) => peers.isConnected(id),
      refuse: ({ client }, why) => {
        if (client !== undefined) this.#refuse(client, why);
      },
    });
    this.#agreed = new Agreed(config.formatLevel, recovery.head, {
      ...{ raft: this.#raft, metrics, log: ports.log, electionMs: config.electionMs },
      isFounding: snapshot.index === 0 && recovery.entries.length === 0 && plan?.kind !== "join",
      propose: (command) => this.#proposeOwn(command),
      onKnown: () => this.#publication.check(),
      onFormatLevel: (level) => this.#onFormatLevel(level),
    });
    this.clusterMs = this.#agreed.time.clock.read(times.wallMs, times.monoMs);
    this.#figures = new RaftFigures(metrics, config.heartbeatMs);
    this.#reads = new Reads(this.#raft);
    this.#changes = new MembershipChanges(
      this.#raft,
      this.#membership,
      firstNumber(ports.random),
      (client, answer) => clients.answerWhole(client, answer),
    );
    this.#stats = new RaftStats(memberId, config.name, times.wallMs);
    this.#listings = new Listings(clients);
    this.#keys = new KeysService(store, clients, this, this.#listings, metrics);
    this.#health = new Health(store, clients, metrics);
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
      hasTime: () => this.#agreed.hasTime,
      onReady: ports.onReady,
    });
    const { limits } = ports;
    this.#snapshots = new Snapshots(
      ports.jobs,
      config.snapshotCount,
      limits.logBytes,
      snapshot.index,
    );
    this.#arrival = new Arrival({
      historyEventsMax: config.eventHistoryMax,
      historyBytesMax: limits.historyBytes,
    });
    this.#firstElection = new FirstElection(config);
    this.#agreed.restore(recovery.head, times.monoMs);
    this.#onMembership();
    this.#carryOutAll();
    if (this.#raft.conf.voters.length === 1) this.#raft.campaign();
  }

  /** X-Raft-Index and X-Raft-Term. */
  get position(): { index: number; term: number } {
    return { index: this.#raft.commit, term: this.#raft.term };
  }

  get knowsTime(): boolean {
    return this.#agreed.time.clock.isKnown;
  }

  get openWrites(): number {
    return this.#writes.open;
  }

  /** This member was removed from its cluster, and has had the time to say good-bye. */
  get isOut(): boolean {
    return this.#removal.isOut(this.monoMs);
  }

  /** Once a turn. @param wallMs Unix milliseconds */
  setTimes(wallMs: number, monoMs: number): void {
    this.wallMs = wallMs;
    this.monoMs = monoMs;
    this.clusterMs = this.#agreed.time.clock.read(wallMs, monoMs);
  }

  request(client: Client, request: ApiRequest): void {
    const routed = routePath(request.path, request.query, request.method);
    if (routed.kind === "answer") {
      this.#ports.clients.answerWhole(client, routed.answer);
      return;
    }
    const { path } = routed;
    if (path.startsWith("/v2/keys") && (path.length === 8 || path.charCodeAt(8) === 0x2f)) {
      this.#keys.handle(client, request, path, this.clusterMs, this.monoMs);
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
    if (this.#space.hasPlenty(proposal.command, this.#writes.openBytes)) {
      this.#writes.propose(proposal);
      return;
    }
    const admission = this.#space.judge(proposal.command, {
      openBytes: this.#writes.openBytes,
      viewBytes: this.#snapshots.viewBytes(this.#store) + this.#listings.viewBytes(this.#store),
      members: this.#raft.conf.voters.length,
    });
    const { client } = proposal;
    if (admission === "admitted" || client === undefined) this.#writes.propose(proposal);
    else if (admission === "busy") this.#refuse(client, TOO_MANY);
    else this.#keys.refuse(client, new Refusal(ErrorCode.noSpace, NO_SPACE, this.#store.index));
  }

  readIndex(client: Client, then: () => void): void {
    this.#addRead({ client, then, startMs: this.monoMs, kind: "keys" });
  }

  /** One turn of the clock. */
  tick(): void {
    if (!this.#isFailed) this.#raft.tick();
    const { monoMs, clusterMs } = this;
    this.#showFigures();
    const { requestMs } = this.#timeouts;
    this.#writes.giveUp(monoMs - requestMs, (startMs) => this.#timeouts.cause(startMs));
    for (const read of this.#reads.takeExpired(monoMs, requestMs, HEALTH_MS)) {
      this.#ports.metrics.add(SLOW_READ_INDEXES, 1);
      this.#failRead(read, this.#timeouts.cause(read.startMs));
    }
    this.#changes.tick(monoMs, requestMs);
    this.#tickAgreed();
    this.#publication.check();
    if (this.#raft.lead === NONE) return;
    this.#writes.retry();
    this.#publication.step(this.#raft.isLeader, clusterMs, monoMs);
  }

  /** Jobs up to this one are on the disk. */
  durable(job: number): void {
    this.#raft.durable(job);
  }

  /** @param why the log takes nothing at the moment */
  block(why: string): void {
    this.#writes.block(why);
    // A leader whose disk is full can commit nothing by itself: better another one leads.
    this.#handOver();
  }

  /** The log takes entries again. */
  unblock(): void {
    this.#writes.unblock();
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
        this.#stats.onAppendReceived(from, bytes.length, this.monoMs, this.wallMs);
      }
    } else if (type === "appendReply") this.#stats.onAppendReply(from, message.index, this.monoMs);
    else if (type === "appendReject") this.#stats.onAppendFailed(from);
    this.#raft.step(message);
  }

  /** The stream to a member opened, or ended: what was sent may be lost. */
  peerUp(id: bigint, format: number): void {
    this.#agreed.formats.connected(id, format);
    this.#ports.peers.up(id, this.monoMs);
    this.#raft.peerTakesOnce(id, format >= FORWARD_ONCE_LEVEL);
    this.#raft.reportReachable(id);
    if (id === this.#raft.lead) {
      this.#writes.sendAgain();
      this.#writes.retry();
      this.#publication.step(this.#raft.isLeader, this.clusterMs, this.monoMs);
    }
    this.#firstElection.onPeerUp(this.#raft, (voter) => this.#ports.peers.isConnected(voter));
  }

  peerDown(id: bigint): void {
    this.#agreed.formats.disconnected(id);
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
    this.#arrival.begin(message, this.#store);
    writeNumbers(this.#ports.append, AppendType.loadSnapshot, term, index);
  }

  /** Of the snapshot that was asked for. */
  snapshotHead(metadata: Buffer): void {
    this.#arrival.head = decodeSnapshotHead(metadata, this.#config.formatLevel);
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
    this.#removal.onSaid(this.monoMs);
  }

  /** Does what can be done without new input, in pieces of about a millisecond. */
  step(): void {
    this.#carryOutAll();
    if (this.#snapshots.isDue(this.#applied, this.#store.treeBytes)) this.#startSnapshot();
    if (this.#snapshots.hasWork()) this.#snapshots.step();
    this.#listings.step();
  }

  /** Whether step() would do something. */
  hasWork(): boolean {
    return this.#raft.hasReady() || this.#snapshots.hasWork() || this.#listings.hasWork();
  }

  /**
   * The pool thread wrote the snapshot.
   *
   * @param oldestIndex of the snapshots that are kept: the log before it can go
   */
  snapshotDone(oldestIndex: number): void {
    const meta = this.#snapshots.done(true, this.#applied);
    if (meta === undefined) return;
    this.#raft.offerSnapshot(meta);
    this.#raft.compact(this.#snapshots.compactTo(meta.index, this.#config.catchUpEntries));
    writeNumbers(this.#ports.append, AppendType.release, oldestIndex);
    this.#ports.log.info({ index: meta.index, term: meta.term }, "saved snapshot");
  }

  /**
   * The pool thread could not write the snapshot.
   *
   * @param isForWant of space, or of what else there may be again. Otherwise the disk fails or is gone, and a
   *   member that cannot keep a snapshot must not go on promising that it keeps the log
   */
  snapshotFailed(isForWant: boolean): void {
    this.#snapshots.done(false, this.#applied);
    if (isForWant || this.#isFailed) return;
    const why = "a snapshot could not be saved";
    writeBytes(this.#ports.append, AppendType.giveUp, Buffer.from(why));
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
    this.#agreed.restore(this.#arrival.head, this.monoMs);
    this.#applied = index;
    this.#appliedTerm = term;
    this.#writes.skipTo(term);
    this.#snapshots.installed(index);
    this.#membership.restoreFrom(this.#store.cursor());
    this.#keys.deliver(this.#ports.frontends);
    this.#onMembership();
    this.#ports.log.info({ index, term }, "went on from the leader's snapshot");
  }

  #applyAll(entries: readonly Entry[]): void {
    const startMs = performance.now();
    let bytes = 0;
    for (const entry of entries) {
      bytes += entry.data.length;
      if (entry.term !== this.#appliedTerm) this.#writes.onTerm(entry.term);
      if (entry.type === EntryType.confChange) this.#applyConfChange(entry);
      else if (entry.data.length > 0) this.#applyCommand(entry);
      this.#applied = entry.index;
      this.#appliedTerm = entry.term;
      if (entry.index % PUBLISH_ANSWERS === 0) this.#ports.clients.publish();
    }
    this.#raft.applied(this.#applied);
    this.#snapshots.applied(this.#applied, bytes);
    this.#figures.onApplied(entries.length, performance.now() - startMs, this.#store);
    this.#figures.showWrites(this.#raft.commit, this.#applied, this.#writes.open);
  }

  /** What changes without an entry, too. */
  #showFigures(): void {
    this.#space.look();
    const status = this.#raft.status();
    this.#figures.onTick(status, this.monoMs);
    this.#figures.showWrites(status.commit, this.#applied, this.#writes.open);
    this.#ports.metrics.set(SNAPSHOT_APPLYING, this.#arrival.isLoading ? 1 : 0);
  }

  #applyCommand(entry: Entry): void {
    const { command, proposal } = this.#writes.take(entry.data);
    const isOwn = proposal !== undefined;
    if (!this.#agreed.applies(entry, command, isOwn, this.monoMs)) return;
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
      this.#publication.step(this.#raft.isLeader, this.clusterMs, this.monoMs); // Not only with the next tick.
      this.#publication.check();
      this.#tickAgreed();
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
      this.#removal.onApplied(this.monoMs);
    }
  }

  #onMembership(): void {
    const { level } = this.#agreed.formats;
    this.#ports.peers.tellMembers(this.#membership, this.#plan?.members ?? [], level);
    const ids = this.#membership.members().map(({ id }) => id);
    this.#memberIds = ids;
    this.#stats.setPeers(ids.filter((id) => id !== this.#id));
    this.#ports.metrics.setId(CLUSTER_VERSION, packVersion(this.#membership.version));
    this.#publication.check();
  }

  /** Once at each rise, and at a start: entries and the log's own files go over to the level's format. */
  #onFormatLevel(level: number): void {
    this.#writes.format = level;
    writeFormat(this.#ports.append, level);
    this.#ports.log.info({ level }, "the cluster writes this format level");
    this.#onMembership();
  }

  /** etcd reads the membership back from the store to judge a change, and counts that as reads. */
  #countMembershipReads(): void {
    if (this.#store.read(MEMBERS_PATH) instanceof Refusal) return;
    this.#store.read(REMOVED_MEMBERS_PATH);
  }

  #onSoftState(): void {
    const { metrics, log } = this.#ports;
    const { lead, isLeader, term } = this.#raft;
    this.#figures.show(this.#raft.status());
    if (lead === this.#lastLeader) return;
    const before = this.#lastLeader;
    this.#lastLeader = lead;
    if (isLeader) this.#stats.onBecomeLeader(this.wallMs);
    if (lead === NONE) {
      log.warn(`lost leader ${formatId(before)} at term ${term}`);
      return;
    }
    this.#timeouts.onElected(this.monoMs);
    metrics.add(LEADER_CHANGES, 1);
    log.info({ leader: formatId(lead), term }, `elected leader ${formatId(lead)} at term ${term}`);
    this.#writes.sendAgain();
    this.#writes.retry();
    this.#publication.step(isLeader, this.clusterMs, this.monoMs);
    this.#tickAgreed();
  }

  /** With the clock, and at once where it lets a start go on. */
  #tickAgreed(): void {
    const { expiringNodes } = this.#store;
    this.#agreed.tick(this.#memberIds, { appliedTerm: this.#appliedTerm, expiringNodes }, this);
  }

  /** @returns false if it cannot even be tried now */
  #proposeOwn(command: Command): boolean {
    if (this.#raft.lead === NONE || this.#writes.isBlocked) return false;
    const startMs = this.monoMs;
    return this.#writes.propose({ command, client: undefined, noValueOnSuccess: false, startMs });
  }

  #handOver(): void {
    const successor = this.#raft.successor();
    if (successor !== NONE) this.#raft.transferLeadership(successor);
  }

  #startSnapshot(): void {
    const meta = { index: this.#applied, term: this.#appliedTerm, conf: this.#raft.conf };
    const { head } = this.#agreed;
    const metadata = encodeSnapshotHead(meta.conf, head);
    this.#snapshots.start(this.#store, meta, { version: head.format, metadata });
    this.#ports.log.info({ index: meta.index }, "taking snapshot");
  }

  #addRead(read: WaitingRead): void {
    if (this.#reads.add(read)) return;
    this.#ports.metrics.add(READ_INDEXES_FAILED, 1);
    this.#failRead(read, TOO_MANY);
  }

  #failRead({ client, kind }: WaitingRead, why: string): void {
    if (kind === "health") this.#health.answer(client, false);
    else if (kind === "change") this.#ports.clients.answerWhole(client, internalError());
    else this.#refuse(client, why);
  }

  #refuse(client: Client, why: string): void {
    if (!this.#isStopping) this.#ports.log.warn({ reason: why }, "refused a request");
    this.#keys.refuse(client, new Refusal(ErrorCode.raftInternal, why, 0));
  }

  #handleOther(client: Client, request: ApiRequest, path: string): void {
    const outcome = this.#status.handle(request, path, this.wallMs, this.monoMs);
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
        const then = () => {
          this.#space.look();
          this.#health.answer(client, !this.#writes.isBlocked && !this.#space.isFull);
        };
        if (this.#raft.lead === NONE) this.#health.answer(client, false);
        else this.#addRead({ client, then, startMs: this.monoMs, kind: "health" });
        return;
      }
    }
  }
}
