import { readdirSync } from "node:fs";
import { formatId } from "../cluster/ids.js";
import type { Config, LogLevel } from "../config/config.js";
import { setLogLevel } from "../log/logger.js";
import type { LocalHandler, LocalRequest, LocalResponse } from "../messages/local.js";
import {
  APPEND_RING_BYTES,
  CORE_PART,
  DURABLE_RING_BYTES,
  JOBS_RING_BYTES,
  OUTCOMES_RING_BYTES,
  PEER_RING_BYTES,
  REQUESTS_RING_BYTES,
  RESPONSES_RING_BYTES,
  type Topology,
} from "../messages/topology.js";
import { MetricCells } from "../metrics/cells.js";
import { cellOf, idCellOf, idCellOfSlot, PEER_SLOTS, slotCellOf } from "../metrics/families.js";
import type { MetricsRegistry } from "../metrics/registry.js";
import { unpackVersion } from "../metrics/version-id.js";
import { fileDescriptorLimit } from "../process/descriptors.js";
import { ringDepthBytes } from "../ring/ring.js";
import {
  handleDebugVars,
  handleLogLevel,
  isServedByFrontend,
  metricsResponse,
} from "../v2/local.js";
import { type ApiResponse, NOT_FOUND } from "../v2/plain.js";
import { isProbePath } from "../v2/probes.js";
import type { ApiRequest } from "../v2/request.js";
import { COMPAT_VERSION } from "../v2/status.js";
import { WRITER } from "../wal/segment.js";

const TERM = cellOf("raftTerm");
const ROLE = cellOf("raftRole");
const LAST = cellOf("raftLastIndex");
const LEADER = 2;
const LEAD = idCellOf("lead");
const VOTE = idCellOf("vote");
const CLUSTER_VERSION = idCellOf("clusterVersion");
const COMMITTED = cellOf("proposalsCommitted");
const APPLIED = cellOf("proposalsApplied");

/** etcd raft's names, indexed by `ringd_raft_role`. */
const RAFT_STATES = ["StateFollower", "StateCandidate", "StateLeader", "StatePreCandidate"];
/** Indexed by `ringd_raft_peer_state`. */
const PROGRESS_STATES = ["StateProbe", "StateReplicate", "StateSnapshot"];

/** Whether the main thread serves this path without the core. */
export function isLocalPath(path: string): boolean {
  return isServedByFrontend(path) || isProbePath(path);
}

/** Serves the paths that need no store: metrics, debug variables, log level. */
export function debugVarsHandler(config: Config, topology: Topology, id: string): LocalHandler {
  let registry: Promise<MetricsRegistry> | undefined;
  return (request) => {
    switch (request.path) {
      case "/metrics":
        registry ??= makeRegistry(config, topology, id).catch((error: unknown) => {
          registry = undefined; // The next scrape tries again.
          throw error;
        });
        return registry
          .then((made) => made.render())
          .then((text) => toLocal(metricsResponse(text)));
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

/** Lazily, with the first scrape: prom-client loads more code than the rest of this thread. */
async function makeRegistry(
  { metricsLevel }: Config,
  topology: Topology,
  id: string,
): Promise<MetricsRegistry> {
  const { MetricsRegistry } = await import("../metrics/registry.js");
  const core = new MetricCells(topology.metrics, CORE_PART);
  const sample = () => ({
    memberId: id,
    serverVersion: COMPAT_VERSION,
    ringdVersion: WRITER,
    clusterVersion: unpackVersion(core.getId(CLUSTER_VERSION)),
    rings: ringSamples(topology),
    openFiles: openFiles(),
    openFilesMax: fileDescriptorLimit(),
  });
  return new MetricsRegistry(topology.metrics, sample, metricsLevel === "extensive");
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
      vote: formatId(core.getId(VOTE)),
      lead: formatId(core.getId(LEAD)),
      term: core.get(TERM),
      commit: core.get(COMMITTED),
      applied: core.get(APPLIED),
      raftState: RAFT_STATES[core.get(ROLE)] ?? "StateFollower",
      progress: progress(core, id),
    },
  };
}

/** Raft progress by member as the core last reported it, itself included; empty unless it leads. */
function progress(core: MetricCells, id: string) {
  const all = new Map<string, { match: number; next: number; state: string }>();
  if (core.get(ROLE) !== LEADER) return all;
  const last = core.get(LAST);
  all.set(id, { match: last, next: last + 1, state: "StateReplicate" });
  for (let slot = 0; slot < PEER_SLOTS; slot++) {
    const peer = core.getId(idCellOfSlot("progress", slot));
    if (peer === 0n) continue;
    const state = core.get(slotCellOf("peerState", slot));
    all.set(formatId(peer), {
      match: core.get(slotCellOf("peerMatch", slot)),
      next: core.get(slotCellOf("peerNext", slot)),
      state: PROGRESS_STATES[state] ?? "",
    });
  }
  return all;
}

/** -1 where the system does not report it. */
function openFiles(): number {
  try {
    return readdirSync("/proc/self/fd").length - 1; // Less the descriptor of this listing.
  } catch {
    return -1;
  }
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
      sample(`answers${i}`, frontend.responses, RESPONSES_RING_BYTES),
    ]),
    sample("append", topology.append, APPEND_RING_BYTES),
    sample("durable", topology.durable, DURABLE_RING_BYTES),
    sample("outbox", topology.outbox, PEER_RING_BYTES),
    sample("inbox", topology.inbox, PEER_RING_BYTES),
    sample("jobs", topology.jobs, JOBS_RING_BYTES),
    sample("outcomes", topology.outcomes, OUTCOMES_RING_BYTES),
  ];
}

export function toApi(request: LocalRequest): ApiRequest {
  return {
    method: request.method,
    path: request.path,
    query: request.query,
    contentType: "",
    authorization: "",
    commonName: "",
    remote: "",
    body: Buffer.from(request.body ?? new Uint8Array(0)),
    isBodyTooLarge: false,
  };
}

export function toLocal({ head, body }: ApiResponse): LocalResponse {
  return { status: head.status, contentKind: head.contentKind, body, allow: head.allow };
}
