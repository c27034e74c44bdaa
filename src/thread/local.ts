import { handleDebugVars, handleLogLevel, metricsAnswer } from "../api/local.js";
import { type Answer, NOT_FOUND } from "../api/plain.js";
import type { ApiRequest } from "../api/request.js";
import { COMPAT_CLUSTER_VERSION, COMPAT_VERSION } from "../api/status.js";
import type { Config, LogLevel } from "../config/config.js";
import type { LocalAnswer, LocalHandler, LocalRequest } from "../frontend/ring-gateway.js";
import { setLogLevel } from "../log/logger.js";
import { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { MetricsRegistry } from "../metrics/registry.js";
import { ringDepthBytes } from "../ring/ring.js";
import { fileDescriptorLimit } from "./descriptors.js";
import {
  ANSWERS_RING_BYTES,
  APPEND_RING_BYTES,
  CORE_PART,
  DURABLE_RING_BYTES,
  REQUESTS_RING_BYTES,
  SNAPSHOT_RING_BYTES,
  type Topology,
} from "./topology.js";

const HAS_LEADER = cellOf("hasLeader");
const COMMITTED = cellOf("proposalsCommitted");
const APPLIED = cellOf("proposalsApplied");

/** Whether the main thread answers this path by itself. */
export function isLocalPath(path: string): boolean {
  return path === "/metrics" || path === "/config/local/log" || path.startsWith("/debug/");
}

/** What the main thread answers by itself: figures and log level, which need no store. */
export function debugVarsHandler(config: Config, topology: Topology, id: string): LocalHandler {
  const registry = new MetricsRegistry(topology.metrics, () => ({
    memberId: id,
    serverVersion: COMPAT_VERSION,
    clusterVersion: COMPAT_CLUSTER_VERSION,
    rings: ringSamples(topology),
  }));
  return (request) => {
    switch (request.path) {
      case "/metrics":
        return registry.render().then((text) => toLocal(metricsAnswer(text)));
      case "/debug/vars":
        return toLocal(handleDebugVars(toApi(request), debugVars(config, topology, id)));
      case "/config/local/log": {
        const { answer, level } = handleLogLevel(toApi(request));
        if (level !== undefined) setLogLevel(topology.logLevel, level as LogLevel);
        return toLocal(answer);
      }
      default:
        return request.path.startsWith("/debug/") ? toLocal(NOT_FOUND) : undefined;
    }
  };
}

function debugVars(config: Config, topology: Topology, id: string) {
  const memory = process.memoryUsage();
  const core = new MetricCells(topology.metrics, CORE_PART);
  return {
    commandLine: ["ringd", ...config.argv],
    fileDescriptorLimit: fileDescriptorLimit(),
    memory: {
      rssBytes: memory.rss,
      heapTotalBytes: memory.heapTotal,
      heapUsedBytes: memory.heapUsed,
      externalBytes: memory.external,
      arrayBuffersBytes: memory.arrayBuffers,
    },
    raft: {
      id,
      vote: id,
      lead: core.get(HAS_LEADER) === 1 ? id : "0",
      term: 0,
      commit: core.get(COMMITTED),
      applied: core.get(APPLIED),
      raftState: core.get(HAS_LEADER) === 1 ? "StateLeader" : "StateFollower",
      progress: new Map(),
    },
  };
}

function ringSamples(topology: Topology) {
  const sample = (ring: string, memory: SharedArrayBuffer, capacityBytes: number) => ({
    ring,
    usedBytes: ringDepthBytes(memory),
    capacityBytes,
  });
  return [
    ...topology.frontends.flatMap((frontend, i) => [
      sample(`requests${i}`, frontend.requests, REQUESTS_RING_BYTES),
      sample(`answers${i}`, frontend.answers, ANSWERS_RING_BYTES),
    ]),
    sample("append", topology.append, APPEND_RING_BYTES),
    sample("durable", topology.durable, DURABLE_RING_BYTES),
    sample("snapshot", topology.snapshot, SNAPSHOT_RING_BYTES),
  ];
}

function toApi(request: LocalRequest): ApiRequest {
  return {
    method: request.method,
    path: request.path,
    query: request.query,
    contentType: "",
    body: Buffer.from(request.body ?? new Uint8Array(0)),
    isBodyTooLarge: false,
  };
}

function toLocal({ head, body }: Answer): LocalAnswer {
  return { status: head.status, contentKind: head.contentKind, body, allow: head.allow };
}
