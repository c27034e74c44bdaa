import type { StartPlan } from "#ringd/bootstrap/start-plan.js";
import { decodeSnapshotHead, NO_HEAD } from "#ringd/cluster/snapshot-head.js";
import type { Config } from "#ringd/config/config.js";
import { assert } from "#ringd/lib/assert.js";
import type { Logger } from "#ringd/log/logger.js";
import { CoreLoop } from "#ringd/member/loop.js";
import type { RecoveredMember } from "#ringd/member/raft-start.js";
import { writeBytes } from "#ringd/messages/log.js";
import { readNumber, writeNumbers } from "#ringd/messages/numbers.js";
import { InboxType, OutboxType, type PeerMembers, writePeerEvent } from "#ringd/messages/peers.js";
import { SnapshotType } from "#ringd/messages/pool.js";
import {
  AnswerRecord,
  AnswerType,
  RequestType,
  readChunk,
  writeRequest,
  writeRequestId,
} from "#ringd/messages/requests.js";
import { CORE_PART, createTopology, type Topology, WAL_PART } from "#ringd/messages/topology.js";
import { MetricCells } from "#ringd/metrics/cells.js";
import { NO_LIMITS } from "#ringd/process/heap.js";
import type { Entry, EntryType, SnapshotMeta } from "#ringd/raft/entry.js";
import type { Message } from "#ringd/raft/message.js";
import { decodeMessage } from "#ringd/raft/message-codec.js";
import type { Raft } from "#ringd/raft/raft.js";
import { Bell } from "#ringd/ring/bell.js";
import { Inlet, Outlet } from "#ringd/ring/fragments.js";
import { poisonConsumed, RingReader, RingWriter } from "#ringd/ring/ring.js";
import { DiskError, LogFailedError, LogFullError } from "#ringd/storage/errors.js";
import { SnapshotDecoder } from "#ringd/store/snapshot.js";
import { Store } from "#ringd/store/store.js";
import type { LogPosition } from "#ringd/wal/batch.js";
import { type SnapshotSource, WalLoop } from "#ringd/wal/loop.js";
import { holdsRecord, parseSegmentName } from "#ringd/wal/segment.js";
import { Wal } from "#ringd/wal/wal.js";
import type { Prng } from "../support/prng.js";
import { PowerLost, SimDisk } from "../wal/sim-disk.js";
import type { MemberFaults } from "./member-faults.js";
import { SimSnapshots, type SnapshotFile } from "./member-snapshots.js";
import { SimThread } from "./member-thread.js";
import { SimDisk as DurableLog } from "./raft-disk.js";

const BATCH_RECORDS = 64;
const BLANK = {
  hardState: { term: 0, vote: 0n, commit: 0 },
  snapshot: { index: 0, term: 0, conf: { voters: [], learners: [] } },
  entries: [],
  applied: 0,
};

/** What a member's peer thread does with what the core sends; the network implements it. */
export interface PeerPort {
  send(from: SimMember, message: Message, bytes: Uint8Array): void;
}

/** The rest of the world, as one member sees it. */
export interface MemberWorld {
  readonly prng: Prng;
  readonly faults: MemberFaults;
  readonly peers: PeerPort;
  readonly log: Logger;
  /** The clock that never jumps, milliseconds. */
  readonly monoMs: () => number;
  /** The recovered log of a member that starts, before anything is made of it. */
  readonly onRecovered: (member: SimMember, found: RecoveredMember) => void;
}

/** Someone who asked a frontend. Calls come in the order of the ring. */
export interface Exchange {
  answer(status: number, etcdIndex: number, body: string, isOpen: boolean): void;
  chunk(body: string, isEnd: boolean): void;
  /** The connection ended in the middle. */
  cut(): void;
}

/** For the core, from other members. */
export type Arrival =
  | { readonly type: "message"; readonly bytes: Uint8Array }
  | { readonly type: "snapshot"; readonly bytes: Uint8Array; readonly file: SnapshotFile }
  | { readonly type: "event"; readonly event: number; readonly id: bigint; readonly value: number };

/** One member over all its lives: its disk, and the threads of the life it has, if it runs. */
export class SimMember {
  readonly id: bigint;
  readonly name: string;
  /** A restart may bring a newer build. */
  config: Config;
  readonly plan: StartPlan;
  readonly world: MemberWorld;
  readonly disk = new SimDisk();
  readonly snapshots = new SimSnapshots();
  durableLog = new DurableLog(BLANK);
  life: Life | undefined;
  store: Store | undefined;
  applied = 0;
  /** It begins with a log that is not on its disk yet. */
  isFounding = false;
  /** The applied index its store was last looked at; -1 before the first. */
  digestedAt = -1;
  wallOffsetMs = 0;
  pausedUntilMs = 0;
  downUntilMs = 0;
  /** The power fails at the next step of the disk that counts this down to 0. */
  stepsToPowerCut = Number.POSITIVE_INFINITY;
  syncFails = false;
  /** The next snapshot that came from another member cannot be read, or not to its end. */
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

  /** @returns false if the power or the disk failed again on the way */
  start(): boolean {
    assert(this.life === undefined, "a member runs once");
    this.disk.before = (op) => {
      if (op.op === "close") return; // It has nothing to write.
      if (this.stepsToPowerCut-- <= 0) {
        this.powerLost = true;
        throw new PowerLost();
      }
      if (this.syncFails && (op.op === "datasync" || op.op === "syncDirectory")) {
        this.syncFails = false; // What was to be synced stays readable, and is not on the disk.
        throw new DiskError(op.op, op.op === "datasync" ? op.file : "", "EIO");
      }
    };
    this.starts++;
    try {
      const plan = this.#hasBegun() ? undefined : this.plan;
      const { wal, found } = this.recover();
      this.store = found.store;
      this.applied = found.snapshot.index;
      this.life = new Life(this, plan, wal, found);
    } catch (error) {
      // A disk that fails at a start ends it; the operator tries again.
      const isDisk = error instanceof LogFailedError || error instanceof LogFullError;
      if (!this.powerLost && !isDisk) throw error;
      this.crash(this.powerLost);
      return false;
    }
    return true;
  }

  /** As wal/data-dir.ts finds it: then no plan is made. */
  #hasBegun(): boolean {
    const segments = this.disk.list().filter((name) => parseSegmentName(name) !== undefined);
    const [first] = segments;
    if (first === undefined || segments.length > 1) return first !== undefined;
    return holdsRecord(this.disk.read(first));
  }

  /** The core made this log itself, from the plan. */
  found(raft: Raft): void {
    this.isFounding = true;
    const { term, commit } = raft;
    const entries = Array.from({ length: commit }, (_, i) => raft.entryOf(i + 1));
    this.durableLog = new DurableLog({ ...BLANK, hardState: { term, vote: 0n, commit }, entries });
  }

  /** As the wal thread and the core's start do it. */
  recover(): { wal: Wal; found: RecoveredMember } {
    const { segmentBytes, zeroAheadBytes } = this.world.faults;
    const file = this.snapshots.newest;
    const { wal, recovery } = Wal.open({
      disk: this.disk,
      metadataIfNew: { memberId: this.plan.memberId, clusterId: this.plan.clusterId },
      formatIfNew: this.plan.kind === "join" || this.config.formatLevel === 1 ? 1 : 2,
      ...(file === undefined ? {} : { snapshot: { index: file.index, term: file.term } }),
      segmentBytes,
      zeroAheadBytes,
      salt: () => this.world.prng.uint32(),
    });
    const { metadata, hardState } = recovery;
    const entries = recovery.entries.map(
      ({ index, term, type, data }): Entry => ({
        index,
        term,
        type: type as EntryType,
        data: Uint8Array.from(data),
      }),
    );
    const { formatLevel } = this.config;
    const read = file && {
      ...file,
      head: decodeSnapshotHead(Buffer.from(file.metadata), formatLevel),
    };
    const snapshot: SnapshotMeta =
      read === undefined
        ? BLANK.snapshot
        : { index: read.index, term: read.term, conf: read.head.conf };
    const store = this.#restoreStore(file);
    const head = read?.head ?? NO_HEAD;
    const found = { ...metadata, snapshot, head, store, entries, hardState };
    this.world.onRecovered(this, found);
    return { wal, found };
  }

  #restoreStore(file: SnapshotFile | undefined): Store {
    const options = { historyEventsMax: this.config.eventHistoryMax };
    if (file === undefined) return new Store(options);
    const decoder = new SnapshotDecoder(options);
    for (const block of file.blocks) decoder.push(block);
    return decoder.finish();
  }

  /** A snapshot that came from another member. */
  openReceived(position: LogPosition): SnapshotSource {
    const fails = this.readFails;
    this.readFails = false;
    const blocks = fails ? this.world.prng.below(4) : Number.POSITIVE_INFINITY;
    return this.snapshots.open(position, blocks);
  }

  /** The process dies; with a power cut, what the disk had not synced may be lost or torn. */
  crash(isPowerCut: boolean): void {
    const { life } = this;
    this.life = undefined;
    this.store = undefined;
    this.powerLost = false;
    this.stepsToPowerCut = Number.POSITIVE_INFINITY;
    this.syncFails = false;
    this.readFails = false;
    life?.cutAll();
    // What founders agree on beforehand is written with their first job.
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

interface SnapshotTask {
  readonly term: number;
  readonly index: number;
  readonly metadata: Uint8Array;
  readonly blocks: Uint8Array[];
}

/** A view of a ring that a thread keeps past its callback reads poison. */
function poisonRings(topology: Topology): void {
  const { append, durable, snapshot, outbox, inbox, frontends } = topology;
  const rings = [append, durable, snapshot, outbox, inbox];
  for (const { requests, answers } of frontends) rings.push(requests, answers);
  for (const ring of rings) poisonConsumed(ring);
}

function turnFrontend({ answers, requests }: Frontend): boolean {
  const taken = answers.drain(BATCH_RECORDS);
  requests.publish();
  return taken > 0;
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
  /** Whom the core told the peer thread to talk to, and whom not. */
  roster: ReadonlySet<bigint> = new Set();
  removed: ReadonlySet<bigint> = new Set();
  /** Another member refused its stream for that reason. */
  isToldRemoved = false;
  readonly #topology: Topology;
  readonly #outbox: Inlet;
  readonly #inbox: Outlet;
  readonly #frontends: readonly Frontend[];
  readonly #blocks: Inlet;
  #task: SnapshotTask | undefined;
  /** The pool has not begun with it. */
  #isTaskNew = false;
  #finishedJobs = 0;
  #isFinishing = false;
  #isFlushed = false;
  isReady = false;

  /** @param plan undefined where the log says who the member is */
  constructor(member: SimMember, plan: StartPlan | undefined, wal: Wal, found: RecoveredMember) {
    const { world, config } = member;
    const { faults, log, monoMs } = world;
    const ringBytes = faults.ringBytes;
    this.member = member;
    member.life = this;
    this.wal = wal;
    this.#topology = createTopology(config, {
      requests: ringBytes,
      answers: ringBytes,
      append: ringBytes,
      durable: ringBytes,
      snapshot: ringBytes,
      peer: ringBytes,
    });
    const topology = this.#topology;
    poisonRings(topology);
    const coreBell = new Bell(topology.coreBell);
    this.walLoop = new WalLoop({
      wal,
      append: new RingReader(topology.append, coreBell),
      durable: new Outlet(new RingWriter(topology.durable, coreBell)),
      openSnapshot: (position) => member.openReceived(position),
      maxWals: config.maxWals,
      metrics: new MetricCells(topology.metrics, WAL_PART),
      monoMs,
      log,
    });
    this.#inbox = new Outlet(new RingWriter(topology.inbox, coreBell));
    this.#outbox = new Inlet(
      new RingReader(topology.outbox, coreBell),
      (type, bytes, _view, at, length) =>
        this.#onOutbox(type, Uint8Array.from(bytes.subarray(at, at + length))),
    );
    this.#frontends = topology.frontends.map((memory) => this.#frontend(memory, coreBell));
    this.#blocks = new Inlet(
      new RingReader(topology.snapshot, coreBell),
      (type, bytes, _view, at, length) =>
        this.#onBlock(type, Uint8Array.from(bytes.subarray(at, at + length))),
    );
    this.loop = new CoreLoop(config, topology, plan, found, {
      wallMs: () => member.wallMs,
      monoMs,
      random: (below) => world.prng.below(below),
      log,
      limits: NO_LIMITS,
      onReady: () => {
        this.isReady = true;
      },
    });
    this.threads = this.#makeThreads();
  }

  #frontend(memory: Topology["frontends"][number], coreBell: Bell): Frontend {
    const answer = new AnswerRecord();
    const open = new Map<number, Exchange>();
    const answers = new Inlet(
      new RingReader(memory.answers, coreBell),
      (type, bytes, view, at, length) => {
        if (type === AnswerType.answer) {
          answer.read(bytes, view, at);
          const { requestId, bodyAt, bodyBytes, isOpen } = answer;
          const exchange = open.get(requestId);
          if (!isOpen) open.delete(requestId);
          const body = bytes.latin1Slice(bodyAt, bodyAt + bodyBytes);
          exchange?.answer(answer.status, answer.etcdIndex, body, isOpen);
        } else if (type === AnswerType.startSnapshot) {
          assert(this.#task === undefined, "one snapshot is written at a time");
          this.#isTaskNew = true;
          this.#task = {
            term: readNumber(view, at, 0),
            index: readNumber(view, at, 1),
            metadata: Uint8Array.from(bytes.subarray(at + 16, at + length)),
            blocks: [],
          };
        } else {
          const { requestIds, isEnd, bodyAt, bodyBytes } = readChunk(view, at, length);
          const body = bytes.latin1Slice(bodyAt, bodyAt + bodyBytes);
          for (const id of requestIds) {
            const exchange = open.get(id);
            if (isEnd) open.delete(id);
            if (type === AnswerType.cut) exchange?.cut();
            else exchange?.chunk(body, isEnd);
          }
        }
      },
    );
    const requests = new Outlet(new RingWriter(memory.requests, coreBell));
    return { requests, answers, open, lastRequestId: 0 };
  }

  /** What the core shows. */
  get metrics(): MetricCells {
    return new MetricCells(this.#topology.metrics, CORE_PART);
  }

  get isStopped(): boolean {
    return this.#isFlushed && this.walLoop.isStopped;
  }

  /** @returns a way to give the request up */
  request(
    frontend: number,
    method: Parameters<typeof writeRequest>[2],
    path: string,
    query: string,
    body: { readonly type: string; readonly text: string } | undefined,
    exchange: Exchange,
  ): () => void {
    const port = this.#frontends[frontend % this.#frontends.length] as Frontend;
    const id = ++port.lastRequestId;
    const bytes = body === undefined ? undefined : Buffer.from(body.text, "latin1");
    port.open.set(id, exchange);
    writeRequest(port.requests, id, method, path, query, body?.type ?? "", bytes, false);
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
    const { coreBell, walBell, peerBell, poolBell, frontends } = this.#topology;
    const never = () => Number.POSITIVE_INFINITY;
    return [
      new SimThread(coreBell, {
        name: `${name} core`,
        turn: () => this.#turnCore(),
        hasWork: () => (this.#isFinishing ? loop.canFlush() : loop.hasWork()),
        msToNext: () => (this.#isFinishing ? 0 : loop.msToNextTick()),
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
        turn: () => {
          this.#isTaskNew = false;
          return this.#task !== undefined && this.#blocks.drain(4) > 0;
        },
        hasWork: () => this.#task !== undefined && !this.#isTaskNew && this.#blocks.hasWork(),
        msToNext: () => (this.#isTaskNew ? 0 : Number.POSITIVE_INFINITY),
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
    // The disk itself says that nothing can be lost, so all that came in is durable.
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

  #onOutbox(type: number, bytes: Uint8Array): void {
    if (type === OutboxType.members) {
      const { members, removed } = JSON.parse(Buffer.from(bytes).toString()) as PeerMembers;
      this.roster = new Set(members.map(({ id }) => BigInt(`0x${id}`)));
      this.removed = new Set(removed.map((id) => BigInt(`0x${id}`)));
    } else if (type === OutboxType.message) {
      this.member.world.peers.send(this.member, decodeMessage(bytes), bytes);
    }
  }

  /** The last answers leave before the process ends. */
  drainAnswers(): void {
    for (const port of this.#frontends) turnFrontend(port);
  }

  #onBlock(type: number, block: Uint8Array): void {
    const task = this.#task;
    assert(task !== undefined, "blocks are for a snapshot");
    if (type === SnapshotType.block) {
      task.blocks.push(block);
      return;
    }
    this.#task = undefined;
    const { disk, snapshots, config } = this.member;
    const port = this.#frontends[0] as Frontend;
    if (disk.usedBytes >= disk.capacityBytes) {
      writeNumbers(port.requests, RequestType.snapshotDone, 0, 1);
    } else {
      snapshots.add(task);
      const oldest = snapshots.purge(config.maxSnapshots);
      writeNumbers(port.requests, RequestType.snapshotDone, task.index, oldest);
    }
    port.requests.publish();
  }

  /** The process ended: all connections with it. */
  cutAll(): void {
    for (const { open } of this.#frontends) {
      const exchanges = [...open.values()];
      open.clear();
      for (const exchange of exchanges) exchange.cut();
    }
  }
}
