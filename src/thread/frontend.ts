import { parentPort, workerData } from "node:worker_threads";
import type { Frontend } from "../frontend/frontend.js";
import { HeadText } from "../frontend/head-text.js";
import { type Observed, observe } from "../frontend/observe.js";
import { RingGateway } from "../frontend/ring-gateway.js";
import { joinFrontend, listenSecurely } from "../frontend/server.js";
import { assert, unreachable } from "../lib/assert.js";
import { RingdError } from "../lib/errors.js";
import { createLogger } from "../log/logger.js";
import type { LocalRequest, LocalResponse } from "../messages/local.js";
import {
  FIRST_FRONTEND_PART,
  type FrontendInput,
  type FrontendMessage,
  type FrontendOrder,
  type MemberIdentity,
} from "../messages/topology.js";
import { MetricCells } from "../metrics/cells.js";
import { ProfiledThread } from "../process/profiler.js";
import { Pulse } from "../process/pulse.js";
import { Bell } from "../ring/bell.js";
import { RingReader, RingWriter } from "../ring/ring.js";
import { authGuard } from "./guard.js";
import { isLocalPath } from "./local.js";
import { gatewayMetrics } from "./port-metrics.js";

/**
 * A further thread that serves clients: on the main thread's ports, or on those with TLS. Local
 * paths are forwarded to the main thread, so that the process has one set of metrics.
 */

const { config, topology, identity, frontend: number, endpoints } = workerData as FrontendInput;
const log = createLogger(config.log, `frontend${number}`, topology.logLevel);
const metrics = new MetricCells(topology.metrics, FIRST_FRONTEND_PART + number);
const questions = new Map<number, (answer: LocalResponse) => void>();
let asked = 0;

function tellMain(message: FrontendMessage): void {
  parentPort?.postMessage(message);
}

function askMain(request: LocalRequest): Promise<LocalResponse> | undefined {
  if (!isLocalPath(request.path)) return undefined;
  const id = asked++;
  tellMain({ kind: "ask", id, request });
  return new Promise((resolve) => questions.set(id, resolve));
}

function openGateway(): RingGateway {
  const memory = topology.frontends[number];
  assert(memory !== undefined, "the frontend has its rings");
  const coreBell = new Bell(topology.coreBell);
  return new RingGateway(
    new RingWriter(memory.requests, coreBell),
    new RingReader(memory.responses, coreBell),
    new Bell(memory.bell),
    // Without an identity it serves the ports with TLS, by the node frontend.
    { local: askMain, guard: authGuard(config, topology), joinsEvents: identity === undefined },
    gatewayMetrics(metrics, "frontend"),
  );
}

/** Node aborts if a thread ends with open handles of uWebSockets.js. */
async function close(gateway: RingGateway, { frontend, observed }: Serving): Promise<void> {
  gateway.close();
  frontend.stopListening();
  frontend.close();
  const isDone = await observed.close();
  parentPort?.close(); // The last handle that keeps the event loop alive.
  // But for traces on their way to a collector that does not respond.
  if (!isDone) process.exit();
}

async function main(): Promise<void> {
  const gateway = openGateway();
  const observed = await observe(gateway, config, number, log, metrics);
  const serving =
    identity === undefined
      ? await bindSecurely(gateway, observed)
      : await join(gateway, observed, identity);
  const { frontend } = serving;
  // A thread that crashes with open handles would hang instead of ending.
  process.on("uncaughtException", (error) => {
    log.fatal({ err: error }, `thread crashed: frontend${number}`);
    void close(gateway, serving);
  });
  parentPort?.on("message", (order: FrontendOrder) => {
    switch (order.kind) {
      case "serve":
        serving.serve(order.identity);
        return;
      case "stopListening":
        frontend.stopListening();
        return;
      case "close":
        // One more turn flushes the last responses.
        setImmediate(() => void close(gateway, serving));
        return;
      case "answer":
        questions.get(order.id)?.(order.answer);
        questions.delete(order.id);
        return;
      default:
        unreachable(order);
    }
  });
  if (config.enablePprof) {
    new ProfiledThread(topology.profiles, FIRST_FRONTEND_PART + number, tellMain).pollByTimer();
  }
  new Pulse(topology.pulse, FIRST_FRONTEND_PART + number).beatByTimer();
  tellMain({ kind: "ready" });
}

interface Serving {
  readonly frontend: Frontend;
  readonly observed: Observed;
  serve(identity: MemberIdentity): void;
}

/** Serves at once, on ports that the main thread has bound. */
async function join(
  gateway: RingGateway,
  observed: Observed,
  { clusterId }: MemberIdentity,
): Promise<Serving> {
  gateway.start();
  const frontend = await joinFrontend(config, observed.gateway, clusterId, log, metrics, endpoints);
  return { frontend, observed, serve: () => undefined };
}

/** Binds the ports with TLS, where early requests wait until the member is ready. */
async function bindSecurely(gateway: RingGateway, observed: Observed): Promise<Serving> {
  gateway.holdRequests();
  const heads = new HeadText(0n, config.corsOrigins);
  const { frontend, news } = await listenSecurely(config, observed.gateway, heads, log, metrics);
  return {
    frontend,
    observed,
    serve: ({ clusterId }) => {
      heads.setClusterId(clusterId);
      gateway.start();
      gateway.serve();
      for (const line of news) log.info(line);
    },
  };
}

main().catch((error: unknown) => {
  if (!(error instanceof RingdError)) throw error;
  tellMain({ kind: "failed", code: error.code, message: error.message });
});
