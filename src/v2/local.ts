import { parseScanned, scanJson } from "../go/json-scanner.js";
import { goJsonStrings } from "../go/text.js";
import { type ApiResponse, messageResponse, plainResponse, refuseMethod } from "./plain.js";
import { type ApiRequest, Method } from "./request.js";
import { ContentKind } from "./response.js";

/**
 * Whether the main thread serves this path without the core.
 *
 * @param path as sent: what is percent-encoded is the core's
 */
export function isServedByFrontend(path: string): boolean {
  return path === "/metrics" || path === "/config/local/log" || path.startsWith("/debug/");
}

/** `/metrics` accepts any method, like promhttp. */
export function metricsResponse(text: string): ApiResponse {
  return plainResponse(200, ContentKind.metrics, text);
}

/** Variables shown by `/debug/vars`. */
export interface DebugVars {
  readonly commandLine: readonly string[];
  readonly fileDescriptorLimit: number;
  readonly memory: {
    readonly rssBytes: number;
    readonly heapTotalBytes: number;
    readonly heapUsedBytes: number;
    readonly externalBytes: number;
    readonly arrayBuffersBytes: number;
  };
  readonly raft: {
    /** Ids in hex. */
    readonly id: string;
    readonly vote: string;
    readonly lead: string;
    readonly term: number;
    readonly commit: number;
    readonly applied: number;
    readonly raftState: string;
    /** By member id in hex; empty unless this member leads. */
    readonly progress: ReadonlyMap<string, { match: number; next: number; state: string }>;
  };
}

/** `GET /debug/vars`: four variables in the layout of Go's expvar, one per line. */
export function handleDebugVars(request: ApiRequest, vars: DebugVars): ApiResponse {
  const refusal = refuseMethod(request.method, [Method.get]);
  if (refusal !== undefined) return refusal;
  const { raft, memory } = vars;
  const progress = [...raft.progress]
    .map(([id, at]) => `"${id}":{"match":${at.match},"next":${at.next},"state":"${at.state}"}`)
    .join(",");
  // Go's runtime.MemStats names where there is a counterpart, for existing dashboards.
  const memstats =
    `{"Alloc":${memory.heapUsedBytes},"Sys":${memory.rssBytes},"HeapAlloc":${memory.heapUsedBytes}` +
    `,"HeapSys":${memory.heapTotalBytes},"External":${memory.externalBytes}` +
    `,"ArrayBuffers":${memory.arrayBuffersBytes}}`;
  const status =
    `{"id":"${raft.id}","term":${raft.term},"vote":"${raft.vote}","commit":${raft.commit}` +
    `,"lead":"${raft.lead}","raftState":"${raft.raftState}","applied":${raft.applied}` +
    `,"progress":{${progress}},"leadtransferee":"0"}`;
  const lines = [
    `"cmdline": ${goJsonStrings(vars.commandLine)}`,
    `"file_descriptor_limit": ${vars.fileDescriptorLimit}`,
    `"memstats": ${memstats}`,
    `"raft.status": ${status}`,
  ];
  return plainResponse(200, ContentKind.jsonUtf8, `{\n${lines.join(",\n")}\n}\n`);
}

/** The logger's names of the levels. */
export type RequestedLogLevel = "fatal" | "error" | "warn" | "info" | "debug" | "trace";

/** etcd's level names (capnslog), in capitals, mapped to our logger's. */
const LOG_LEVELS: ReadonlyMap<string, RequestedLogLevel> = new Map([
  ["CRITICAL", "fatal"],
  ["C", "fatal"],
  ["ERROR", "error"],
  ["0", "error"],
  ["E", "error"],
  ["WARNING", "warn"],
  ["1", "warn"],
  ["W", "warn"],
  ["NOTICE", "info"],
  ["2", "info"],
  ["N", "info"],
  ["INFO", "info"],
  ["3", "info"],
  ["I", "info"],
  ["DEBUG", "debug"],
  ["4", "debug"],
  ["D", "debug"],
  ["TRACE", "trace"],
  ["5", "trace"],
  ["T", "trace"],
]);

/** The response and the new log level; undefined keeps the level. */
export interface LogLevelOutcome {
  readonly answer: ApiResponse;
  readonly level: RequestedLogLevel | undefined;
}

/** `PUT /config/local/log` with `{"Level":"DEBUG"}`; bytes after the JSON value are ignored. */
export function handleLogLevel(request: ApiRequest): LogLevelOutcome {
  const refusal = refuseMethod(request.method, [Method.put]);
  if (refusal !== undefined) return { answer: refusal, level: undefined };
  const name = readLevelName(request.body);
  if (name === undefined) {
    return {
      answer: messageResponse(400, "Invalid json body"),
      level: undefined,
    };
  }
  const level = LOG_LEVELS.get(name.toUpperCase());
  const answer =
    level === undefined
      ? messageResponse(400, `Invalid log level ${name}`)
      : plainResponse(204, ContentKind.none, "");
  return { answer, level };
}

/** Parsed, a longer body could take twenty times its length. */
const LEVEL_BODY_BYTES_MAX = 64 * 1024;

function readLevelName(body: Buffer): string | undefined {
  if (body.length > LEVEL_BODY_BYTES_MAX) return undefined;
  const scan = scanJson(body, "prefix");
  if (scan.kind === "invalid") return undefined;
  const value = parseScanned(body, scan);
  if (value === null) return "";
  if (typeof value !== "object" || Array.isArray(value)) return undefined;
  let name = "";
  for (const [key, field] of Object.entries(value)) {
    if (key.toUpperCase() !== "LEVEL" || field === null) continue;
    if (typeof field !== "string") return undefined;
    name = field;
  }
  return name;
}
