import { setTimeout as wait } from "node:timers/promises";
import type { LocalHandler, LocalRequest, LocalResponse } from "../messages/local.js";
import { ProfileKind } from "../process/profiler.js";
import { Method } from "../v2/request.js";
import { ContentKind } from "../v2/response.js";

const PREFIX = "/debug/pprof/";
const SECONDS_MAX = 300;
/** As in Go's net/http/pprof. */
const CPU_SECONDS = 30;
const HEAP_SECONDS = 10;
/** Timeout for a thread's report, after the profile's end. */
const REPORT_MS = 10_000;

const KINDS: Readonly<Record<string, { kind: ProfileKind; seconds: number }>> = {
  profile: { kind: ProfileKind.cpu, seconds: CPU_SECONDS },
  heap: { kind: ProfileKind.heap, seconds: HEAP_SECONDS },
};

/** A thread that can be profiled. */
export interface Profiled {
  /** Sets the kind wanted; `none` ends the profile. */
  readonly order: (kind: ProfileKind) => void;
  /** Resolves with the next profile that the thread reports, as JSON. */
  readonly report: () => Promise<string>;
}

/**
 * `GET /debug/pprof/profile?seconds=30&thread=core` and `/debug/pprof/heap`: profiles for Chrome
 * DevTools, where etcd has Go's. One at a time.
 *
 * @param threads by name; the first is the default
 */
export function profilesHandler(threads: ReadonlyMap<string, Profiled>): LocalHandler {
  let isRunning = false;
  return (request) => {
    if (!isPprofPath(request.path)) return undefined;
    const asked = parse(request, threads);
    if (typeof asked === "string") return text(request.method === Method.get ? 400 : 405, asked);
    if (asked === undefined) return text(200, usage(threads));
    if (isRunning) return text(429, "another profile is in progress; try again later");
    isRunning = true;
    const { thread, kind, seconds } = asked;
    return take(thread, kind, seconds * 1000).finally(() => {
      isRunning = false;
    });
  };
}

export function isPprofPath(path: string): boolean {
  return path.startsWith(PREFIX) || path === PREFIX.slice(0, -1);
}

/** The response while profiling is disabled. */
export function profilesOff(why: string): LocalResponse {
  return text(404, why);
}

async function take(thread: Profiled, kind: ProfileKind, ms: number): Promise<LocalResponse> {
  const report = thread.report();
  thread.order(kind);
  await wait(ms);
  thread.order(ProfileKind.none);
  const timeout = new AbortController();
  const profile = await Promise.race([
    report,
    wait(REPORT_MS, "", { signal: timeout.signal, ref: false }).catch(() => ""),
  ]);
  timeout.abort();
  if (profile === "") return text(503, "the thread returned no profile");
  return { status: 200, contentKind: ContentKind.json, body: profile };
}

interface Asked {
  readonly thread: Profiled;
  readonly kind: ProfileKind;
  readonly seconds: number;
}

/** @returns undefined for the index, or the error text */
function parse(
  { method, path, query }: LocalRequest,
  threads: ReadonlyMap<string, Profiled>,
): Asked | string | undefined {
  if (method !== Method.get) return "profiles are served for GET only";
  const name = path.slice(PREFIX.length);
  if (name === "") return undefined;
  const found = KINDS[name];
  if (found === undefined) return `no profile "${name}": use ${Object.keys(KINDS).join(" or ")}`;
  const parameters = new URLSearchParams(query);
  const seconds = Number(parameters.get("seconds") ?? found.seconds);
  if (!(seconds > 0 && seconds <= SECONDS_MAX)) {
    return `seconds=${parameters.get("seconds")}: a number above 0, up to ${SECONDS_MAX}`;
  }
  const [first = ""] = threads.keys();
  const threadName = parameters.get("thread") ?? first;
  const thread = threads.get(threadName);
  if (thread === undefined) return `thread=${threadName}: one of ${[...threads.keys()].join(", ")}`;
  return { thread, kind: found.kind, seconds };
}

function usage(threads: ReadonlyMap<string, Profiled>): string {
  return [
    "Profiles for Chrome DevTools, of one thread at a time:",
    `${PREFIX}profile?seconds=${CPU_SECONDS}&thread=NAME  CPU; save as NAME.cpuprofile`,
    `${PREFIX}heap?seconds=${HEAP_SECONDS}&thread=NAME     allocations still alive; save as NAME.heapprofile`,
    `threads: ${[...threads.keys()].join(", ")}`,
  ].join("\n");
}

function text(status: number, message: string): LocalResponse {
  return { status, contentKind: ContentKind.textError, body: `${message}\n` };
}
