import { createHash, randomInt } from "node:crypto";
import { handleMachines, handleMembers, internalError, writesMembers } from "../api/members.js";
import { routePath } from "../api/path.js";
import { NOT_FOUND } from "../api/plain.js";
import type { ApiRequest } from "../api/request.js";
import { handleLeaderStats, handleSelfStats, handleStoreStats } from "../api/stats.js";
import {
  COMPAT_CLUSTER_VERSION,
  handleVersion,
  healthAnswer,
  refuseHealthMethod,
} from "../api/status.js";
import {
  confChangeCommands,
  publishAttributesCommand,
  setClusterVersionCommand,
} from "../cluster/commands.js";
import { decodeConfChange, encodeConfChange } from "../cluster/conf-change.js";
import { formatId } from "../cluster/ids.js";
import { Membership } from "../cluster/membership.js";
import { MEMBERS_PATH, REMOVED_MEMBERS_PATH } from "../cluster/paths.js";
import { judgeConfChange } from "../cluster/rules.js";
import type { Config } from "../config/config.js";
import { AnswerType, writeNumbers } from "../frontend/records.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { bootstrap } from "../raft/bootstrap.js";
import { decodeConfChange as decodeRaftChange } from "../raft/conf-change.js";
import {
  type ConfState,
  type Entry,
  EntryType,
  type HardState,
  NONE,
  type SnapshotMeta,
} from "../raft/entry.js";
import { Raft, type Ready } from "../raft/raft.js";
import type { Outlet } from "../ring/fragments.js";
import { type Command, CommandOp } from "../store/command.js";
import { Event } from "../store/event.js";
import { PERMANENT } from "../store/node.js";
import { ErrorCode, Refusal } from "../store/refusal.js";
import { STAT_NAMES, Stat } from "../store/stats.js";
import type { Store } from "../store/store.js";
import type { Client, ClientPort } from "./client-port.js";
import { type Consensus, KeysService } from "./keys-service.js";
import { Listings } from "./listings.js";
import { AppendType, writeEntry, writeHardState } from "./log-records.js";
import { type Proposal, Proposals } from "./proposals.js";
import { Snapshots } from "./snapshots.js";

/** Log entries kept in memory behind a snapshot, for peers that are a little late (as etcd's 5000). */
const CATCH_UP_ENTRIES = 5000;
/** How often the leader lets nodes expire. */
const SYNC_MS = 500;
/** What a write may take beyond two election time-outs. */
const REQUEST_MS = 5000;
const HEALTH_MS = 1000;
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
const FAILED = cellOf("proposalsFailed");
const PROPOSAL_SECONDS = cellOf("proposalDuration");
const APPLY_SECONDS = cellOf("applyDuration");
const APPLY_ENTRIES = cellOf("applyBatchEntries");
const HEALTH_SUCCESS = cellOf("healthSuccess");
const HEALTH_FAILURES = cellOf("healthFailures");

/** What the disk held. */
export interface Recovery {
  readonly memberId: bigint;
  readonly clusterId: bigint;
  readonly snapshot: SnapshotMeta;
  readonly store: Store;
  readonly entries: Entry[];
  readonly hardState: HardState;
}

/** The ends of rings and other things a member works with. */
export interface MemberPorts {
  readonly append: Outlet;
  readonly snapshot: Outlet;
  /** To the main thread's frontend, for what is not an answer. */
  readonly main: Outlet;
  readonly metrics: MetricCells;
  readonly log: Logger;
  /** Of the answer ports; the port itself is made by the member's caller. */
  readonly frontends: number;
}

interface WaitingRead {
  readonly client: Client;
  readonly then: () => void;
  readonly startMs: number;
  readonly isHealth: boolean;
}

/**
 * The core of a member: raft, the store on top of it, and the answers. The core thread's loop calls in;
 * everything leaves through rings. Times: `nowMs` is the wall clock in Unix milliseconds, for TTLs;
 * `monoMs` a clock that never jumps, for time-outs.
 */
export class Member implements Consensus {
  readonly #config: Config;
  readonly #ports: MemberPorts;
  readonly #port: ClientPort;
  readonly #id: bigint;
  readonly #clusterId: bigint;
  readonly #store: Store;
  readonly #raft: Raft;
  readonly #membership = new Membership();
  readonly #proposals: Proposals;
  readonly #listings: Listings;
  readonly #keys: KeysService;
  readonly #snapshots: Snapshots;
  readonly #onReady: () => void;
  readonly #reads = new Map<number, WaitingRead>();
  readonly #timeoutMs: number;
  readonly #startTimeNs: bigint;
  #readContext = 0;
  #applied: number;
  #appliedTerm: number;
  #leaderSinceNs = 0n;
  #lastLeader = NONE;
  #nextSyncMs = 0;
  /** Why writes are refused, or "". */
  #blockedBy = "";
  /** The member's own command that could not be proposed, or got lost; tried again. */
  #unproposed: Command | undefined;
  #isPublished = false;
  #isReady = false;
  monoMs = 0;
  nowMs = 0;

  constructor(
    config: Config,
    recovery: Recovery,
    ports: MemberPorts,
    port: ClientPort,
    times: { nowMs: number; monoMs: number },
    onReady: () => void,
  ) {
    this.#config = config;
    this.#ports = ports;
    this.#port = port;
    this.#id = recovery.memberId;
    this.#clusterId = recovery.clusterId;
    this.#store = recovery.store;
    this.#onReady = onReady;
    this.#timeoutMs = REQUEST_MS + 2 * config.electionMs;
    this.nowMs = times.nowMs;
    this.monoMs = times.monoMs;
    this.#startTimeNs = BigInt(Math.floor(times.nowMs)) * 1_000_000n;
    this.#applied = recovery.snapshot.index;
    this.#appliedTerm = recovery.snapshot.term;
    // Above the numbers of any earlier life, as 2^10 proposals a millisecond are out of reach.
    this.#proposals = new Proposals(this.#id, Math.floor(times.nowMs) * 1024);
    this.#listings = new Listings(port);
    this.#keys = new KeysService(this.#store, port, this, this.#listings, ports.metrics);
    const { snapshotCount } = config;
    this.#snapshots = new Snapshots(ports.snapshot, snapshotCount, recovery.snapshot.index);
    this.#restoreMembership();
    this.#raft = this.#startRaft(recovery);
    this.#carryOutAll();
    if (this.#raft.conf.voters.length === 1) this.#raft.campaign();
  }

  /** X-Raft-Index and X-Raft-Term. */
  get position(): { index: number; term: number } {
    return { index: this.#raft.commit, term: this.#raft.term };
  }

  get openProposals(): number {
    return this.#proposals.size;
  }

  request(client: Client, request: ApiRequest): void {
    const routed = routePath(request.path, request.query, request.method);
    if (routed.kind === "answer") {
      this.#port.answerWhole(client, routed.answer);
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
  }

  hold(client: Client, isHeld: boolean): void {
    this.#listings.hold(client, isHeld);
  }

  propose(proposal: Proposal): void {
    if (this.#blockedBy !== "") {
      this.#failProposal(proposal, this.#blockedBy);
      return;
    }
    const { data, number } = this.#proposals.add(proposal);
    const result = this.#raft.propose(data);
    if (result.kind !== "refused") return;
    this.#proposals.drop(number);
    this.#failProposal(proposal, result.reason === "tooMany" ? TOO_MANY : TIMED_OUT);
  }

  readIndex(client: Client, then: () => void): void {
    this.#addRead({ client, then, startMs: this.monoMs, isHealth: false });
  }

  /** One turn of the clock. */
  tick(): void {
    this.#raft.tick();
    for (const proposal of this.#proposals.takeOlderThan(this.monoMs - this.#timeoutMs)) {
      this.#failProposal(proposal, TIMED_OUT);
    }
    for (const [context, read] of this.#reads) {
      const patienceMs = read.isHealth ? HEALTH_MS : this.#timeoutMs;
      if (read.startMs > this.monoMs - patienceMs) continue;
      this.#reads.delete(context);
      this.#failRead(read);
    }
    this.#sync();
    const unproposed = this.#unproposed;
    if (unproposed === undefined || this.#raft.lead === NONE || this.#blockedBy !== "") return;
    this.#unproposed = undefined;
    this.#proposeOwn(unproposed);
  }

  /** Jobs up to this one are on the disk. */
  durable(job: number): void {
    this.#raft.durable(job);
  }

  /** @param why the log takes nothing; "" when it does again */
  block(why: string): void {
    this.#blockedBy = why;
  }

  /** The log takes nothing until the member is started again. */
  fail(why: string): void {
    this.#blockedBy = why;
    for (const proposal of this.#proposals.takeOlderThan(Number.POSITIVE_INFINITY)) {
      this.#failProposal(proposal, why);
    }
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
    this.#raft.compact(meta.index - CATCH_UP_ENTRIES);
    writeNumbers(this.#ports.append, AppendType.release, oldestIndex);
    this.#ports.log.info({ index: meta.index, term: meta.term }, "saved snapshot");
  }

  /** Ends everything that waits: watches in the middle, writes and reads with an error. */
  stop(): void {
    this.#keys.cutWatches();
    for (const proposal of this.#proposals.takeOlderThan(Number.POSITIVE_INFINITY)) {
      this.#failProposal(proposal, STOPPED);
    }
    for (const read of this.#reads.values()) this.#failRead(read);
    this.#reads.clear();
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

  #startRaft(recovery: Recovery): Raft {
    const { snapshot, hardState, entries } = recovery;
    const isNew = snapshot.index === 0 && hardState.term === 0 && entries.length === 0;
    const restored = isNew
      ? this.#bootstrap()
      : { snapshot, hardState, entries, applied: snapshot.index };
    const { heartbeatMs, electionMs, preVote } = this.#config;
    return new Raft({
      id: this.#id,
      electionTicks: Math.round(electionMs / heartbeatMs),
      heartbeatTicks: 1,
      preVote,
      checkQuorum: true,
      random: (below) => randomInt(below),
      restored,
    });
  }

  /** A founder's first start: the membership is the beginning of its log. */
  #bootstrap(): ReturnType<typeof bootstrap> {
    const { initialAdvertisePeerUrls: peerUrls } = this.#config;
    const context = encodeConfChange({ kind: "add", id: this.#id, peerUrls });
    const restored = bootstrap([{ id: this.#id, context }]);
    for (const entry of restored.entries) writeEntry(this.#ports.append, AppendType.entry, entry);
    writeHardState(this.#ports.append, AppendType.hardState, restored.hardState);
    this.#ports.log.info(
      { memberId: formatId(this.#id), clusterId: formatId(this.#clusterId) },
      "starting a new member",
    );
    return restored;
  }

  #carryOutAll(): void {
    for (let ready = this.#raft.ready(); ready !== undefined; ready = this.#raft.ready()) {
      this.#carryOut(ready);
    }
  }

  #carryOut(ready: Ready): void {
    const { append, committed, readStates, softState } = ready;
    if (append !== undefined) {
      for (const entry of append.entries) writeEntry(this.#ports.append, AppendType.entry, entry);
      const { hardState } = append;
      if (hardState !== undefined) {
        writeHardState(this.#ports.append, AppendType.hardState, hardState);
      }
      writeNumbers(this.#ports.append, AppendType.endJob, append.job);
    }
    if (committed.length > 0) this.#applyAll(committed);
    for (const { ctx } of readStates) {
      // Every index a read may be given is committed, and committed entries are applied above.
      const read = this.#reads.get(ctx);
      this.#reads.delete(ctx);
      read?.then();
    }
    if (softState !== undefined) this.#onSoftState();
  }

  #applyAll(entries: readonly Entry[]): void {
    const startMs = performance.now();
    for (const entry of entries) {
      if (entry.type === EntryType.confChange) this.#applyConfChange(entry);
      else if (entry.data.length > 0) this.#applyCommand(entry);
      this.#applied = entry.index;
      this.#appliedTerm = entry.term;
      if (entry.index % PUBLISH_ANSWERS === 0) this.#port.publish();
    }
    this.#raft.applied(this.#applied);
    const { metrics } = this.#ports;
    metrics.observe(APPLY_SECONDS, (performance.now() - startMs) / 1000);
    metrics.observe(APPLY_ENTRIES, entries.length);
    metrics.set(COMMITTED, this.#raft.commit);
    metrics.set(APPLIED, this.#applied);
    metrics.set(PENDING, this.#proposals.size);
  }

  #applyCommand(entry: Entry): void {
    const { command, proposal } = this.#proposals.take(entry.data);
    if (!this.#membership.mayApply(command)) return;
    const result = this.#store.apply(command);
    this.#followMembership(result);
    if (proposal !== undefined) {
      const seconds = Math.max(0, this.monoMs - proposal.startMs) / 1000;
      this.#ports.metrics.observe(PROPOSAL_SECONDS, seconds);
      if (proposal.client !== undefined && result !== undefined) {
        this.#keys.answerWrite(proposal.client, result, proposal.noValueOnSuccess, seconds);
      }
    }
    this.#keys.deliver(this.#ports.frontends);
    if (proposal !== undefined && proposal.client === undefined) this.#onOwnCommand(command);
  }

  #followMembership(result: Event | Refusal | undefined): void {
    if (result instanceof Event && Membership.concerns(result.node.path)) {
      this.#membership.apply(result);
    }
  }

  #applyConfChange(entry: Entry): void {
    const change = decodeRaftChange(entry.data);
    const content = decodeConfChange(change.context);
    this.#countMembershipReads();
    if (judgeConfChange(content, this.#membership) !== "ok") return;
    this.#raft.applyConfChange(change);
    for (const command of confChangeCommands(content, 0)) {
      this.#followMembership(this.#store.apply(command));
    }
    this.#keys.deliver(this.#ports.frontends);
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
    if (lead === this.#lastLeader) return;
    this.#lastLeader = lead;
    this.#leaderSinceNs = BigInt(Math.floor(this.nowMs)) * 1_000_000n;
    if (lead === NONE) return;
    metrics.add(LEADER_CHANGES, 1);
    log.info({ leader: formatId(lead), term }, `elected leader ${formatId(lead)} at term ${term}`);
    if (!this.#isPublished) this.#publish();
  }

  /** Tells the cluster this member's name and client URLs. */
  #publish(): void {
    const { name, advertiseClientUrls } = this.#config;
    this.#proposeOwn(publishAttributesCommand(this.#id, name, advertiseClientUrls, this.nowMs));
  }

  #proposeOwn(command: Command): void {
    const startMs = this.monoMs;
    this.propose({ command, client: undefined, noValueOnSuccess: false, startMs });
  }

  /** The steps of a start follow one another: attributes, cluster version, ready. */
  #onOwnCommand(command: Command): void {
    if (command.op === CommandOp.sync) return;
    const { name, advertiseClientUrls } = this.#config;
    const { log } = this.#ports;
    if (!this.#isPublished) {
      this.#isPublished = true;
      log.info(
        `published {Name:${name} ClientURLs:[${advertiseClientUrls.join(" ")}]} to cluster ${formatId(this.#clusterId)}`,
      );
      if (this.#membership.version === "" && this.#raft.isLeader) {
        this.#proposeOwn(setClusterVersionCommand(COMPAT_CLUSTER_VERSION, this.nowMs));
        return;
      }
    }
    if (this.#isReady || this.#membership.version === "") return;
    this.#isReady = true;
    const minor = this.#membership.version.split(".").slice(0, 2).join(".");
    log.info(`enabled capabilities for version ${minor}`);
    this.#onReady();
  }

  /** Only the leader's clock lets nodes expire. */
  #sync(): void {
    if (this.monoMs < this.#nextSyncMs) return;
    this.#nextSyncMs = this.monoMs + SYNC_MS;
    const isDue = this.#store.expiringNodes > 0 && this.#raft.isLeader && this.#blockedBy === "";
    if (isDue) this.#proposeOwn(syncCommand(this.nowMs));
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
    const context = ++this.#readContext;
    if (!this.#raft.readIndex(context)) {
      if (read.isHealth) this.#failRead(read);
      else this.#refuse(read.client, TOO_MANY);
      return;
    }
    this.#reads.set(context, read);
  }

  #failRead(read: WaitingRead): void {
    if (!read.isHealth) {
      this.#refuse(read.client, TIMED_OUT);
      return;
    }
    this.#ports.metrics.add(HEALTH_FAILURES, 1);
    this.#port.answerWhole(read.client, healthAnswer(false));
  }

  #failProposal(proposal: Proposal, why: string): void {
    this.#ports.metrics.add(FAILED, 1);
    if (proposal.client !== undefined) this.#refuse(proposal.client, why);
    else if (proposal.command.op !== CommandOp.sync) this.#unproposed = proposal.command;
  }

  #refuse(client: Client, why: string): void {
    this.#keys.refuse(client, new Refusal(ErrorCode.raftInternal, why, 0));
  }

  #handleOther(client: Client, request: ApiRequest, path: string): void {
    const answer = this.#otherAnswer(request, path);
    if (answer !== undefined) {
      this.#port.answerWhole(client, answer);
      return;
    }
    const { metrics } = this.#ports;
    const then = () => {
      if (this.#blockedBy === "") this.#store.stats.add(Stat.getsSuccess); // etcd reads the root.
      metrics.add(this.#blockedBy === "" ? HEALTH_SUCCESS : HEALTH_FAILURES, 1);
      this.#port.answerWhole(client, healthAnswer(this.#blockedBy === ""));
    };
    this.#addRead({ client, then, startMs: this.monoMs, isHealth: true });
  }

  /** @returns undefined for a health check, which reads first */
  #otherAnswer(request: ApiRequest, path: string) {
    if (path === "/v2/members" || path.startsWith("/v2/members/")) return this.#members(request);
    switch (path) {
      case "/health":
        return refuseHealthMethod(request);
      case "/version":
        return handleVersion(request, this.#membership.version);
      case "/v2/machines":
        return handleMachines(request, this.#membership);
      case "/v2/stats/self":
        return this.#selfStats(request);
      case "/v2/stats/leader":
        return handleLeaderStats(
          request,
          this.#raft.lead,
          this.#raft.isLeader ? new Map() : undefined,
        );
      case "/v2/stats/store":
        return handleStoreStats(request, {
          ...(Object.fromEntries(
            STAT_NAMES.map((name) => [name, this.#store.stats.get(name)]),
          ) as Record<(typeof STAT_NAMES)[number], number>),
          watchers: this.#store.hub.count,
        });
      default:
        return NOT_FOUND;
    }
  }

  #members(request: ApiRequest) {
    // As under /v2/keys: the switch of the auth system is looked up, and not found.
    if (writesMembers(request.method)) this.#store.stats.add(Stat.getsFail);
    const outcome = handleMembers(request, {
      membership: this.#membership,
      leaderId: this.#raft.lead,
      unixSeconds: Math.floor(this.nowMs / 1000),
      sha1: (bytes) => createHash("sha1").update(bytes).digest(),
      connectivity: this.#config.strictReconfigCheck
        ? { activeMembers: 1, isConnected: (id) => id === this.#id }
        : undefined,
    });
    // Members other than this one cannot be reached yet: a change would cost the cluster its quorum.
    return outcome.kind === "answer" ? outcome.answer : internalError();
  }

  #selfStats(request: ApiRequest) {
    const noRate = { perSecond: 0, bytesPerSecond: 0 };
    return handleSelfStats(request, {
      name: this.#config.name,
      id: this.#id,
      state: this.#raft.isLeader ? "StateLeader" : "StateFollower",
      startTimeNs: this.#startTimeNs,
      leaderId: this.#raft.lead,
      leaderStartTimeNs: this.#leaderSinceNs,
      nowNs: BigInt(Math.floor(this.nowMs)) * 1_000_000n,
      recvAppendRequests: 0,
      recvRate: noRate,
      sendAppendRequests: 0,
      sendRate: noRate,
    });
  }
}

/** The membership as a snapshot's metadata; ids as text, as JSON has no 64-bit numbers. */
function encodeConf({ voters, learners }: ConfState): Buffer {
  const content = { voters: voters.map(formatId), learners: learners.map(formatId) };
  return Buffer.from(JSON.stringify(content));
}

/** @throws SyntaxError for bytes that encodeConf did not make */
export function decodeConf(bytes: Buffer): ConfState {
  const { voters, learners } = JSON.parse(bytes.toString()) as Record<string, string[]>;
  const ids = (texts: readonly string[] = []) => texts.map((id) => BigInt(`0x${id}`));
  return { voters: ids(voters), learners: ids(learners) };
}

function syncCommand(timeMs: number): Command {
  return {
    op: CommandOp.sync,
    path: "",
    value: "",
    isDirectory: false,
    isRecursive: false,
    isRefresh: false,
    expirationMs: PERMANENT,
    prevValue: "",
    prevIndex: 0,
    timeMs,
  };
}
