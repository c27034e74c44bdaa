import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { totalmem } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { Piscina } from "piscina";
import { formatId, memberId } from "../cluster/ids.js";
import type { StartPlan } from "../cluster/start-plan.js";
import type { Config } from "../config/config.js";
import type { Frontend } from "../frontend/frontend.js";
import { HeadText } from "../frontend/head-text.js";
import { NodeFrontend } from "../frontend/node-http.js";
import { RequestType } from "../frontend/records.js";
import { RingGateway } from "../frontend/ring-gateway.js";
import { loadUws, UwsFrontend } from "../frontend/uws.js";
import { assert } from "../lib/assert.js";
import { RingdError } from "../lib/errors.js";
import { createLogger, type Logger } from "../log/logger.js";
import { notifySupervisor } from "../log/notify.js";
import { Bell } from "../ring/bell.js";
import { RingReader, RingWriter } from "../ring/ring.js";
import type { SnapshotTask } from "../snap/task.js";
import { limitHeapGrowth } from "./heap.js";
import { debugVarsHandler } from "./local.js";
import { SnapshotType } from "./log-records.js";
import { createTopology, type Topology, type WorkerInput, type WorkerMessage } from "./topology.js";

/** How long a stop may take before the process ends anyway: nothing acknowledged is at stake. */
const STOP_MS = 10_000;
/** Share of the machine's memory that the store's heap may take. */
const HEAP_SHARE = 0.8;

/**
 * Room for short-lived objects on the core. Measured with 256 connections writing: 64 costs 3
 * microseconds more per write than 16 (the processor's caches no longer hold it), 4 costs as much.
 */
const CORE_YOUNG_MB = 16;
/** Once the log is read, this thread makes next to no objects. */
const WAL_YOUNG_MB = 3;

/** A start that cannot be: the reason a worker gave. */
export class StartError extends RingdError {
  override readonly name = "StartError";
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
  limitHeapGrowth();
  const input: WorkerInput = { config, topology, plan: foundingPlan(config) };
  const wal = startWorker("wal", input);
  const core = startWorker("core", input);
  const { clusterId, memberId } = await whenReady(wal, core);
  failFast(log, wal, core);

  const frontends: Frontend[] = [];
  const gateway = mainGateway(config, topology, log, memberId);
  gateway.start();
  frontends.push(await openFrontend(config, gateway, clusterId, log));
  stopOnSignals(log, gateway, frontends, wal, core);
  log.info("ready to serve client requests");
  notifySupervisor("READY=1", (error) => log.warn({ err: error }, "systemd-notify failed"));
}

function foundingPlan({
  memberId: id,
  clusterId,
  initialCluster,
  initialClusterToken,
}: Config): StartPlan {
  const sha1 = (bytes: Uint8Array) => createHash("sha1").update(bytes).digest();
  const members = initialCluster.map(({ name, peerUrls }) => ({
    id: memberId(peerUrls, initialClusterToken, sha1),
    name,
    peerUrls,
  }));
  return { kind: "found", memberId: id, clusterId, members };
}

function startWorker(name: "wal" | "core", input: WorkerInput): Worker {
  return new Worker(new URL(`./${name}.js`, import.meta.url), {
    name,
    workerData: input,
    resourceLimits:
      name === "core"
        ? {
            maxOldGenerationSizeMb: Math.floor((totalmem() * HEAP_SHARE) / 2 ** 20),
            maxYoungGenerationSizeMb: CORE_YOUNG_MB,
          }
        : { maxYoungGenerationSizeMb: WAL_YOUNG_MB },
  });
}

type Recovered = Extract<WorkerMessage, { kind: "recovered" }>;

/** @throws StartError with the reason of the worker that gave up */
function whenReady(wal: Worker, core: Worker): Promise<Recovered> {
  let recovered: Recovered;
  return new Promise((resolve, reject) => {
    for (const worker of [wal, core]) {
      worker.on("message", (message: WorkerMessage) => {
        if (message.kind === "failed") reject(new StartError(message.code, message.message));
        if (message.kind === "recovered") recovered = message;
        if (message.kind === "ready") resolve(recovered);
      });
      worker.once("error", reject);
    }
  });
}

/** Half a member is worse than none: a worker that dies takes the process with it. */
function failFast(log: Logger, ...workers: Worker[]): void {
  for (const worker of workers) {
    worker.on("error", (error) => {
      log.fatal({ err: error }, "a thread died");
      process.exit(1);
    });
  }
}

function mainGateway(
  config: Config,
  topology: Topology,
  log: Logger,
  memberId: bigint,
): RingGateway {
  const [memory] = topology.frontends;
  assert(memory !== undefined, "the main thread is a frontend");
  const coreBell = new Bell(topology.coreBell);
  const bell = new Bell(memory.bell);
  const pool = new Piscina({
    filename: new URL("../snap/task.js", import.meta.url).href,
    name: "writeSnapshot",
    minThreads: 0,
    maxThreads: 1,
  });
  const gateway: RingGateway = new RingGateway(
    new RingWriter(memory.requests, coreBell),
    new RingReader(memory.answers, coreBell),
    bell,
    debugVarsHandler(config, topology, formatId(memberId)),
    (term, index, metadata) => {
      const task: SnapshotTask = {
        directory: join(config.dataDir, "member", "snap"),
        term,
        index,
        metadata,
        keep: config.maxSnapshots,
        ring: topology.snapshot,
        ownBell: topology.poolBell,
        producerBell: topology.coreBell,
        blockType: SnapshotType.block,
      };
      pool.run(task).then(
        (oldest: number) => gateway.control(RequestType.snapshotDone, index, oldest),
        (error) => {
          log.error({ err: error }, "cannot save snapshot");
          gateway.control(RequestType.snapshotDone, 0, 0);
        },
      );
    },
  );
  return gateway;
}

/** Starts listening on all client URLs. @throws ListenError */
async function openFrontend(
  config: Config,
  gateway: RingGateway,
  clusterId: bigint,
  log: Logger,
): Promise<Frontend> {
  const heads = new HeadText(clusterId, config.corsOrigins);
  const frontend = makeFrontend(config, gateway, heads, log);
  for (const url of config.listenClientUrls) {
    if (url.scheme === "unix") {
      const path = `${url.host}:${url.port}`;
      rmSync(path, { force: true });
      await frontend.listenUnix(path);
      log.info(`serving client requests on unix://${path}`);
    } else {
      const port = await frontend.listen(url.host, url.port, config.frontendThreads > 1);
      log.info(`serving insecure client requests on ${url.host}:${port}`);
    }
  }
  return frontend;
}

function makeFrontend(
  config: Config,
  gateway: RingGateway,
  heads: HeadText,
  log: Logger,
): Frontend {
  if (config.frontendKind === "uws") {
    try {
      return new UwsFrontend(loadUws(), gateway, heads);
    } catch (error) {
      log.warn(
        { err: error },
        "uWebSockets.js does not load on this platform; serving with node:http, which is slower",
      );
    }
  }
  return new NodeFrontend(gateway, heads);
}

/** SIGTERM and SIGINT: stop accepting, finish what was accepted, close the log, exit 0. */
function stopOnSignals(
  log: Logger,
  gateway: RingGateway,
  frontends: readonly Frontend[],
  wal: Worker,
  core: Worker,
): void {
  let isStopping = false;
  const stopped = Promise.all(
    [wal, core].map(
      (worker) =>
        new Promise<void>((resolve) => {
          worker.on("message", (message: WorkerMessage) => {
            if (message.kind === "stopped") resolve();
          });
        }),
    ),
  );
  const stop = (signal: NodeJS.Signals) => {
    if (isStopping) return;
    isStopping = true;
    log.info(`received signal ${signal}; shutting down`);
    notifySupervisor("STOPPING=1", () => undefined);
    for (const frontend of frontends) frontend.stopListening();
    gateway.control(RequestType.stop);
    setTimeout(() => {
      log.error("the stop took too long");
      process.exit(1);
    }, STOP_MS).unref();
    void stopped.then(() => {
      // One more turn, for the last answers to leave.
      setImmediate(() => {
        gateway.close();
        for (const frontend of frontends) frontend.close();
        log.info("stopped");
        process.exit(0);
      });
    });
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
}
