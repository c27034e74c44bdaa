import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { fill } from "./lib/client.js";
import type { Drained } from "./lib/drain.js";
import { run } from "./lib/lifetime.js";
import { list, number, oneOf } from "./lib/options.js";
import { memoryOf, usageOf } from "./lib/proc.js";
import { Pulse } from "./lib/pulse.js";
import { MACHINE, say, tell, words, writeResult } from "./lib/report.js";
import {
  type BenchServer,
  probe,
  SERVER_KINDS,
  type ServerKind,
  startServer,
} from "./lib/server.js";
import { median } from "./lib/stats.js";
import { figure, ratio, table } from "./lib/table.js";
import { Watchers } from "./lib/watchers.js";
import { VALUE } from "./lib/workload.js";

/**
 * What do many keys and many watchers cost, and how much do they slow other clients?
 *
 * Each kind of server runs twice. The first run, nearly empty, opens the watchers, then writes as
 * often as there will be keys, to few keys of one directory, and restarts. The second run writes as
 * often, but each time to another key, and restarts. The difference is the cost of the keys:
 * buffers, rings, generated code and the log in memory are equal. Then all of it is read during a
 * steady pulse of PUTs, and the restart is timed.
 */
const USAGE = `Usage: node dist/bench/scale.js [options]

  --servers LIST   of ringd, etcd (default ringd)
  --vs-etcd        adds etcd: ratios to it
  --keys N         (default 200000)
  --watchers N     (default 5000)
  --reads N        full recursive GETs, one after the other (default 3)
  --restarts N     of each kind (default 3)
  --ringd-flags T  more flags of ringd, separated by blanks
  --node-flags T   flags of Node for ringd, separated by blanks
  --out DIR        for the JSON (default bench-results)
`;

interface Options {
  readonly servers: readonly ServerKind[];
  readonly keys: number;
  readonly watchers: number;
  readonly reads: number;
  readonly restarts: number;
  readonly ringdFlags: readonly string[];
  readonly nodeFlags: readonly string[];
  readonly out: string;
}

/** All results of one server: name (with unit) -> value, in the order of the table. */
type Figures = Record<string, number>;

const KEYS_PER_DIRECTORY = 1000;
/**
 * Writes to few keys before the load. With them the default load ends half way between two
 * snapshots, so that compared servers have logs of equal length in memory.
 */
const WRITES_BEFORE = 50_000;
const FILL_CONNECTIONS = 64;
const PULSE_PER_SECOND = 200;
const PULSE_CONNECTIONS = 16;
const PULSE_BASELINE_MS = 3000;
const WATCHERS_CHECKED = 100;
/**
 * Free heap may hide the cost of the first watchers: the largest growth of several waves counts.
 */
const WATCHER_WAVES = 2;

const SETTLE_SAMPLE_MS = 1000;
const SETTLE_SAMPLES = 5;
const SETTLE_TOLERANCE = 0.005;
const SETTLE_TIMEOUT_MS = 40_000;

function progress(server: BenchServer, text: string): void {
  tell(`${server.kind}: ${text}`);
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      help: { type: "boolean" },
      servers: { type: "string", default: "ringd" },
      "vs-etcd": { type: "boolean" },
      keys: { type: "string", default: "200000" },
      watchers: { type: "string", default: "5000" },
      reads: { type: "string", default: "3" },
      restarts: { type: "string", default: "3" },
      "ringd-flags": { type: "string", default: "" },
      "node-flags": { type: "string", default: "" },
      out: { type: "string", default: "bench-results" },
    },
  });
  if (values.help) {
    say(USAGE);
    process.exit(0);
  }
  const servers = new Set(
    list("servers", values.servers).map((name) => oneOf("servers", name, SERVER_KINDS)),
  );
  if (values["vs-etcd"]) servers.add("etcd");
  return {
    servers: [...servers],
    keys: number("keys", values.keys),
    watchers: number("watchers", values.watchers),
    reads: number("reads", values.reads),
    restarts: number("restarts", values.restarts),
    ringdFlags: words(values["ringd-flags"]),
    nodeFlags: words(values["node-flags"]),
    out: values.out,
  };
}

function keyPath(key: number): string {
  return `/v2/keys/scale/dir-${Math.floor(key / KEYS_PER_DIRECTORY)}/key-${key % KEYS_PER_DIRECTORY}`;
}

/**
 * Resident bytes once they are stable. Garbage collection in another process cannot be forced, so
 * each gets the same time. The minimum of the last samples.
 */
async function settledRss(server: BenchServer): Promise<number> {
  const deadlineMs = performance.now() + SETTLE_TIMEOUT_MS;
  const samples: number[] = [];
  while (performance.now() < deadlineMs) {
    samples.push(memoryOf(server.pid).rssBytes);
    const last = samples.slice(-SETTLE_SAMPLES);
    const least = Math.min(...last);
    if (last.length === SETTLE_SAMPLES && Math.max(...last) - least < SETTLE_TOLERANCE * least) {
      return least;
    }
    await delay(SETTLE_SAMPLE_MS);
  }
  return Math.min(...samples.slice(-SETTLE_SAMPLES));
}

/** Resident bytes of a server with few keys, after as many writes as the keys will take. */
interface Baseline {
  readonly warmBytes: number;
  readonly restartedBytes: number;
}

async function writeFewKeys(server: BenchServer, writes: number): Promise<void> {
  await fill({
    url: server.url,
    count: writes,
    connections: FILL_CONNECTIONS,
    pathOf: (key) => keyPath(key % KEYS_PER_DIRECTORY),
    value: VALUE,
  });
}

async function measureBaseline(
  server: BenchServer,
  options: Options,
  figures: Figures,
): Promise<Baseline> {
  await writeFewKeys(server, WRITES_BEFORE + options.keys - writesFor(options.watchers));
  const warmBytes = await settledRss(server);
  await server.end("SIGKILL");
  await server.start();
  const restartedBytes = await settledRss(server);
  figures["few keys, RSS MiB"] = warmBytes / 2 ** 20;
  figures["few keys, restarted, RSS MiB"] = restartedBytes / 2 ** 20;
  progress(server, `${options.keys} writes to few keys`);
  return { warmBytes, restartedBytes };
}

async function measureKeys(
  server: BenchServer,
  options: Options,
  baseline: Baseline,
  figures: Figures,
): Promise<void> {
  await writeFewKeys(server, WRITES_BEFORE);
  const seconds = await fill({
    url: server.url,
    count: options.keys,
    connections: FILL_CONNECTIONS,
    pathOf: keyPath,
    value: VALUE,
  });
  const filledBytes = await settledRss(server);
  figures["load of the keys, PUT/s"] = options.keys / seconds;
  figures["with keys, RSS MiB"] = filledBytes / 2 ** 20;
  figures["per key, RSS bytes"] = (filledBytes - baseline.warmBytes) / options.keys;
  await server.end("SIGKILL");
  await server.start();
  const restartedBytes = await settledRss(server);
  figures["restarted, RSS MiB"] = restartedBytes / 2 ** 20;
  figures["restarted, per key, RSS bytes"] =
    (restartedBytes - baseline.restartedBytes) / options.keys;
  progress(server, `${options.keys} keys in ${seconds.toFixed(1)} s`);
}

/** Keys with and without a watcher, and a second write to some of each. */
function writesFor(watchers: number): number {
  return watchers === 0
    ? 0
    : watchers + WATCHERS_CHECKED + 2 * Math.min(watchers, WATCHERS_CHECKED);
}

async function measureWatchers(
  server: BenchServer,
  options: Options,
  figures: Figures,
): Promise<void> {
  const { watchers: count } = options;
  if (count === 0) return;
  const keys = count + WATCHERS_CHECKED; // The last ones are not watched.
  await fill({ url: server.url, count: keys, connections: 1, pathOf: keyPath, value: VALUE });
  const watchers = new Watchers();
  let beforeBytes = await settledRss(server);
  figures["nearly empty, RSS MiB"] = beforeBytes / 2 ** 20;
  let openedMs = 0;
  let perWatcherBytes = 0;
  for (let wave = 0; wave < WATCHER_WAVES; wave++) {
    const startedMs = performance.now();
    await watchers.open(server.url, count, keyPath);
    openedMs += performance.now() - startedMs;
    const afterBytes = await settledRss(server);
    perWatcherBytes = Math.max(perWatcherBytes, (afterBytes - beforeBytes) / count);
    beforeBytes = afterBytes;
  }
  const all = count * WATCHER_WAVES;
  figures["per watcher, RSS bytes"] = perWatcherBytes;
  figures["opening a watcher, us"] = (openedMs * 1000) / all;
  // Check that the watches work: only the first ones deliver.
  const checked = Math.min(count, WATCHERS_CHECKED);
  const told = checked * WATCHER_WAVES;
  const load = { url: server.url, count: checked, connections: 1, value: VALUE };
  await fill({ ...load, pathOf: keyPath });
  await fill({ ...load, pathOf: (key) => keyPath(keys - 1 - key) });
  await watchers.waitFired(told);
  await watchers.close();
  if (watchers.fired !== told || watchers.broken > 0) {
    throw new Error(`${watchers.fired} of ${told} watches fired, ${watchers.broken} broke`);
  }
  progress(server, `${all} watchers`);
}

async function readAll(server: BenchServer): Promise<Drained> {
  const worker = new Worker(new URL("lib/drain.js", import.meta.url), {
    workerData: `${server.url}/v2/keys/scale?recursive=true`,
  });
  const [drained] = (await once(worker, "message")) as [Drained];
  if (drained.status !== 200) throw new Error(`Cannot read all keys: status ${drained.status}`);
  return drained;
}

async function measureReads(
  server: BenchServer,
  options: Options,
  figures: Figures,
): Promise<void> {
  // Earlier work (a snapshot of all keys, closed watchers) must not count.
  await settledRss(server);
  const pulse = await Pulse.start({
    url: server.url,
    perSecond: PULSE_PER_SECOND,
    connections: PULSE_CONNECTIONS,
    path: "/v2/keys/pulse",
    value: VALUE,
  });
  await delay(500);
  pulse.take(); // The first PUTs of a connection are slower.
  await delay(PULSE_BASELINE_MS);
  const calm = pulse.take();
  const reads: Drained[] = [];
  const worstMs: number[] = [];
  const p99sMs: number[] = [];
  for (let i = 0; i < options.reads; i++) {
    reads.push(await readAll(server));
    await delay(200); // Requests queued during the read get their responses now, and count.
    const felt = pulse.take();
    worstMs.push(felt.maxMs);
    p99sMs.push(felt.quantileMs(0.99));
  }
  await pulse.stop();
  figures["PUT beside nothing, p99 ms"] = calm.quantileMs(0.99);
  figures["PUT beside nothing, max ms"] = calm.maxMs;
  figures["recursive GET, ms"] = median(reads.map((read) => read.totalMs));
  figures["recursive GET, first byte ms"] = median(reads.map((read) => read.firstByteMs));
  figures["recursive GET, MB"] = (reads[0]?.bytes ?? 0) / 1e6;
  figures["PUT beside recursive GET, p99 ms"] = median(p99sMs);
  figures["PUT beside recursive GET, max ms"] = median(worstMs);
  figures["PUT beside recursive GET, worst max ms"] = Math.max(...worstMs);
  figures["PUTs that failed meanwhile"] = pulse.errors;
  figures["after reads, peak RSS MiB"] = memoryOf(server.pid).peakBytes / 2 ** 20;
  progress(server, `${reads.length} recursive reads`);
}

/** From the process's start until /health is true and the last written key is there. */
async function startAgain(server: BenchServer, lastKey: string): Promise<number> {
  const startedMs = performance.now();
  await server.start();
  const answer = await probe(`${server.url}${lastKey}`);
  if (answer?.status !== 200) throw new Error(`${server.kind} lost ${lastKey} in a restart`);
  return performance.now() - startedMs;
}

async function measureRestarts(
  server: BenchServer,
  options: Options,
  figures: Figures,
): Promise<void> {
  const lastKey = keyPath(options.keys - 1);
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    const endsMs: number[] = [];
    const startsMs: number[] = [];
    const cpuMs: number[] = [];
    for (let i = 0; i < options.restarts; i++) {
      endsMs.push(await server.end(signal));
      startsMs.push(await startAgain(server, lastKey));
      cpuMs.push(usageOf(server.pid).cpuMicros / 1000);
    }
    if (signal === "SIGTERM") figures["stop by SIGTERM, ms"] = median(endsMs);
    figures[`start after ${signal}, ms`] = median(startsMs);
    figures[`start after ${signal}, CPU ms`] = median(cpuMs);
    progress(server, `${options.restarts} restarts by ${signal}`);
  }
}

async function measure(kind: ServerKind, options: Options): Promise<Figures> {
  const ringd = kind === "ringd";
  const start = () =>
    startServer({
      kind,
      flags: ringd ? options.ringdFlags : [],
      nodeFlags: ringd ? options.nodeFlags : [],
    });
  const figures: Figures = {};
  const first = await start();
  await measureWatchers(first, options, figures);
  const baseline = await measureBaseline(first, options, figures);
  await first.stop();
  const second = await start();
  await measureKeys(second, options, baseline, figures);
  await measureReads(second, options, figures);
  await measureRestarts(second, options, figures);
  await second.stop();
  return figures;
}

async function main(): Promise<void> {
  const options = readOptions();
  const results: { server: ServerKind; figures: Figures }[] = [];
  for (const kind of options.servers) {
    results.push({ server: kind, figures: await measure(kind, options) });
  }
  const [first, second] = results;
  const names = Object.keys(first?.figures ?? {});
  const compared = results.length === 2 && second !== undefined;
  const head = ["figure", ...results.map((result) => result.server)];
  if (compared) head.push(`${first?.server} : ${second.server}`);
  const rows = names.map((name) => {
    const values = results.map((result) => result.figures[name] ?? Number.NaN);
    const cells = [name, ...values.map(figure)];
    if (compared) cells.push(ratio(values[0] ?? Number.NaN, values[1] ?? Number.NaN));
    return cells;
  });
  say(
    `\n${options.keys} keys of ${VALUE.length} bytes in directories of ${KEYS_PER_DIRECTORY}, ` +
      `${options.watchers} watchers, ${PULSE_PER_SECOND} PUT/s beside ${options.reads} recursive ` +
      `GETs, medians of ${options.restarts} restarts; ${MACHINE}\n`,
  );
  say(table(head, rows));
  writeResult(options.out, "scale", { options, results });
}

await run(main);
