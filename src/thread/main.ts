import { existsSync } from "node:fs";
import type { Worker } from "node:worker_threads";
import { formatId } from "../cluster/ids.js";
import type { Config } from "../config/config.js";
import { HeadText } from "../frontend/head-text.js";
import { listenForMetrics } from "../frontend/metrics-server.js";
import { observe } from "../frontend/observe.js";
import { type GatewayHooks, RingGateway } from "../frontend/ring-gateway.js";
import { type Listening, listen, makeFrontends, plainKinds } from "../frontend/server.js";
import { assert } from "../lib/assert.js";
import { systemReason } from "../lib/errors.js";
import { AuditFile } from "../log/audit-file.js";
import { createLogger, type Logger, logReopenings, reopenLogFiles } from "../log/logger.js";
import type { LocalHandler } from "../messages/local.js";
import {
  CORE_PART,
  createTopology,
  FIRST_FRONTEND_PART,
  type MemberIdentity,
  type Topology,
  type WorkerInput,
} from "../messages/topology.js";
import { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { flushCompileCache } from "../process/compile-cache.js";
import { checkFileDescriptorLimit } from "../process/descriptors.js";
import { tuneGarbageCollection } from "../process/heap.js";
import { notifySupervisor } from "../process/notify.js";
import { Bell } from "../ring/bell.js";
import { RingReader, RingWriter } from "../ring/ring.js";
import { removeUnfinished } from "../snap/saved-files.js";
import { hasBegun } from "../wal/data-dir.js";
import { planFirstStart } from "./first-start.js";
import { FrontendWorkers } from "./frontend-workers.js";
import { authGuard } from "./guard.js";
import { debugVarsHandler } from "./local.js";
import { runPool } from "./pool.js";
import { gatewayMetrics } from "./port-metrics.js";
import { Probes } from "./probes.js";
import { Profiles } from "./profiles.js";
import { type Closable, exitFailed, stopOnSignals } from "./shutdown.js";
import {
  failFast,
  seenLater,
  startFrontends,
  startTlsFrontend,
  startWorker,
  whenFailed,
  whenSaid,
} from "./workers.js";

const AUTH_ENABLED = cellOf("authEnabled");
const AUDIT_FAILURES = cellOf("auditFailures");

interface Local {
  handler: LocalHandler;
  profiles: LocalHandler;
  /** Resolves when they are set. */
  readonly known: Promise<void>;
  readonly onKnown: () => void;
}

/** Created before any other thread runs. */
interface Base {
  readonly config: Config;
  readonly topology: Topology;
  readonly log: Logger;
  readonly metrics: MetricCells;
  readonly gateway: RingGateway;
  readonly heads: HeadText;
  /** All listeners; closed when the process ends. */
  readonly frontends: Closable[];
  /** What is answered without the core; set once it is known who this member is. */
  readonly local: Local;
  readonly probes: Probes;
}

/**
 * Runs a member until the process is told to stop. The order of a start:
 *
 *   1. bind       all ports, peer and client; early connections wait
 *   2. plan       a first start only; may ask other members
 *   3. recover    wal replays the disk, core restores from it
 *   4. publish    core runs raft and commits this member's name and URLs
 *   5. serve      waiting connections; other frontends start to listen
 *
 * Each wait is a race against the failure of all threads started so far, as a thread that failed
 * never sends the awaited message. A start that loses throws the thread's reason.
 *
 * @throws RingdError for an operator to fix: port in use, data directory locked or damaged
 */
export async function start(config: Config): Promise<void> {
  const base = makeBase(config);
  const { topology, log, gateway, heads, frontends, local, probes } = base;
  reopenLogsOnSignal(topology, log);
  for (const warning of config.warnings) log.warn(warning);
  checkFileDescriptorLimit();

  // Bind every port before writing to disk or asking other members: a port in use must not leave
  // behind a data directory or a registered member.
  const peer = startWorker("peer", { config, topology, plan: undefined });
  const peerFailed = whenFailed({ peer });
  // With a log there is nothing to plan: core and wal load their code while the ports are bound.
  const early = hasBegun(config.dataDir, config.walDir || undefined)
    ? startLogThreads({ config, topology, plan: undefined })
    : undefined;
  const bound = await bindPorts(base, peerFailed, whenSaid("ready", [peer]));
  const { endpoints, tls } = bound;

  const plan = await planFirstStart(config, log).catch(async (error: unknown) => {
    // The caller may use the ports for a proxy.
    for (const frontend of frontends) await frontend.close();
    await peer.terminate();
    throw error;
  });
  assert(early === undefined || plan === undefined, "a member with a log needs no plan");
  const { core, wal, failed: logFailed } = early ?? startLogThreads({ config, topology, plan });
  wal.postMessage("begin");
  // Watched from here to the end of the process. A thread that failed before is not missed: its
  // promise stays rejected and decides the next race.
  const failed = seenLater(Promise.race([peerFailed, logFailed, runPool(config, topology)]));

  // Subscribe before the core can send it: worker messages are events, lost without a listener.
  const published = whenSaid("published", [core]);
  const { identity } = await Promise.race([failed, whenSaid("recovered", [core])]);
  removeUnfinishedSnapshots(config, log); // Now that the data directory is locked.
  peer.postMessage(identity);
  heads.setClusterId(identity.clusterId);
  const profiles = new Profiles(config, topology, { core, wal, peer });
  profiles.add(tls.workers);
  const debugVars = debugVarsHandler(config, topology, formatId(identity.memberId));
  local.profiles = (request) => profiles.handle(request);
  local.handler = (request) =>
    probes.handle(request) ?? profiles.handleOfClient(request) ?? debugVars(request);
  local.onKnown();
  gateway.start();
  probes.recovered();
  // A signal before this kills the process, harmlessly: no client was served yet.
  stopOnSignals({ log, gateway, frontends, workers: [wal, core, peer] });

  // Waits as long as the cluster has no quorum.
  const { news } = await Promise.race([failed, published]);
  gateway.serve();
  tls.frontends.serve(identity);
  for (const line of bound.news) log.info(line);
  for (const { text } of config.listenMetricsUrls) log.info(`serving metrics on ${text}`);
  if (endpoints.length > 0 && config.frontendThreads > 1) {
    await serveOnMoreThreads(base, identity, endpoints, failed, profiles);
  }
  // Only from here: earlier failures throw, and the caller reports them.
  failFast(log, failed, frontends);
  flushCompileCache(); // Before the flags change: V8 takes code of equal flags only.
  tuneGarbageCollection();
  for (const line of news) log.info(line);
  log.info("ready to serve client requests");
  notifySupervisor("READY=1", log);
}

/** What an earlier process left in the directory of --snapshot-interval. */
function removeUnfinishedSnapshots({ savedSnapshots }: Config, log: Logger): void {
  const { intervalMs, dir, makesDir } = savedSnapshots;
  if (intervalMs === 0 || (makesDir && !existsSync(dir))) return;
  try {
    removeUnfinished(dir);
  } catch (error) {
    log.warn({ reason: systemReason(error) }, `cannot read --snapshot-dir ${dir}`);
  }
}

/** The core waits for the wal thread, and that for a message: before, neither touches the disk. */
function startLogThreads(input: WorkerInput): {
  readonly core: Worker;
  readonly wal: Worker;
  readonly failed: Promise<never>;
} {
  const core = startWorker("core", input); // Before wal: it loads the most code.
  const wal = startWorker("wal", input);
  return { core, wal, failed: whenFailed({ wal, core }) };
}

/** SIGHUP, as logrotate sends it; from a terminal that closes, it ends the process. */
function reopenLogsOnSignal(topology: Topology, log: Logger): void {
  if (process.stdin.isTTY) return;
  process.on("SIGHUP", () => {
    reopenLogFiles(topology.logLevel);
    log.info("received signal SIGHUP; log files are opened again");
  });
}

function makeBase(config: Config): Base {
  const topology = createTopology(config);
  const metrics = new MetricCells(topology.metrics, FIRST_FRONTEND_PART);
  // Until the member has read its log; the probes are answered from the first moment.
  let onKnown: () => void = () => undefined;
  const known = new Promise<void>((resolve) => {
    onKnown = resolve;
  });
  const local: Local = {
    handler: (request) => probes.handle(request),
    profiles: () => undefined,
    ...{ known, onKnown },
  };
  const log = createLogger(config.log, "main", topology.logLevel);
  const hooks: GatewayHooks = {
    local: (request) => local.handler(request),
    guard: authGuard(config, topology),
    onAudit: openAuditLog(config, topology, log, metrics),
  };
  // Until the core knows better: what needs root while authentication is enabled waits for it.
  new MetricCells(topology.metrics, CORE_PART).set(AUTH_ENABLED, 1);
  const gateway = mainGateway(topology, hooks, metrics);
  gateway.holdRequests();
  const probes = new Probes(topology, gateway);
  return {
    config,
    topology,
    log,
    metrics,
    gateway,
    heads: new HeadText(0n, config.corsOrigins),
    frontends: [],
    local,
    probes,
  };
}

/** @returns what takes its lines @throws LogOutputError */
function openAuditLog(
  { auditLog }: Config,
  topology: Topology,
  log: Logger,
  metrics: MetricCells,
): (line: string) => void {
  if (auditLog === "") return () => undefined;
  const file = new AuditFile(auditLog, {
    onFailure: (lines, reason) => {
      metrics.add(AUDIT_FAILURES, lines);
      log.warn({ reason }, "cannot write audit log");
    },
    soon: setImmediate,
    reopenings: () => logReopenings(topology.logLevel),
  });
  process.once("exit", () => file.flush());
  return (line) => file.write(line);
}

function mainGateway(topology: Topology, hooks: GatewayHooks, metrics: MetricCells): RingGateway {
  const [memory] = topology.frontends;
  assert(memory !== undefined, "the main thread is a frontend");
  const coreBell = new Bell(topology.coreBell);
  return new RingGateway(
    new RingWriter(memory.requests, coreBell),
    new RingReader(memory.responses, coreBell),
    new Bell(memory.bell),
    hooks,
    gatewayMetrics(metrics, "main"),
  );
}

interface Bound extends Listening {
  /** The thread of the ports with TLS; without any, nothing. */
  readonly tls: {
    readonly workers: Readonly<Record<string, Worker>>;
    readonly frontends: FrontendWorkers;
  };
}

/**
 * Peer thread and TLS thread bind their ports while this thread loads the frontends' code.
 *
 * @throws ListenError
 */
async function bindPorts(
  base: Base,
  peerFailed: Promise<never>,
  peerReady: Promise<unknown>,
): Promise<Bound> {
  const { config, topology, gateway, heads, log, metrics, frontends, local } = base;
  const workers = startTlsFrontend({ config, topology });
  const open = async () => {
    const observed = await observe(gateway, config, 0, log, metrics);
    const close = async () => void (await observed.close());
    frontends.push({ stopListening: () => undefined, close });
    return await makeFrontends(
      ...([plainKinds(config), config, observed.gateway, heads, log, metrics] as const),
    );
  };
  const [, , made] = await Promise.race([
    peerFailed,
    whenFailed(workers),
    Promise.all([peerReady, whenSaid("ready", Object.values(workers)), open()]),
  ]);
  const tls = new FrontendWorkers(
    workers,
    // It holds no such request back itself, as this thread does until it serves.
    (request) => local.handler(request) ?? local.known.then(() => local.handler(request)),
    (name) => onFrontendDeath(base, name),
  );
  frontends.push(tls);
  const bound = await listen(made, config, log);
  frontends.push(...made.all);
  const metricsFrontend = await listenForMetrics(
    config,
    gateway,
    (request) => local.profiles(request),
    log,
    metrics,
  );
  if (metricsFrontend !== undefined) frontends.push(metricsFrontend);
  return { ...bound, tls: { workers, frontends: tls } };
}

function onFrontendDeath({ log, frontends }: Base, name: string): void {
  log.fatal(`the ${name} thread ended unexpectedly`);
  exitFailed(frontends);
}

async function serveOnMoreThreads(
  base: Base,
  identity: MemberIdentity,
  endpoints: Awaited<ReturnType<typeof listen>>["endpoints"],
  failed: Promise<never>,
  profiles: Profiles,
): Promise<void> {
  const { config, topology, frontends, local } = base;
  const workers = startFrontends({ config, topology, identity, endpoints });
  profiles.add(workers);
  // Not part of `failed`: told to close, these end without a word, which is not a failure then.
  const onDeath = (name: string) => onFrontendDeath(base, name);
  frontends.push(new FrontendWorkers(workers, local.handler, onDeath));
  await Promise.race([failed, whenFailed(workers), whenSaid("ready", Object.values(workers))]);
}
