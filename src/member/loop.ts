import type { StartPlan } from "../bootstrap/start-plan.js";
import type { Config } from "../config/config.js";
import { assert, unreachable } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import { HashOutcomeType } from "../messages/hashes.js";
import { AppendType, DurableType, SNAPSHOT_METADATA_AT } from "../messages/log.js";
import { readNumber, writeNumbers } from "../messages/numbers.js";
import { InboxType, readPeerId, readPeerValue } from "../messages/peers.js";
import { OutcomeType, readFailed, readSaved } from "../messages/pool.js";
import { RequestType, readRequest, readRequestId } from "../messages/requests.js";
import { CORE_PART, type Topology } from "../messages/topology.js";
import { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import type { StoreLimits } from "../process/heap.js";
import { MessageError } from "../raft/message-bytes.js";
import type { RaftLimits } from "../raft/options.js";
import { Bell } from "../ring/bell.js";
import { Inlet, Outlet } from "../ring/fragments.js";
import type { RecordCursor } from "../ring/record-cursor.js";
import { RingReader, RingWriter } from "../ring/ring.js";
import { METHODS, Method } from "../v2/request.js";
import type { MemberLimits } from "./limits.js";
import { MemberCore } from "./member.js";
import { PeerPort } from "./peer-port.js";
import type { RecoveredMember } from "./raft-start.js";
import { ClientPort, MAIN_FRONTEND } from "./replies.js";
import { Ticks } from "./ticks.js";

const BATCH_RECORDS = 1024;
/**
 * Requests per frontend and turn, so that their entries reach the wal thread while the next batch
 * is read.
 */
const BATCH_REQUESTS_MAX = 128;
/** Bytes queued for the wal thread above which requests and peer messages stay in their rings. */
const APPEND_QUEUED_BYTES_MAX = 64 * 1024 * 1024;
/** How long accepted writes and the leadership transfer may delay a stop. */
const STOP_MS = 5000;

const BATCH_REQUESTS = cellOf("coreBatchRequests");
const SNAP_SECONDS = cellOf("snapSaveDuration");
const SNAP_FSYNC_SECONDS = cellOf("snapFsyncDuration");
const RING_FULL = cellOf("ringFull", "core");

/** Everything the core needs besides its rings; the simulation passes its own. */
export interface CoreWorld {
  /** The wall clock, Unix milliseconds. */
  readonly wallMs: () => number;
  /** Monotonic clock, milliseconds. */
  readonly monoMs: () => number;
  /** Uniform in 0 .. below - 1. */
  readonly random: (below: number) => number;
  readonly log: Logger;
  readonly limits: StoreLimits;
  readonly raftLimits: RaftLimits;
  readonly memberLimits: MemberLimits;
  readonly onReady: (news: readonly string[]) => void;
}

/**
 * The core's loop, one turn at a time: drains the input rings into the member and publishes its
 * output.
 */
export class CoreLoop {
  readonly #world: CoreWorld;
  readonly #member: MemberCore;
  readonly #metrics: MetricCells;
  readonly #append: Outlet;
  readonly #answers: readonly Outlet[];
  readonly #clients: ClientPort;
  readonly #peers: PeerPort;
  readonly #durable: Inlet;
  readonly #outcomes: Inlet;
  readonly #saveOutcomes: Inlet;
  readonly #hashOutcomes: Inlet;
  readonly #inbox: Inlet;
  readonly #requests: readonly Inlet[];
  readonly #ticks: Ticks;
  readonly #hasAuditLog: boolean;
  #stopByMs = Number.POSITIVE_INFINITY;
  #isStopped = false;
  #isFinished = false;
  #isBehind = false;

  constructor(
    config: Config,
    topology: Topology,
    plan: StartPlan | undefined,
    recovery: RecoveredMember,
    world: CoreWorld,
  ) {
    const { wallMs, monoMs, random, log, limits, raftLimits, memberLimits, onReady } = world;
    const outlet = (memory: SharedArrayBuffer, bell: SharedArrayBuffer) =>
      new Outlet(new RingWriter(memory, new Bell(bell)));
    this.#world = world;
    this.#metrics = new MetricCells(topology.metrics, CORE_PART);
    this.#append = outlet(topology.append, topology.walBell);
    this.#answers = topology.frontends.map(({ responses, bell }) => outlet(responses, bell));
    let member: MemberCore | undefined;
    this.#clients = new ClientPort(this.#answers, () => member?.position ?? { index: 0, term: 0 });
    this.#peers = new PeerPort(outlet(topology.outbox, topology.peerBell), recovery.memberId);
    member = new MemberCore(
      config,
      plan,
      recovery,
      {
        append: this.#append,
        jobs: outlet(topology.jobs, topology.poolBell),
        saveJobs: outlet(topology.saveJobs, topology.saveBell),
        hashJobs: outlet(topology.hashJobs, topology.hashBell),
        peers: this.#peers,
        clients: this.#clients,
        frontends: topology.frontends.length,
        metrics: this.#metrics,
        log,
        limits,
        raftLimits,
        memberLimits,
        random,
        onReady,
      },
      { wallMs: wallMs(), monoMs: monoMs() },
    );
    this.#member = member;
    this.#durable = durableInlet(topology, member, log);
    this.#outcomes = outcomeInlet(topology, member, this.#metrics, log);
    this.#saveOutcomes = saveInlet(topology, member);
    this.#hashOutcomes = hashInlet(topology, member);
    this.#inbox = inboxInlet(topology, member, log);
    this.#requests = topology.frontends.map((_, i) =>
      requestInlet(topology, i, this.#member, {
        hasRoom: () => this.#clients.queuedBytes(i) <= memberLimits.batchResponseBytesMax,
        onStop: () => this.#beginStop(),
      }),
    );
    this.#ticks = new Ticks(config.heartbeatMs, monoMs());
    this.#hasAuditLog = config.auditLog !== "";
  }

  /** Accepted work is done or timed out: call `finish` next. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  get member(): MemberCore {
    return this.#member;
  }

  /**
   * The order matters: durable jobs come before new input, as they release acks and commits; the
   * member's step comes last, so that all entries of the batch share one append job.
   *
   * @returns whether any record was read
   */
  turn(): boolean {
    const member = this.#member;
    assert(!this.#isStopped, "a core that has stopped takes no turn");
    member.setTimes(this.#world.wallMs(), this.#world.monoMs());
    // First, as durable jobs release other work.
    let taken = this.#durable.drain(BATCH_RECORDS);
    taken += this.#outcomes.drain(BATCH_RECORDS);
    taken += this.#saveOutcomes.drain(BATCH_RECORDS);
    taken += this.#hashOutcomes.drain(BATCH_RECORDS);
    if (this.#isLogOpen()) taken += this.#inbox.drain(BATCH_RECORDS);
    for (const [frontend, inlet] of this.#requests.entries()) {
      if (this.#isOpen(frontend)) taken += inlet.drain(BATCH_REQUESTS_MAX);
    }
    if (taken > 0) this.#metrics.observe(BATCH_REQUESTS, taken);
    for (let due = this.#ticks.due(member.times.monoMs); due > 0; due--) member.tick();
    member.step();
    this.#publish();
    if (member.isOut) this.#beginStop();
    if (this.#stopByMs !== Number.POSITIVE_INFINITY) {
      const isDone = member.openWrites === 0 && !member.isHandingOver;
      this.#isStopped = isDone || member.times.monoMs > this.#stopByMs;
    }
    return taken > 0;
  }

  /** Checked before the thread parks. */
  hasWork(): boolean {
    return (
      this.#durable.hasWork() ||
      this.#outcomes.hasWork() ||
      this.#saveOutcomes.hasWork() ||
      this.#hashOutcomes.hasWork() ||
      (this.#isLogOpen() && this.#inbox.hasWork()) ||
      this.#requests.some((inlet, frontend) => this.#isOpen(frontend) && inlet.hasWork()) ||
      this.#member.hasWork() ||
      this.#append.canMove() ||
      this.#peers.canMove() ||
      this.#answers.some((outlet) => outlet.canMove())
    );
  }

  /** How long the thread may sleep if no record comes. */
  msToNextTurn(): number {
    const monoMs = this.#world.monoMs();
    const ms = Math.min(this.#ticks.msToNext(monoMs), this.#member.msToNext(monoMs));
    assert(ms >= 0 && ms < Number.POSITIVE_INFINITY, "the next tick comes, even if no record does");
    return ms;
  }

  /**
   * Fails pending requests and stops the other threads; then call `flush` until it returns true.
   */
  finish(): void {
    assert(this.#isStopped, "a core finishes what it accepted before it stops");
    assert(!this.#isFinished, "the other threads are told to stop once");
    this.#isFinished = true;
    this.#member.stop();
    writeNumbers(this.#append, AppendType.stop);
  }

  /** @returns whether the queues to the wal and peer threads are empty */
  flush(): boolean {
    assert(this.#isFinished, "queues are emptied for good after their last record");
    this.#publish();
    return this.#append.isEmpty && this.#peers.isEmpty;
  }

  canFlush(): boolean {
    return this.#append.canMove() || this.#peers.canMove();
  }

  #publish(): void {
    this.#append.publish();
    this.#peers.publish();
    this.#clients.publish();
    const isBehind =
      this.#append.queuedBytes + this.#peers.queuedBytes > 0 ||
      this.#answers.some((outlet) => outlet.queuedBytes > 0);
    if (isBehind && !this.#isBehind) this.#metrics.add(RING_FULL, 1);
    this.#isBehind = isBehind;
  }

  #beginStop(): void {
    if (this.#stopByMs !== Number.POSITIVE_INFINITY) return;
    assert(!this.#isStopped, "a stop begins before it ends");
    this.#stopByMs = this.#world.monoMs() + STOP_MS;
    this.#member.beginStop();
  }

  #isLogOpen(): boolean {
    return this.#append.queuedBytes < APPEND_QUEUED_BYTES_MAX;
  }

  #isOpen(frontend: number): boolean {
    if (!this.#isLogOpen() || this.#clients.isBehind(frontend)) return false;
    // A refusal takes room there, too.
    return !this.#hasAuditLog || !this.#clients.isBehind(MAIN_FRONTEND);
  }
}

function durableInlet(topology: Topology, member: MemberCore, log: Logger): Inlet {
  const reader = new RingReader(topology.durable, new Bell(topology.walBell));
  return Inlet.withCursor<DurableType>(reader, (record) => {
    const { type } = record;
    switch (type) {
      case DurableType.durable:
        return member.durable(readNumber(record, 0));
      case DurableType.blocked:
        return member.block(record.utf8(0));
      case DurableType.unblocked:
        return member.unblock();
      case DurableType.failed:
        return member.fail(record.utf8(0));
      case DurableType.snapshotHead:
        return member.incoming.head(record.bytes(SNAPSHOT_METADATA_AT));
      case DurableType.snapshotBlock:
        return member.incoming.block(record.bytes(0));
      case DurableType.snapshotEnd:
        return member.snapshotLoaded();
      case DurableType.snapshotFailed:
        log.error(`cannot install snapshot from leader: ${record.utf8(0)}`);
        return member.incoming.fail();
      case DurableType.identity:
      case DurableType.entry:
      case DurableType.recovered:
        return assert(false, "a log is read once, before the member's loop begins");
      default:
        unreachable(type);
    }
  });
}

function outcomeInlet(
  topology: Topology,
  member: MemberCore,
  metrics: MetricCells,
  log: Logger,
): Inlet {
  const reader = new RingReader(topology.outcomes, new Bell(topology.poolBell));
  return Inlet.withCursor<OutcomeType>(reader, (record) => {
    switch (record.type) {
      case OutcomeType.saved: {
        const { oldestIndex, seconds, flushSeconds, unremoved } = readSaved(record);
        if (unremoved !== "") log.warn({ reason: unremoved }, "cannot remove old snapshots");
        assert(seconds >= 0, "a job's end comes after its head");
        metrics.observe(SNAP_SECONDS, seconds);
        for (const flush of flushSeconds) metrics.observe(SNAP_FSYNC_SECONDS, flush);
        return member.snapshotDone(oldestIndex);
      }
      case OutcomeType.failed: {
        const { isForWant, why } = readFailed(record);
        log.error({ reason: why }, "cannot save snapshot");
        return member.snapshotFailed(isForWant);
      }
      default:
        unreachable(record.type);
    }
  });
}

function saveInlet(topology: Topology, member: MemberCore): Inlet {
  const reader = new RingReader(topology.saveOutcomes, new Bell(topology.saveBell));
  return Inlet.withCursor<OutcomeType>(reader, (record) => {
    switch (record.type) {
      case OutcomeType.saved:
        return member.savedSnapshots.saved(readSaved(record));
      case OutcomeType.failed:
        return member.savedSnapshots.failed(readFailed(record));
      default:
        unreachable(record.type);
    }
  });
}

function hashInlet(topology: Topology, member: MemberCore): Inlet {
  const reader = new RingReader(topology.hashOutcomes, new Bell(topology.hashBell));
  return Inlet.withCursor<HashOutcomeType>(reader, (record) => {
    const { type } = record;
    switch (type) {
      case HashOutcomeType.hashed:
        return member.hashes.hashed(record.u32(0), record.text(4));
      case HashOutcomeType.compared:
        assert(record.u32(4) <= 1, "the outcome of a comparison is yes or no");
        return member.hashes.compared(record.u32(0), record.u32(4) === 1);
      default:
        unreachable(type);
    }
  });
}

function inboxInlet(topology: Topology, member: MemberCore, log: Logger): Inlet {
  const reader = new RingReader(topology.inbox, new Bell(topology.peerBell));
  return Inlet.withCursor<InboxType>(reader, (record) => {
    const { type } = record;
    switch (type) {
      case InboxType.message:
        try {
          return member.receive(Buffer.from(record.bytes(0)));
        } catch (error) {
          if (!(error instanceof MessageError)) throw error;
          return log.warn({ err: error }, "cannot decode message from peer");
        }
      case InboxType.up:
        return member.traffic.up(readPeerId(record), readPeerValue(record));
      case InboxType.down:
        return member.traffic.down(readPeerId(record));
      case InboxType.overflow:
        return member.traffic.overflow(readPeerId(record));
      case InboxType.snapshotSent:
        return member.traffic.snapshotSent(readPeerId(record), readPeerValue(record) === 1);
      case InboxType.snapshotReceived:
        return member.snapshotReceived(Buffer.from(record.bytes(0)));
      case InboxType.removed:
        return member.removed();
      default:
        unreachable(type);
    }
  });
}

function requestInlet(
  topology: Topology,
  frontend: number,
  member: MemberCore,
  { hasRoom, onStop }: { readonly hasRoom: () => boolean; readonly onStop: () => void },
): Inlet {
  assert(frontend < topology.frontends.length, "requests come from one of the frontends");
  const memory = topology.frontends[frontend] as Topology["frontends"][number];
  const reader = new RingReader(memory.requests, new Bell(memory.bell));
  const idOf = (record: RecordCursor) => {
    const requestId = readRequestId(record);
    assert(requestId > 0, "requests are numbered from 1");
    return requestId;
  };
  const getter = (record: RecordCursor) => {
    return { frontend, requestId: idOf(record), method: Method.get };
  };
  const inlet = Inlet.withCursor<RequestType>(reader, (record) => {
    const { type } = record;
    switch (type) {
      case RequestType.request: {
        const request = readRequest(record);
        assert(request.method < METHODS.length, "frontends have a number for every method");
        const client = { frontend, requestId: idOf(record), method: request.method };
        member.router.request(client, request);
        if (!hasRoom()) inlet.endBatch();
        return;
      }
      case RequestType.abort:
        return member.router.abort(getter(record));
      case RequestType.hold:
        return member.router.hold(getter(record), true);
      case RequestType.resume:
        return member.router.hold(getter(record), false);
      case RequestType.stop:
        return onStop();
      default:
        unreachable(type);
    }
  });
  return inlet;
}
