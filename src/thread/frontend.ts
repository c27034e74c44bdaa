import { parentPort, workerData } from "node:worker_threads";
import type { Frontend } from "../frontend/frontend.js";
import { RingGateway } from "../frontend/ring-gateway.js";
import { joinFrontend } from "../frontend/server.js";
import { assert, unreachable } from "../lib/assert.js";
import { RingdError } from "../lib/errors.js";
import { createLogger } from "../log/logger.js";
import type { LocalResponse } from "../messages/local.js";
import {
  FIRST_FRONTEND_PART,
  type FrontendInput,
  type FrontendMessage,
  type FrontendOrder,
} from "../messages/topology.js";
import { MetricCells } from "../metrics/cells.js";
import { ProfiledThread } from "../process/profiler.js";
import { Pulse } from "../process/pulse.js";
import { Bell } from "../ring/bell.js";
import { RingReader, RingWriter } from "../ring/ring.js";
import { isLocalPath } from "./local.js";
import { gatewayMetrics } from "./port-metrics.js";

/**
 * A further thread that serves clients on the main thread's ports. Local paths are forwarded to the
 * main thread, so that the process has one set of metrics.
 */

const { config, topology, identity, frontend: number, endpoints } = workerData as FrontendInput;
const log = createLogger(config.log, `frontend${number}`, topology.logLevel);
const metrics = new MetricCells(topology.metrics, FIRST_FRONTEND_PART + number);
const questions = new Map<number, (answer: LocalResponse) => void>();
let asked = 0;

function tellMain(message: FrontendMessage): void {
  parentPort?.postMessage(message);
}

function openGateway(): RingGateway {
  const memory = topology.frontends[number];
  assert(memory !== undefined, "the frontend has its rings");
  const coreBell = new Bell(topology.coreBell);
  return new RingGateway(
    new RingWriter(memory.requests, coreBell),
    new RingReader(memory.responses, coreBell),
    new Bell(memory.bell),
    (request) => {
      if (!isLocalPath(request.path)) return undefined;
      const id = asked++;
      tellMain({ kind: "ask", id, request });
      return new Promise((resolve) => questions.set(id, resolve));
    },
    gatewayMetrics(metrics, "frontend"),
  );
}

/** Node aborts if a thread ends with open handles of uWebSockets.js. */
function close(gateway: RingGateway, frontend: Frontend): void {
  gateway.close();
  frontend.stopListening();
  frontend.close();
  parentPort?.close(); // The last handle that keeps the event loop alive.
}

async function main(): Promise<void> {
  const gateway = openGateway();
  gateway.start();
  const frontend = await joinFrontend(config, gateway, identity.clusterId, log, metrics, endpoints);
  // A thread that crashes with open handles would hang instead of ending.
  process.on("uncaughtException", (error) => {
    log.fatal({ err: error }, `thread crashed: frontend${number}`);
    close(gateway, frontend);
  });
  parentPort?.on("message", (order: FrontendOrder) => {
    switch (order.kind) {
      case "stopListening":
        frontend.stopListening();
        return;
      case "close":
        // One more turn flushes the last responses.
        setImmediate(() => close(gateway, frontend));
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

main().catch((error: unknown) => {
  if (!(error instanceof RingdError)) throw error;
  tellMain({ kind: "failed", code: error.code, message: error.message });
});
