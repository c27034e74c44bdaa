import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { fill } from "./lib/client.js";
import { type CpuProfile, selfTimes } from "./lib/cpu-profile.js";
import { run } from "./lib/lifetime.js";
import { applyLoad, LOADS, type Load } from "./lib/load.js";
import { list, number, oneOf } from "./lib/options.js";
import { usageBetween, usageOf } from "./lib/proc.js";
import { MACHINE, say, tell, words } from "./lib/report.js";
import { type BenchServer, probe, startServer } from "./lib/server.js";
import { figure, table } from "./lib/table.js";
import { KEYS, keyPath, VALUE, WORKLOADS, type Workload } from "./lib/workload.js";

/**
 * What does a request cost, by function and thread, and how often does it call the kernel?
 *
 * One member under load, whose threads are profiled in turn. Microseconds are a function's share of
 * its thread's time, divided by the requests of that time.
 */
const USAGE = `Usage: node dist/bench/profile.js [options]

  --workload NAME      of put, get, qget, mix (default put)
  --connections N      (default 256)
  --seconds N          of each thread's profile (default 5)
  --threads LIST       (default main,core,wal)
  --top N              functions of a thread in the table (default 15)
  --load NAME          autocannon or wrk (default autocannon)
  --ringd-flags TEXT   more flags of ringd, separated by blanks
  --out DIR            for the .cpuprofile files (default bench-results)
`;

interface Options {
  readonly workload: Workload;
  readonly connections: number;
  readonly seconds: number;
  readonly threads: readonly string[];
  readonly top: number;
  readonly load: Load;
  readonly ringdFlags: readonly string[];
  readonly out: string;
}

/** Of the load around the profiles: warm-up, and what a profile needs to begin and to arrive. */
const EXTRA_SECONDS = 3;
const STRACE_SECONDS = 3;
/** How long a profile may take to arrive after its end. */
const PROFILE_MS = 15_000;
/** Calls below this number per request are left out of the table. */
const CALLS_MIN = 0.001;

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      help: { type: "boolean" },
      profile: { type: "boolean" },
      workload: { type: "string", default: "put" },
      connections: { type: "string", default: "256" },
      seconds: { type: "string", default: "5" },
      threads: { type: "string", default: "main,core,wal" },
      top: { type: "string", default: "15" },
      load: { type: "string", default: "autocannon" },
      "ringd-flags": { type: "string" },
      out: { type: "string", default: "bench-results" },
    },
  });
  if (values.help) {
    say(USAGE);
    process.exit(0);
  }
  return {
    workload: oneOf("workload", values.workload, WORKLOADS),
    connections: number("connections", values.connections),
    seconds: number("seconds", values.seconds),
    threads: list("threads", values.threads),
    top: number("top", values.top),
    load: oneOf("load", values.load, LOADS),
    ringdFlags: words(values["ringd-flags"]),
    out: values.out,
  };
}

function loadOf({ load, workload, connections }: Options, url: string, seconds: number) {
  return applyLoad({ load, url, authorization: "", workload, connections, seconds });
}

/** The sum of a counter of ringd over its threads. */
async function counterOf({ url }: BenchServer, name: string): Promise<number> {
  const { body = "" } = (await probe(`${url}/metrics`)) ?? {};
  const lines = body.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"));
  return [...lines].reduce((sum, [, value]) => sum + Number(value), 0);
}

async function profileOf(server: BenchServer, thread: string, seconds: number): Promise<string> {
  const path = `/debug/pprof/profile?seconds=${seconds}&thread=${thread}`;
  const { status, body } = (await probe(`${server.url}${path}`, seconds * 1000 + PROFILE_MS)) ?? {};
  if (status !== 200) throw new Error(`Cannot profile ${thread}: ${status} ${body}`);
  return body as string;
}

/** CPU, switches, wake-ups and system calls for each request, without a profile running. */
async function measureCounters(server: BenchServer, options: Options): Promise<void> {
  const before = usageOf(server.pid);
  const wakeUps = await counterOf(server, "ringd_wakeups_total");
  const { requests } = await loadOf(options, server.url, options.seconds);
  const used = usageBetween(before, usageOf(server.pid));
  const woken = (await counterOf(server, "ringd_wakeups_total")) - wakeUps;
  const rows = [
    ["CPU us", figure(used.cpuMicros / requests)],
    ["context switches", (used.contextSwitches / requests).toFixed(3)],
    ["wake-ups of parked threads", (woken / requests).toFixed(3)],
    ...(await systemCalls(server, options)),
  ];
  say(`\n${table(["for each request", ""], rows)}`);
}

/** Each call slows the program down, so these are counted in a load of their own. */
async function systemCalls(server: BenchServer, options: Options): Promise<string[][]> {
  if (spawnSync("strace", ["-V"]).status !== 0) return [["system calls", "(needs strace)"]];
  const strace = spawn("strace", ["-c", "-f", "-p", String(server.pid)], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let text = "";
  strace.stderr.setEncoding("utf8").on("data", (part: string) => {
    text += part;
  });
  await once(strace.stderr, "data"); // Attached.
  const { requests } = await loadOf(options, server.url, STRACE_SECONDS);
  strace.kill("SIGINT");
  await once(strace, "close");
  return [...text.matchAll(/^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$/gm)]
    .filter(([, calls, name]) => name !== "total" && Number(calls) / requests >= CALLS_MIN)
    .map(([, calls, name]) => [`${name}()`, (Number(calls) / requests).toFixed(3)]);
}

async function measureThreads(server: BenchServer, options: Options): Promise<void> {
  const { threads, seconds, top, out } = options;
  const total = threads.length * seconds + EXTRA_SECONDS;
  const startMs = performance.now();
  const load = loadOf(options, server.url, total);
  const profiles: { thread: string; json: string }[] = [];
  for (const thread of threads) {
    tell(`${thread}: ${seconds} s`);
    const json = await profileOf(server, thread, seconds);
    profiles.push({ thread, json });
  }
  const isOver = performance.now() - startMs > total * 1000;
  const { requests, seconds: lasted } = await load;
  if (isOver) throw new Error("The load ended before the last profile; try fewer threads");
  const microsPerRequest = (lasted * 1e6) / requests;
  mkdirSync(out, { recursive: true });
  for (const { thread, json } of profiles) {
    const file = join(out, `${options.workload}-${thread}.cpuprofile`);
    writeFileSync(file, json);
    const rows = selfTimes(JSON.parse(json) as CpuProfile)
      .slice(0, top)
      .map(({ name, share }) => [
        name,
        `${figure(share * 100)} %`,
        figure(share * microsPerRequest),
      ]);
    say(`\n${table([`${thread} (${file})`, "of its time", "us/request"], rows)}`);
  }
}

async function main(): Promise<void> {
  const options = readOptions();
  const flags = [...options.ringdFlags, "--enable-pprof"];
  const server = await startServer({ kind: "ringd", flags });
  await fill({ url: server.url, count: KEYS, connections: 8, pathOf: keyPath, value: VALUE });
  await loadOf(options, server.url, 1);
  say(`${options.workload}, ${options.connections} connections; ${MACHINE}`);
  await measureThreads(server, options);
  await measureCounters(server, options);
  await server.stop();
}

await run(main);
