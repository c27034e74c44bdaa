import { parentPort, workerData } from "node:worker_threads";
import { assert } from "../lib/assert.js";
import { RingdError } from "../lib/errors.js";
import { createLogger } from "../log/logger.js";
import { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import type { Entry, HardState, SnapshotMeta } from "../raft/entry.js";
import { Bell } from "../ring/bell.js";
import { Inlet, Outlet } from "../ring/fragments.js";
import { RingReader, RingWriter } from "../ring/ring.js";
import { SnapshotDecoder } from "../store/snapshot.js";
import { Store } from "../store/store.js";
import { ClientPort } from "./client-port.js";
import { AppendType, DurableType, readEntry, readHardState } from "./log-records.js";
import { decodeConf, Member, type Recovery } from "./member.js";
import { RequestType, readNumber, readRequest, readRequestId, writeNumbers } from "./records.js";
import { Ticks } from "./ticks.js";
import { CORE_PART, type WorkerInput, type WorkerMessage } from "./topology.js";

/** The thread of raft and the store. It has no event loop work: it drains rings and parks. */

const BATCH_RECORDS = 1024;
/** Requests in one turn: then what they wrote goes to the log while the next ones are read. */
const BATCH_REQUESTS_MAX = 128;
/** Bytes the log may be behind before requests wait in their rings. */
const APPEND_QUEUED_BYTES_MAX = 64 * 1024 * 1024;
/** How long accepted writes may take to finish once the member is to stop. */
const STOP_MS = 5000;

const BATCH_REQUESTS = cellOf("coreBatchRequests");

const { config, topology } = workerData as WorkerInput;
const log = createLogger(config.log, "core", topology.logLevel);
const metrics = new MetricCells(topology.metrics, CORE_PART);
const bell = new Bell(topology.coreBell);
const walBell = new Bell(topology.walBell);
const append = new Outlet(new RingWriter(topology.append, walBell));
const snapshot = new Outlet(new RingWriter(topology.snapshot, new Bell(topology.poolBell)));
const answers = topology.frontends.map(
  (frontend) => new Outlet(new RingWriter(frontend.answers, new Bell(frontend.bell))),
);

function tellMain(message: WorkerMessage): void {
  parentPort?.postMessage(message);
}

/** Waits for everything the disk held. */
function receiveRecovery(): Recovery {
  const options = { historyEventsMax: config.eventHistoryMax };
  const entries: Entry[] = [];
  let identity: { memberId: bigint; clusterId: bigint } | undefined;
  let meta: SnapshotMeta = { index: 0, term: 0, conf: { voters: [], learners: [] } };
  let decoder: SnapshotDecoder | undefined;
  let hardState: HardState | undefined;
  const inlet = new Inlet(
    new RingReader(topology.durable, walBell),
    (type, bytes, view, at, length) => {
      if (type === DurableType.identity) {
        const memberId = view.getBigUint64(at, true);
        identity = { memberId, clusterId: view.getBigUint64(at + 8, true) };
      } else if (type === DurableType.snapshotHead) {
        meta = {
          term: readNumber(view, at, 0),
          index: readNumber(view, at, 1),
          conf: decodeConf(bytes.subarray(at + 16, at + length)),
        };
        decoder = new SnapshotDecoder(options);
      } else if (type === DurableType.snapshotBlock) {
        decoder?.push(bytes.subarray(at, at + length));
      } else if (type === DurableType.entry) entries.push(readEntry(bytes, view, at, length));
      else if (type === DurableType.recovered) hardState = readHardState(view, at);
    },
  );
  while (hardState === undefined) {
    if (inlet.drain(BATCH_RECORDS) === 0) {
      bell.park(() => inlet.hasWork(), Number.POSITIVE_INFINITY);
    }
  }
  assert(identity !== undefined, "the log says whose it is");
  const store = decoder?.finish() ?? new Store(options);
  return { ...identity, snapshot: meta, store, entries, hardState };
}

function run(): void {
  const recovery = receiveRecovery();
  let member: Member | undefined;
  const port = new ClientPort(answers, () => member?.position ?? { index: 0, term: 0 });
  const { memberId, clusterId } = recovery;
  const times = () => ({ nowMs: Date.now(), monoMs: performance.now() });
  const current = new Member(
    config,
    recovery,
    {
      append,
      snapshot,
      main: answers[0] as Outlet,
      metrics,
      log,
      frontends: topology.frontends.length,
    },
    port,
    times(),
    () => tellMain({ kind: "ready", memberId, clusterId }),
  );
  member = current;
  loop(current, port);
}

function loop(member: Member, port: ClientPort): void {
  let stopByMs = Number.POSITIVE_INFINITY;
  const durable = new Inlet(
    new RingReader(topology.durable, walBell),
    (type, bytes, view, at, n) => {
      if (type === DurableType.durable) member.durable(readNumber(view, at, 0));
      else if (type === DurableType.blocked) member.block(bytes.toString("utf8", at, at + n));
      else if (type === DurableType.failed) member.fail(bytes.toString("utf8", at, at + n));
    },
  );
  const requests = topology.frontends.map((memory, frontend) => {
    const onStop = () => {
      stopByMs = performance.now() + STOP_MS;
    };
    return requestInlet(member, memory.requests, new Bell(memory.bell), frontend, onStop);
  });
  const isOpen = (frontend: number) =>
    append.queuedBytes < APPEND_QUEUED_BYTES_MAX && !port.isBehind(frontend);
  const hasWork = () =>
    durable.hasWork() ||
    requests.some((inlet, frontend) => isOpen(frontend) && inlet.hasWork()) ||
    member.hasWork() ||
    append.canMove() ||
    answers.some((outlet) => outlet.canMove());
  const ticks = new Ticks(config.heartbeatMs, performance.now());

  for (;;) {
    member.monoMs = performance.now();
    member.nowMs = Date.now();
    let taken = durable.drain(BATCH_RECORDS); // First: what became durable releases other work.
    for (const [frontend, inlet] of requests.entries()) {
      if (isOpen(frontend)) taken += inlet.drain(BATCH_REQUESTS_MAX);
    }
    if (taken > 0) metrics.observe(BATCH_REQUESTS, taken);
    for (let due = ticks.due(member.monoMs); due > 0; due--) member.tick();
    member.step();
    append.publish();
    port.publish();
    const isStopped =
      stopByMs !== Number.POSITIVE_INFINITY &&
      (member.openProposals === 0 || member.monoMs > stopByMs);
    if (isStopped) break;
    if (taken === 0) bell.park(hasWork, ticks.msToNext(performance.now()));
  }
  member.stop();
  port.publish();
  writeNumbers(append, AppendType.stop);
  while (append.queuedBytes > 0) {
    append.publish();
    bell.park(() => append.canMove(), 1000);
  }
  append.publish();
  tellMain({ kind: "stopped" });
}

function requestInlet(
  member: Member,
  memory: SharedArrayBuffer,
  frontendBell: Bell,
  frontend: number,
  onStop: () => void,
): Inlet {
  return new Inlet(new RingReader(memory, frontendBell), (type, bytes, view, at) => {
    if (type === RequestType.request) {
      const client = { frontend, requestId: readRequestId(view, at) };
      member.request(client, readRequest(bytes, view, at));
    } else if (type === RequestType.stop) onStop();
    else if (type === RequestType.snapshotDone) {
      member.snapshotDone(readNumber(view, at, 0), readNumber(view, at, 1));
    } else {
      const client = { frontend, requestId: readRequestId(view, at) };
      if (type === RequestType.abort) member.abort(client);
      else member.hold(client, type === RequestType.hold);
    }
  });
}

try {
  run();
} catch (error) {
  if (!(error instanceof RingdError)) throw error;
  tellMain({ kind: "failed", code: error.code, message: error.message });
}
