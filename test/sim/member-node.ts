import type { StartPlan } from "#ringd/bootstrap/start-plan.js";
import type { Config } from "#ringd/config/config.js";
import { assert, unreachable } from "#ringd/lib/assert.js";
import type { Logger } from "#ringd/log/logger.js";
import { type MemberLimits, memberLimits } from "#ringd/member/limits.js";
import { CoreLoop } from "#ringd/member/loop.js";
import type { RecoveredMember } from "#ringd/member/raft-start.js";
import { writeBytes } from "#ringd/messages/log.js";
import { writeNumbers } from "#ringd/messages/numbers.js";
import { InboxType, OutboxType, readMembers, writePeerEvent } from "#ringd/messages/peers.js";
import type { SnapshotJobHead } from "#ringd/messages/pool.js";
import {
  RequestType,
  ResponseRecord,
  ResponseType,
  readChunk,
  writeRequest,
  writeRequestId,
} from "#ringd/messages/requests.js";
import { CORE_PART, createTopology, type Topology, WAL_PART } from "#ringd/messages/topology.js";
import { MetricCells } from "#ringd/metrics/cells.js";
import { NO_LIMITS } from "#ringd/process/heap.js";
import type { Message } from "#ringd/raft/message.js";
import { decodeMessage } from "#ringd/raft/message-codec.js";
import { RAFT_LIMITS } from "#ringd/raft/options.js";
import type { Raft } from "#ringd/raft/raft.js";
import { Bell } from "#ringd/ring/bell.js";
import { Inlet, Outlet } from "#ringd/ring/fragments.js";
import type { RecordCursor } from "#ringd/ring/record-cursor.js";
import { poisonConsumed, RingReader, RingWriter, ringDepthBytes } from "#ringd/ring/ring.js";
import { snapshotName } from "#ringd/snap/format.js";
import type { SnapshotSource } from "#ringd/snap/source.js";
import { DiskError, LogFailedError, LogFullError } from "#ringd/storage/errors.js";
import type { Store } from "#ringd/store/store.js";
import { HashLoop } from "#ringd/thread/hash-worker.js";
import { PoolLoop, type SnapshotSink } from "#ringd/thread/pool-worker.js";
import type { Method } from "#ringd/v2/request.js";
import type { LogPosition } from "#ringd/wal/batch.js";
import { WalLoop } from "#ringd/wal/loop.js";
import { holdsRecord, parseSegmentName } from "#ringd/wal/segment.js";
import type { Wal } from "#ringd/wal/wal.js";
import { Prng } from "../support/prng.js";
import { PowerLost, SimDisk } from "../wal/sim-disk.js";
import type { MemberFaults } from "./member-faults.js";
import { SimSnapshots, type SnapshotFile } from "./member-snapshots.js";
import { startMember } from "./member-start.js";
import { SimThread } from "./member-thread.js";
import { SimDisk as DurableLog } from "./raft-disk.js";

const BATCH_RECORDS = 64;
const HEAP_BYTES = 2 ** 30;
/**
 * More than a member ever has. What is drawn for a start is its own, so that a run stays as it was.
 */
const STARTS_PER_SEED = 10_000;
const BLANK = {
  hardState: { term: 0, vote: 0n, commit: 0 },
  snapshot: { index: 0, term: 0, conf: { voters: [], learners: [] } },
  entries: [],
  applied: 0,
};

/** Handles messages from a member's core, like its peer thread; implemented by the network. */
export interface PeerPort {
  send(from: SimMember, message: Message, bytes: Uint8Array): void;
}

/** A member that has replayed its disk, and does not serve yet. */
export interface Recovered {
  readonly topology: Topology;
  /** The wal thread's end. */
  readonly durable: Outlet;
  readonly wal: Wal;
  readonly found: RecoveredMember;
}

/** A member's environment. */
export interface MemberWorld {
  readonly seed: number;
  /** No more faults. */
  readonly isHealed: boolean;
  readonly prng: Prng;
  readonly faults: MemberFaults;
  readonly peers: PeerPort;
  readonly log: Logger;
  /** Monotonic clock, milliseconds. */
  readonly monoMs: () => number;
  /** Called with a starting member's recovered log, before it is used. */
  readonly onRecovered: (member: SimMember, found: RecoveredMember) => void;
}

/** A client's exchange with a frontend. Calls come in the order of the ring. */
export interface Exchange {
  answer(status: number, etcdIndex: number, body: string, isOpen: boolean): void;
  chunk(body: string, isEnd: boolean): void;
  /** The connection closed, the response incomplete. */
  cut(): void;
}

/** Records for the core from other members. */
export type Arrival =
  | { readonly type: "message"; readonly bytes: Uint8Array }
  | { readonly type: "snapshot"; readonly bytes: Uint8Array; readonly file: SnapshotFile }
  | { readonly type: "event"; readonly event: number; readonly id: bigint; readonly value: number };

/**
 * One member across its incarnations: its disk, and the current incarnation's threads, if it runs.
 */
export class SimMember {
  readonly id: bigint;
  readonly name: string;
  /** A restart may change to a newer build. */
  config: Config;
  readonly plan: StartPlan;
  readonly world: MemberWorld;
  readonly disk = new SimDisk();
  readonly snapshots = new SimSnapshots();
  durableLog = new DurableLog(BLANK);
  life: Life | undefined;
  store: Store | undefined;
  applied = 0;
  /** It starts with a log that is not on its disk yet. */
  isFounding = false;
  /** The applied index at which its store was last digested; -1 before the first. */
  digestedAt = -1;
  wallOffsetMs = 0;
  pausedUntilMs = 0;
  downUntilMs = 0;
  /** Power fails at the disk step that counts this down to 0. */
  stepsToPowerCut = Number.POSITIVE_INFINITY;
  syncFails = false;
  /** The next snapshot from another member cannot be read, or not to its end. */
  readFails = false;
  powerLost = false;
  starts = 0;

  constructor(id: bigint, name: string, config: Config, plan: StartPlan, world: MemberWorld) {
    this.id = id;
    this.name = name;
    this.config = config;
    this.plan = plan;
    this.world = world;
  }

  get wallMs(): number {
    return Math.floor(this.world.monoMs() + this.wallOffsetMs) + 1_700_000_000_000;
  }

  /** @returns false if power or disk failed again during the start */
  start(): boolean {
    assert(this.life === undefined, "a member runs once");
    this.disk.before = (op) => {
      if (op.op === "close") return; // Closing writes nothing.
      if (this.stepsToPowerCut-- <= 0) {
        this.powerLost = true;
        throw new PowerLost();
      }
      if (this.syncFails && (op.op === "datasync" || op.op === "syncDirectory")) {
        this.syncFails = false; // The unsynced data stays readable, but is not on disk.
        throw new DiskError(op.op, op.op === "datasync" ? op.file : "", "EIO");
      }
    };
    this.starts++;
    const prng = new Prng(this.world.seed * STARTS_PER_SEED + this.starts);
    this.#drawFault(prng);
    try {
      const plan = this.#hasBegun() ? undefined : this.plan;
      const recovered = this.recover(prng);
      const { store, snapshot } = recovered.found;
      this.store = store;
      this.applied = snapshot.index;
      this.life = new Life(this, plan, recovered);
    } catch (error) {
      // A disk failure ends the start; the operator retries.
      const isDisk = error instanceof LogFailedError || error instanceof LogFullError;
      const isRead = error instanceof DiskError && error.call === "read";
      if (!this.powerLost && !isDisk && !isRead) throw error;
      this.crash(this.powerLost);
      return false;
    }
    return true;
  }

  /** A start may lose power, or fail to read the snapshot to its end. */
  #drawFault(prng: Prng): void {
    const { isHealed, faults } = this.world;
    const { startFaultOneIn, powerCutOneIn, failedReadMs } = faults;
    if (isHealed || startFaultOneIn === 0 || !prng.oneIn(startFaultOneIn)) return;
    if (powerCutOneIn > 0 && prng.oneIn(2)) this.stepsToPowerCut = prng.below(8);
    else if (failedReadMs > 0) this.snapshots.failsAfter = prng.below(4);
  }

  /** As in wal/data-dir.ts: if so, no start plan is made. */
  #hasBegun(): boolean {
    const segments = this.disk.list().filter((name) => parseSegmentName(name) !== undefined);
    const [first] = segments;
    if (first === undefined || segments.length > 1) return first !== undefined;
    return holdsRecord(this.disk.read(first));
  }

  /** The core made this log from the plan. */
  found(raft: Raft): void {
    this.isFounding = true;
    const { term, commit } = raft;
    const entries = Array.from({ length: commit }, (_, i) => raft.entryOf(i + 1));
    this.durableLog = new DurableLog({ ...BLANK, hardState: { term, vote: 0n, commit }, entries });
  }

  /** Uses the threads' code, see member-start.ts. */
  recover(startPrng: Prng): Recovered {
    const { config, plan, world } = this;
    const { prng, log } = world;
    const { ringBytes, segmentBytes, zeroAheadBytes } = world.faults;
    const topology = createTopology(config, {
      requests: ringBytes,
      responses: ringBytes,
      append: ringBytes,
      durable: ringBytes,
      jobs: ringBytes,
      outcomes: ringBytes,
      peer: ringBytes,
    });
    poisonRings(topology);
    const durable = new Outlet(new RingWriter(topology.durable, new Bell(topology.coreBell)));
    const { wal, found } = startMember({
      ...{ name: this.name, config, plan: this.#hasBegun() ? undefined : plan, log },
      ...{ disk: this.disk, snapshots: this.snapshots, topology, durable },
      packEntries: world.faults.raftLimits.packEntries ?? RAFT_LIMITS.packEntries,
      walOptions: { segmentBytes, zeroAheadBytes, salt: () => prng.uint32() },
      saveIdentity: ({ memberId, clusterId }) => {
        assert(memberId === plan.memberId, "a directory keeps its member");
        assert(clusterId === plan.clusterId, "a member keeps its cluster");
      },
      prng: startPrng,
    });
    world.onRecovered(this, found);
    return { topology, durable, wal, found };
  }

  /** Opens a snapshot from another member. */
  openReceived(position: LogPosition): SnapshotSource {
    if (this.readFails) this.snapshots.failsAfter = this.world.prng.below(4);
    this.readFails = false;
    return this.snapshots.open(snapshotName(position));
  }

  /** The process dies; in a power cut, unsynced data may be lost or torn. */
  crash(isPowerCut: boolean): void {
    const { life } = this;
    this.life = undefined;
    this.store = undefined;
    this.powerLost = false;
    this.stepsToPowerCut = Number.POSITIVE_INFINITY;
    this.syncFails = false;
    this.readFails = false;
    this.snapshots.failsAfter = Number.POSITIVE_INFINITY;
    life?.end();
    // The bootstrap entries are written with the first job.
    if (this.isFounding) this.durableLog = new DurableLog(BLANK);
    if (isPowerCut) this.disk.powerCut(this.world.prng);
    this.disk.before = () => {};
  }
}

interface Frontend {
  readonly requests: Outlet;
  readonly answers: Inlet;
  readonly open: Map<number, Exchange>;
  lastRequestId: number;
}

/** Poisons the rings, so that views kept past their callback are detected. */
function poisonRings(topology: Topology): void {
  const { append, durable, jobs, outcomes, outbox, inbox, frontends } = topology;
  const rings = [append, durable, jobs, outcomes, outbox, inbox];
  for (const { requests, responses } of frontends) rings.push(requests, responses);
  for (const ring of rings) poisonConsumed(ring);
}

function turnFrontend({ answers, requests }: Frontend): boolean {
  const taken = answers.drain(BATCH_RECORDS);
  requests.publish();
  return taken > 0;
}

/** Tight ones until all is healed: the watchers are to see everything then, all at a time. */
function simLimits(world: MemberWorld): MemberLimits {
  const usual = memberLimits(HEAP_BYTES);
  const tight = { ...usual, ...world.faults.memberLimits };
  return new Proxy(tight, {
    get: (_, name) => (world.isHealed ? usual : tight)[name as keyof MemberLimits],
  });
}

/** One life of a member: its threads, and the rings between them. */
export class Life {
  readonly member: SimMember;
  readonly loop: CoreLoop;
  /** Set by the probe at the core's first ready. */
  raft: Raft | undefined;
  readonly wal: Wal;
  readonly walLoop: WalLoop;
  readonly threads: readonly SimThread[];
  readonly arrivals: Arrival[] = [];
  readonly upPeers = new Set<bigint>();
  /** The members that the core told the peer thread to connect to. */
  roster: ReadonlySet<bigint> = new Set();
  removed: ReadonlySet<bigint> = new Set();
  /** Another member rejected its stream as it was removed. */
  isToldRemoved = false;
  readonly #topology: Topology;
  readonly #outbox: Inlet;
  readonly #inbox: Outlet;
  /** The snapshot being written. */
  #snapshotJob: SnapshotJobHead | undefined;
  readonly #frontends: readonly Frontend[];
  readonly #pool: PoolLoop;
  #finishedJobs = 0;
  #isFinishing = false;
  #isFlushed = false;
  isReady = false;
  /** Lines of the audit log. */
  readonly audit: string[] = [];
  readonly #hashes: HashLoop;

  /** @param plan undefined if the log has the identity */
  constructor(member: SimMember, plan: StartPlan | undefined, recovered: Recovered) {
    const { world, config } = member;
    const { faults, log, monoMs } = world;
    const { topology, durable, wal, found } = recovered;
    this.member = member;
    member.life = this;
    this.wal = wal;
    this.#topology = topology;
    const coreBell = new Bell(topology.coreBell);
    this.walLoop = new WalLoop({
      wal,
      append: new RingReader(topology.append, coreBell),
      durable,
      openSnapshot: (position) => member.openReceived(position),
      maxWals: config.maxWals,
      metrics: new MetricCells(topology.metrics, WAL_PART),
      monoMs,
      log,
    });
    this.#inbox = new Outlet(new RingWriter(topology.inbox, coreBell));
    this.#outbox = Inlet.withCursor<OutboxType>(
      new RingReader(topology.outbox, coreBell),
      (record) => this.#onOutbox(record),
    );
    this.#frontends = topology.frontends.map((memory) => this.#frontend(memory, coreBell));
    this.#pool = new PoolLoop({
      jobs: new RingReader(topology.jobs, coreBell),
      outcomes: new RingWriter(topology.outcomes, coreBell),
      beginSnapshot: (head) => this.#beginSnapshot(head),
      monoMs,
    });
    this.#hashes = new HashLoop(
      new RingReader(topology.hashJobs, coreBell),
      new RingWriter(topology.hashOutcomes, coreBell),
      config.bcryptCost,
    );
    this.loop = new CoreLoop(config, topology, plan, found, {
      wallMs: () => member.wallMs,
      monoMs,
      random: (below) => world.prng.below(below),
      log,
      limits: faults.storeLimits ?? NO_LIMITS,
      raftLimits: { ...RAFT_LIMITS, ...faults.raftLimits },
      memberLimits: simLimits(world),
      onReady: () => {
        this.isReady = true;
      },
    });
    this.threads = this.#makeThreads();
  }

  #frontend(memory: Topology["frontends"][number], coreBell: Bell): Frontend {
    const answer = new ResponseRecord();
    const open = new Map<number, Exchange>();
    const onAnswer = (record: RecordCursor) => {
      answer.read(record);
      const { requestId, bodyAt, bodyBytes, isOpen, isHeadOnly } = answer;
      const exchange = open.get(requestId);
      if (!isOpen) open.delete(requestId);
      const body = isHeadOnly ? "" : record.text(bodyAt, bodyAt + bodyBytes);
      exchange?.answer(answer.status, answer.etcdIndex, body, isOpen);
    };
    const onChunk = (record: RecordCursor) => {
      const { requestIds, isEnd, body } = readChunk(record);
      const text = Buffer.from(body).toString("latin1");
      for (const id of requestIds) {
        const exchange = open.get(id);
        if (isEnd) open.delete(id);
        exchange?.chunk(text, isEnd);
      }
    };
    const onCut = (record: RecordCursor) => {
      for (const id of readChunk(record).requestIds) {
        const exchange = open.get(id);
        open.delete(id);
        exchange?.cut();
      }
    };
    const answers = Inlet.withCursor<ResponseType>(
      new RingReader(memory.responses, coreBell),
      (record) => {
        const { type } = record;
        switch (type) {
          case ResponseType.answer:
            return onAnswer(record);
          case ResponseType.chunk:
            return onChunk(record);
          case ResponseType.cut:
            return onCut(record);
          case ResponseType.audit:
            this.audit.push(record.utf8(0));
            return;
          default:
            unreachable(type);
        }
      },
    );
    const requests = new Outlet(new RingWriter(memory.requests, coreBell));
    return { requests, answers, open, lastRequestId: 0 };
  }

  /** The core's metrics. */
  /** Bytes of responses that a frontend has not taken, as far as they fit into its ring. */
  unreadResponseBytes(frontend: number): number {
    const memory = this.#topology.frontends[frontend];
    assert(memory !== undefined, "there is such a frontend");
    return ringDepthBytes(memory.responses);
  }

  get metrics(): MetricCells {
    return new MetricCells(this.#topology.metrics, CORE_PART);
  }

  get isStopped(): boolean {
    return this.#isFlushed && this.walLoop.isStopped;
  }

  /** @returns aborts the request */
  request(
    frontend: number,
    method: Method,
    path: string,
    query: string,
    body: { readonly type: string; readonly text: string } | undefined,
    exchange: Exchange,
    credentials = { authorization: "", commonName: "" },
  ): () => void {
    const port = this.#frontends[frontend % this.#frontends.length] as Frontend;
    const id = ++port.lastRequestId;
    const bytes = body === undefined ? undefined : Buffer.from(body.text, "latin1");
    port.open.set(id, exchange);
    const contentType = body?.type ?? "";
    const request = { method, path, query, contentType, body: bytes, isBodyTooLarge: false };
    const client = { ...credentials, remote: "" };
    writeRequest(port.requests, id, { ...request, ...client });
    port.requests.publish();
    return () => {
      if (!port.open.delete(id) || this.member.life !== this) return;
      writeRequestId(port.requests, RequestType.abort, id);
      port.requests.publish();
    };
  }

  /** SIGTERM. */
  stop(): void {
    const port = this.#frontends[0] as Frontend;
    writeNumbers(port.requests, RequestType.stop);
    port.requests.publish();
  }

  #makeThreads(): readonly SimThread[] {
    const { member, loop, walLoop } = this;
    const { name } = member;
    const { coreBell, walBell, peerBell, poolBell, hashBell, frontends } = this.#topology;
    const never = () => Number.POSITIVE_INFINITY;
    return [
      new SimThread(coreBell, {
        name: `${name} core`,
        turn: () => this.#turnCore(),
        hasWork: () => (this.#isFinishing ? loop.canFlush() : loop.hasWork()),
        msToNext: () => (this.#isFinishing ? 0 : loop.msToNextTurn()),
      }),
      new SimThread(walBell, {
        name: `${name} wal`,
        turn: () => this.#turnWal(),
        hasWork: () => !walLoop.isStopped && walLoop.hasWork(),
        msToNext: () => walLoop.msToNext(),
      }),
      new SimThread(peerBell, {
        name: `${name} peer`,
        turn: () => this.#turnPeer(),
        hasWork: () => this.#outbox.hasWork() || this.#inbox.canMove(),
        // Sockets wake it, too.
        msToNext: () => (this.arrivals.length > 0 ? 0 : Number.POSITIVE_INFINITY),
      }),
      new SimThread(poolBell, {
        name: `${name} pool`,
        turn: () => this.#pool.turn(),
        hasWork: () => this.#pool.hasWork(),
        msToNext: never,
      }),
      ...this.#frontends.map(
        (port, i) =>
          new SimThread((frontends[i] as Topology["frontends"][number]).bell, {
            name: `${name} frontend ${i}`,
            turn: () => turnFrontend(port),
            hasWork: () => port.answers.hasWork() || port.requests.canMove(),
            msToNext: never,
          }),
      ),
      new SimThread(hashBell, {
        name: `${name} hashes`,
        turn: () => this.#hashes.turn(),
        hasWork: () => this.#hashes.hasWork(),
        msToNext: never,
      }),
    ];
  }

  #turnCore(): boolean {
    if (!this.#isFinishing) {
      const isBusy = this.loop.turn();
      if (!this.loop.isStopped) return isBusy;
      this.loop.finish();
      this.#isFinishing = true;
    }
    this.#isFlushed ||= this.loop.flush();
    return false;
  }

  #turnWal(): boolean {
    const { member, walLoop, wal } = this;
    let isBusy = false;
    try {
      if (!walLoop.isStopped) isBusy = walLoop.turn();
    } catch (error) {
      if (!member.powerLost) throw error;
    }
    if (member.powerLost || wal.hasUnsynced || !member.disk.isDurable) return isBusy;
    // The disk reports that nothing can be lost, so all jobs are durable.
    const count = walLoop.job - this.#finishedJobs;
    if (count > 0) {
      member.durableLog.finish(count);
      member.isFounding = false;
      this.#finishedJobs = walLoop.job;
    }
    return isBusy;
  }

  #turnPeer(): boolean {
    const arrivals = this.arrivals.splice(0);
    for (const arrival of arrivals) this.#takeIn(arrival);
    const taken = this.#outbox.drain(BATCH_RECORDS);
    this.#inbox.publish();
    return taken > 0 || arrivals.length > 0;
  }

  #takeIn(arrival: Arrival): void {
    switch (arrival.type) {
      case "message":
        writeBytes(this.#inbox, InboxType.message, arrival.bytes);
        return;
      case "snapshot":
        this.member.snapshots.add(arrival.file);
        this.member.snapshots.purge(this.member.config.maxSnapshots);
        writeBytes(this.#inbox, InboxType.snapshotReceived, arrival.bytes);
        return;
      case "event":
        writePeerEvent(this.#inbox, arrival.event, arrival.id, arrival.value);
        return;
    }
  }

  #onOutbox(record: RecordCursor<OutboxType>): void {
    const { type } = record;
    switch (type) {
      case OutboxType.members: {
        const { members, removed } = readMembers(record);
        this.roster = new Set(members.map(({ id }) => BigInt(`0x${id}`)));
        this.removed = new Set(removed.map((id) => BigInt(`0x${id}`)));
        return;
      }
      case OutboxType.message: {
        const bytes = Uint8Array.from(record.bytes(0));
        this.member.world.peers.send(this.member, decodeMessage(bytes), bytes);
        return;
      }
      case OutboxType.stop:
        return;
      default:
        unreachable(type);
    }
  }

  /** Delivers the last responses before the process ends. */
  drainAnswers(): void {
    for (const port of this.#frontends) turnFrontend(port);
  }

  #beginSnapshot(head: SnapshotJobHead): SnapshotSink {
    const { disk, snapshots, config } = this.member;
    const blocks: Uint8Array[] = [];
    this.#snapshotJob = head;
    return {
      block: (bytes) => void blocks.push(Uint8Array.from(bytes)),
      finish: () => {
        this.#snapshotJob = undefined;
        if (disk.usedBytes >= disk.capacityBytes) {
          return { kind: "failed", isForWant: true, why: "ENOSPC on write" };
        }
        snapshots.add({ ...head, blocks });
        const oldestIndex = snapshots.purge(config.maxSnapshots);
        return { kind: "saved", oldestIndex, flushSeconds: [], unremoved: "" };
      },
    };
  }

  /** The process has died, and all connections with it. */
  end(): void {
    if (this.#snapshotJob !== undefined) this.member.snapshots.leave(this.#snapshotJob);
    this.#cutAll();
  }

  #cutAll(): void {
    for (const { open } of this.#frontends) {
      const exchanges = [...open.values()];
      open.clear();
      for (const exchange of exchanges) exchange.cut();
    }
  }
}
