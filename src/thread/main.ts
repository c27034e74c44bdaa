import { join } from "node:path";
import { Worker } from "node:worker_threads";
import type { Piscina } from "piscina";
import type { StartPlan } from "../bootstrap/start-plan.js";
import { formatId } from "../cluster/ids.js";
import { decodeSnapshotHead } from "../cluster/snapshot-head.js";
import type { Config } from "../config/config.js";
import type { Frontend } from "../frontend/frontend.js";
import { HeadText } from "../frontend/head-text.js";
import { listenForMetrics } from "../frontend/metrics-server.js";
import { RingGateway } from "../frontend/ring-gateway.js";
import { listen, makeFrontends } from "../frontend/server.js";
import { assert } from "../lib/assert.js";
import { RingdError } from "../lib/errors.js";
import { createLogger, type Logger } from "../log/logger.js";
import type { LocalHandler } from "../messages/local.js";
import { SnapshotType } from "../messages/pool.js";
import { RequestType } from "../messages/requests.js";
import {
  createTopology,
  FIRST_FRONTEND_PART,
  type FrontendInput,
  type Topology,
  type WorkerInput,
  type WorkerMessage,
} from "../messages/topology.js";
import { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { checkFileDescriptorLimit } from "../process/descriptors.js";
import { heapLimitsOf, limitHeapGrowth } from "../process/heap.js";
import { notifySupervisor } from "../process/notify.js";
import { Bell } from "../ring/bell.js";
import { RingReader, RingWriter } from "../ring/ring.js";
import type { SnapshotOutcome, SnapshotTask } from "../snap/task.js";
import { checkFirstStart, hasBegun, identityLeft } from "../wal/data-dir.js";
import { FrontendWorkers } from "./frontend-workers.js";
import { debugVarsHandler } from "./local.js";
import { gatewayFigures } from "./port-figures.js";

/** How long a stop may take before the process ends anyway: nothing acknowledged is at stake. */
const STOP_MS = 10_000;
/** How long other frontends may take to close when a thread has died. */
const FAIL_MS = 1000;

const SNAP_SECONDS = cellOf("snapSaveDuration");
const SNAP_FSYNC_SECONDS = cellOf("snapFsyncDuration");

/** A thread that ended without being told to, or that could not begin: the reason it gave. */
export class ThreadError extends RingdError {
  override readonly name = "ThreadError";
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Runs a member until the process is told to stop.
 *
 * @throws RingdError for what an operator can mend: port in use, data directory locked or damaged
 */
export async function start(config: Config): Promise<void> {
  const topology = createTopology(config);
  const log = createLogger(config.log, "main", topology.logLevel);
  for (const warning of config.warnings) log.warn(warning);
  checkFileDescriptorLimit();
  const frontends: (Frontend | FrontendWorkers)[] = [];
  const metrics = new MetricCells(topology.metrics, FIRST_FRONTEND_PART);
  let local: LocalHandler = () => undefined; // Not asked before `serve`.
  const gateway = mainGateway(
    config,
    topology,
    log,
    (request) => local(request),
    metrics,
    (error) => {
      log.fatal({ err: error }, "a thread died");
      fail(frontends);
    },
  );
  gateway.holdRequests();
  const heads = new HeadText(0n, config.corsOrigins);

  // Every port is bound before anything is written or asked of others.
  const peer = startWorker("peer", { config, topology, plan: undefined });
  const peerFailed = whenFailed({ peer });
  const [, made] = await Promise.race([
    peerFailed,
    Promise.all([
      whenSaid("ready", [peer]),
      makeFrontends(Object.values(config.frontendKinds), config, gateway, heads, log, metrics),
    ]),
  ]);
  const { endpoints, news: listenNews } = await listen(made, config, log);
  frontends.push(...made.all);
  const metricsFrontend = await listenForMetrics(config, gateway);
  if (metricsFrontend !== undefined) frontends.push(metricsFrontend);

  const input: WorkerInput = { config, topology, plan: await planFirstStart(config, log) };
  const core = startWorker("core", input); // It has most to load, and most to do then.
  const wal = startWorker("wal", input);
  const failed = Promise.race([peerFailed, whenFailed({ wal, core })]);
  failed.catch(() => undefined); // Not everybody looks at once.
  const { identity } = await Promise.race([failed, whenSaid("recovered", [core])]);
  const { clusterId, memberId } = identity;
  peer.postMessage(identity);
  heads.setClusterId(clusterId);
  local = debugVarsHandler(config, topology, formatId(memberId));
  gateway.start();
  stopOnSignals(log, gateway, frontends, [wal, core, peer]);
  // With others it takes as long as it takes them to be a quorum.
  const { news } = await Promise.race([failed, whenSaid("published", [core])]);
  gateway.serve();
  for (const line of listenNews) log.info(line);
  for (const { text } of config.listenMetricsUrls) log.info(`serving metrics on ${text}`);
  if (endpoints.length > 0 && config.frontendThreads > 1) {
    const others = startFrontends({ config, topology, identity, endpoints });
    const onDeath = () => {
      log.fatal("a frontend's thread died");
      fail(frontends);
    };
    frontends.push(new FrontendWorkers(others, local, onDeath));
    const named = Object.fromEntries(others.map((other, i) => [`frontend${i + 1}`, other]));
    await Promise.race([failed, whenFailed(named), whenSaid("ready", others)]);
  }
  failFast(log, failed, frontends);
  limitHeapGrowth();
  for (const line of news) log.info(line);
  log.info("ready to serve client requests");
  notifySupervisor("READY=1", log);
}

/** How a member without a log begins. @throws StartPlanError, DataDirAccessError */
async function planFirstStart(config: Config, log: Logger): Promise<StartPlan | undefined> {
  if (hasBegun(config.dataDir, config.walDir || undefined)) return undefined;
  const { planStart } = await import("../bootstrap/plan-start.js");
  const { nodeStartIo } = await import("../bootstrap/io.js");
  const plan = await planStart(
    config,
    nodeStartIo(
      (dataDir, walDir) => identityLeft(dataDir, walDir || undefined),
      (message) => log.warn(message),
    ),
  );
  checkFirstStart(config.dataDir, config.walDir || undefined, plan);
  return plan;
}

function startWorker(name: "wal" | "core" | "peer", input: WorkerInput): Worker {
  return new Worker(new URL(`./${name}.js`, import.meta.url), {
    name,
    workerData: input,
    resourceLimits: heapLimitsOf(name),
  });
}

function startFrontends(input: Omit<FrontendInput, "frontend">): Worker[] {
  return Array.from({ length: input.config.frontendThreads - 1 }, (_, i) => {
    const workerData: FrontendInput = { ...input, frontend: i + 1 };
    return new Worker(new URL("./frontend.js", import.meta.url), {
      name: `frontend${i + 1}`,
      workerData,
    });
  });
}

type Said<K extends WorkerMessage["kind"]> = Extract<WorkerMessage, { kind: K }>;

/** Resolves with the first worker's message when all of `speakers` have sent one of that kind. */
async function whenSaid<K extends WorkerMessage["kind"]>(
  kind: K,
  speakers: readonly Worker[],
): Promise<Said<K>> {
  const said = speakers.map(
    (worker) =>
      new Promise<Said<K>>((resolve) => {
        worker.on("message", (message: WorkerMessage) => {
          if (message.kind === kind) resolve(message as Said<K>);
        });
      }),
  );
  const [first] = await Promise.all(said);
  return first as Said<K>;
}

/**
 * Rejects when the first of the threads dies, gives up or just ends, with the reason. Whoever waits for
 * something of a thread waits for this too; once rejected it stays so, at whatever moment it is looked at.
 */
function whenFailed(workers: Readonly<Record<string, Worker>>): Promise<never> {
  const failed = new Promise<never>((_, reject) => {
    for (const [name, worker] of Object.entries(workers)) {
      let isStopped = false;
      worker.on("error", reject);
      worker.on("message", (message: WorkerMessage) => {
        if (message.kind === "failed") reject(new ThreadError(message.code, message.message));
        isStopped ||= message.kind === "stopped";
      });
      worker.on("exit", (code) => {
        const why = `the ${name} thread ended with code ${code}, and nobody told it to`;
        if (!isStopped) reject(new ThreadError("THREAD_ENDED", why));
      });
    }
  });
  failed.catch(() => undefined); // Not everybody looks at once.
  return failed;
}

/** Half a member is worse than none: a worker that dies takes the process with it. */
function failFast(
  log: Logger,
  failed: Promise<never>,
  frontends: readonly (Frontend | FrontendWorkers)[],
): void {
  failed.catch((error: unknown) => {
    log.fatal({ err: error }, error instanceof RingdError ? error.message : "a thread died");
    fail(frontends);
  });
}

function fail(frontends: readonly (Frontend | FrontendWorkers)[]): void {
  setTimeout(() => process.exit(1), FAIL_MS);
  void closeAll(frontends).then(() => process.exit(1));
}

async function closeAll(frontends: readonly (Frontend | FrontendWorkers)[]): Promise<void> {
  await Promise.all(frontends.map((frontend) => frontend.close()));
}

function mainGateway(
  config: Config,
  topology: Topology,
  log: Logger,
  local: LocalHandler,
  metrics: MetricCells,
  onDeath: (error: unknown) => void,
): RingGateway {
  const [memory] = topology.frontends;
  assert(memory !== undefined, "the main thread is a frontend");
  const coreBell = new Bell(topology.coreBell);
  const bell = new Bell(memory.bell);
  let pool: Promise<Piscina> | undefined;
  const gateway: RingGateway = new RingGateway(
    new RingWriter(memory.requests, coreBell),
    new RingReader(memory.answers, coreBell),
    bell,
    local,
    (term, index, metadata) => {
      const task: SnapshotTask = {
        directory: join(config.dataDir, "member", "snap"),
        term,
        index,
        metadata,
        version: decodeSnapshotHead(Buffer.from(metadata), config.formatLevel).format,
        keep: config.maxSnapshots,
        ring: topology.snapshot,
        ownBell: topology.poolBell,
        producerBell: topology.coreBell,
        blockType: SnapshotType.block,
      };
      const startMs = performance.now();
      pool ??= makePool();
      const written: Promise<SnapshotOutcome> = pool.then((made) => made.run(task));
      written.then((outcome) => {
        if (outcome.kind === "failed") {
          log.error({ err: outcome.error }, "cannot save snapshot");
          gateway.control(RequestType.snapshotDone, 0, outcome.isForWant ? 1 : 0);
          return;
        }
        for (const err of outcome.refusals) log.warn({ err }, "cannot remove an old snapshot");
        metrics.observe(SNAP_SECONDS, (performance.now() - startMs) / 1000);
        for (const seconds of outcome.flushSeconds) metrics.observe(SNAP_FSYNC_SECONDS, seconds);
        gateway.control(RequestType.snapshotDone, index, outcome.oldestIndex);
      }, onDeath); // It may have left blocks in its ring, which the next snapshot would begin with.
    },
    gatewayFigures(metrics, "main"),
  );
  return gateway;
}

/** With the first snapshot: most starts of a member never come to one. */
async function makePool(): Promise<Piscina> {
  const { Piscina } = await import("piscina");
  return new Piscina({
    filename: new URL("../snap/task.js", import.meta.url).href,
    name: "writeSnapshot",
    minThreads: 0,
    maxThreads: 1,
  });
}

/**
 * SIGTERM and SIGINT: stop accepting, finish what was accepted, close the log, exit 0. The core also
 * stops by itself, when the member was removed from its cluster.
 */
function stopOnSignals(
  log: Logger,
  gateway: RingGateway,
  frontends: readonly (Frontend | FrontendWorkers)[],
  workers: readonly Worker[],
): void {
  let isStopping = false;
  const beginStop = () => {
    isStopping = true;
    for (const frontend of frontends) frontend.stopListening();
    setTimeout(() => {
      log.error("the stop took too long");
      process.exit(1);
    }, STOP_MS).unref();
  };
  const stopped = workers.map(
    (worker) =>
      new Promise<void>((resolve) => {
        worker.on("message", (message: WorkerMessage) => {
          if (message.kind !== "stopped") return;
          if (!isStopping) beginStop();
          resolve();
        });
      }),
  );
  void Promise.all(stopped).then(() => {
    // One more turn, for the last answers to leave.
    setImmediate(() => {
      gateway.close();
      void closeAll(frontends).then(() => {
        log.info("stopped");
        process.exit(0);
      });
    });
  });
  const onSignal = (signal: NodeJS.Signals) => {
    if (isStopping) return;
    log.info(`received signal ${signal}; shutting down`);
    notifySupervisor("STOPPING=1", log);
    beginStop();
    gateway.control(RequestType.stop);
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
}
