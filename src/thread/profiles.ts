import { setTimeout as wait } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import type { Config } from "../config/config.js";
import { assert } from "../lib/assert.js";
import type { LocalRequest, LocalResponse } from "../messages/local.js";
import {
  CORE_PART,
  FIRST_FRONTEND_PART,
  PEER_PART,
  type Topology,
  WAL_PART,
  type WorkerMessage,
} from "../messages/topology.js";
import { orderProfile, ProfileKind, Profiler } from "../process/profiler.js";
import { Bell } from "../ring/bell.js";
import { Method } from "../v2/request.js";
import { ContentKind } from "../v2/response.js";

const PREFIX = "/debug/pprof/";
const SECONDS_MAX = 300;
/** As in Go's net/http/pprof. */
const CPU_SECONDS = 30;
const HEAP_SECONDS = 10;
/** How long a thread may take to report a profile after its end. */
const REPORT_MS = 10_000;

const KINDS: ReadonlyMap<string, { kind: ProfileKind; seconds: number }> = new Map([
  ["profile", { kind: ProfileKind.cpu, seconds: CPU_SECONDS }],
  ["heap", { kind: ProfileKind.heap, seconds: HEAP_SECONDS }],
]);

/** The part of a thread's metrics, and of its profile cell. */
const PARTS: Readonly<Record<string, number>> = {
  core: CORE_PART,
  wal: WAL_PART,
  peer: PEER_PART,
};

/** The bell of a thread that sleeps on it rather than in an event loop. */
function bellOf(name: string, { coreBell, walBell }: Topology): Bell | undefined {
  if (name === "core") return new Bell(coreBell);
  return name === "wal" ? new Bell(walBell) : undefined;
}

/** A thread that can be profiled. */
interface Profiled {
  /** @returns the profile as JSON; "" if the thread reported none */
  profile(kind: ProfileKind, ms: number): Promise<string>;
}

/**
 * `GET /debug/pprof/profile?seconds=30&thread=core` and `/debug/pprof/heap`: profiles for Chrome
 * DevTools where etcd has Go's, with `--enable-pprof`. They are served on the metrics listener, or,
 * without one, on the client URLs. One at a time.
 */
export class Profiles {
  readonly #config: Config;
  readonly #topology: Topology;
  readonly #threads = new Map<string, Profiled>();
  #isRunning = false;

  /** @param workers by name; the first is the default */
  constructor(config: Config, topology: Topology, workers: Readonly<Record<string, Worker>>) {
    this.#config = config;
    this.#topology = topology;
    this.add(workers);
    this.#threads.set("main", new OwnThread());
  }

  add(workers: Readonly<Record<string, Worker>>): void {
    for (const [name, worker] of Object.entries(workers)) {
      const part = PARTS[name] ?? FIRST_FRONTEND_PART + Number(name.replace("frontend", ""));
      assert(Number.isInteger(part), "a thread has a part of its own");
      this.#threads.set(name, new WorkerThread(this.#topology, name, part, worker));
    }
  }

  /** On the client URLs. @returns undefined for another path */
  handleOfClient(request: LocalRequest): LocalResponse | Promise<LocalResponse> | undefined {
    if (!isPprofPath(request.path)) return undefined;
    const { enablePprof, listenMetricsUrls } = this.#config;
    if (!enablePprof || listenMetricsUrls.length === 0) return this.handle(request);
    return text(404, "profiles are served on --listen-metrics-urls");
  }

  /** @returns undefined for another path */
  handle(request: LocalRequest): LocalResponse | Promise<LocalResponse> | undefined {
    if (!isPprofPath(request.path)) return undefined;
    if (!this.#config.enablePprof) {
      return text(404, "profiling is off; start the member with --enable-pprof");
    }
    const asked = parse(request, this.#threads);
    if (typeof asked === "string") return text(request.method === Method.get ? 400 : 405, asked);
    if (asked === undefined) return text(200, usage(this.#threads));
    if (this.#isRunning) return text(429, "another profile is being taken; try again later");
    this.#isRunning = true;
    const { thread, kind, seconds } = asked;
    return take(thread, kind, seconds * 1000).finally(() => {
      this.#isRunning = false;
    });
  }
}

export function isPprofPath(path: string): boolean {
  return path.startsWith(PREFIX) || path === PREFIX.slice(0, -1);
}

/** Makes its profile itself, when it next looks at its cell. */
class WorkerThread implements Profiled {
  readonly #cells: SharedArrayBuffer;
  readonly #bell: Bell | undefined;
  readonly #part: number;
  readonly #worker: Worker;

  constructor(topology: Topology, name: string, part: number, worker: Worker) {
    this.#cells = topology.profiles;
    this.#bell = bellOf(name, topology);
    this.#part = part;
    this.#worker = worker;
  }

  async profile(kind: ProfileKind, ms: number): Promise<string> {
    const order = orderProfile(this.#cells, this.#part, kind, ms);
    this.#bell?.ring();
    let onMessage: (message: WorkerMessage) => void = () => undefined;
    const report = new Promise<string>((resolve) => {
      onMessage = (message) => {
        if (message.kind === "profile" && message.order === order) resolve(message.json);
      };
      this.#worker.on("message", onMessage);
    });
    try {
      await Promise.race([report, wait(ms)]);
      this.#bell?.ring(); // It ends the profile when it next looks.
      return await Promise.race([report, wait(REPORT_MS, "", { ref: false })]);
    } finally {
      this.#worker.off("message", onMessage);
    }
  }
}

/** The thread that this runs in. */
class OwnThread implements Profiled {
  async profile(kind: ProfileKind, ms: number): Promise<string> {
    const profiler = new Profiler(kind);
    await wait(ms);
    return profiler.stop();
  }
}

async function take(thread: Profiled, kind: ProfileKind, ms: number): Promise<LocalResponse> {
  const profile = await thread.profile(kind, ms);
  if (profile === "") return text(503, "the thread reported no profile");
  return { status: 200, contentKind: ContentKind.json, body: profile };
}

interface Asked {
  readonly thread: Profiled;
  readonly kind: ProfileKind;
  readonly seconds: number;
}

/** @returns undefined for the index, or what is wrong */
function parse(
  { method, path, query }: LocalRequest,
  threads: ReadonlyMap<string, Profiled>,
): Asked | string | undefined {
  if (method !== Method.get) return "profiles are read by GET";
  const name = path.slice(PREFIX.length);
  if (name === "") return undefined;
  const found = KINDS.get(name);
  if (found === undefined) return `no profile "${name}": use ${[...KINDS.keys()].join(" or ")}`;
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
