import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { fill } from "./lib/client.js";
import type { Drained } from "./lib/drain.js";
import { leaderOf } from "./lib/leader.js";
import { run } from "./lib/lifetime.js";
import { applyLoad, LOADS, type Load } from "./lib/load.js";
import { number, oneOf } from "./lib/options.js";
import { usageOf } from "./lib/proc.js";
import { Pulse } from "./lib/pulse.js";
import { MACHINE, say, tell, writeResult } from "./lib/report.js";
import { type BenchServer, probe, startCluster } from "./lib/server.js";
import { median } from "./lib/stats.js";
import { Streams } from "./lib/streams.js";
import { barChart } from "./lib/svg.js";
import { figure, ratio, table } from "./lib/table.js";
import { KEYS, keyPath, VALUE, type Workload } from "./lib/workload.js";

/**
 * Where does ringd stand against its goals? Each line is a figure of ringd and of Debian's etcd,
 * measured in alternating order in one run, beside the goal: medians over the rounds.
 */
const USAGE = `Usage: node dist/bench/scoreboard.js [options]

  --rounds N     (default 5)
  --seconds N    a load lasts (default 3)
  --keys N       for restarts and listings (default 200000; the goals are for that and 1000000)
  --streams N    (default 5000)
  --only LIST    of one, three, keys, streams, ctl, idle (default all)
  --load NAME    autocannon or wrk (default autocannon)
  --out DIR      for the JSON and the SVG (default bench-results)
`;

const PARTS = ["one", "three", "keys", "streams", "ctl", "idle"] as const;
type Part = (typeof PARTS)[number];
const KINDS = ["ringd", "etcd"] as const;
type Kind = (typeof KINDS)[number];

interface Options {
  readonly rounds: number;
  readonly seconds: number;
  readonly keys: number;
  readonly streams: number;
  readonly parts: readonly string[];
  readonly load: Load;
  readonly out: string;
}

/** What a line asks for: a bound of ringd's figure, or of its ratio to etcd's. */
interface Goal {
  readonly of: "value" | "ratio";
  readonly is: "most" | "least";
  readonly bound: number;
}

interface Line {
  readonly title: string;
  readonly goals: readonly Goal[];
  readonly ringd: number;
  readonly etcd: number;
}

/** Values of all rounds by title and server. */
type Samples = Map<string, Record<Kind, number[]>>;

const most = (bound: number): Goal => ({ of: "value", is: "most", bound });
const atMost = (bound: number): Goal => ({ of: "ratio", is: "most", bound });
const atLeast = (bound: number): Goal => ({ of: "ratio", is: "least", bound });

const GOALS: Readonly<Record<string, readonly Goal[]>> = {
  "PUT, 256 connections, req/s": [atLeast(2.5)],
  "PUT, 256 connections, CPU us": [most(16)],
  "PUT, 1 connection, p50 ms": [atMost(0.9)],
  "PUT, 1 connection, p99 ms": [atMost(1)],
  "90% GET, 10% PUT, 256 connections, req/s": [atLeast(2)],
  "three members, PUT, 64 connections, req/s": [atLeast(2.2)],
  "three members, PUT, 64 connections, CPU us": [most(50)],
  "three members, PUT, 64 connections, p99 ms": [atMost(0.6)],
  "start after SIGKILL, ms": [atMost(0.8)],
  "longest PUT beside a recursive GET, ms": [most(25)],
  "one event to all streams, ms": [atMost(0.5)],
  "one event to 1000 streams, ms": [atMost(0.5)],
  "events delivered, per second": [atLeast(1.5)],
  "ringctl get, ms": [most(60)],
  "idle, CPU percent of a core": [most(1)],
};

const FILL_CONNECTIONS = 64;
const KEYS_PER_DIRECTORY = 1000;
const FEW_STREAMS = 1000;
const WRITERS = 16;
const PULSE_PER_SECOND = 200;
const PULSE_CONNECTIONS = 16;
const IDLE_MS = 5000;
const SETTLE_MS = 250;

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      help: { type: "boolean" },
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "3" },
      keys: { type: "string", default: "200000" },
      streams: { type: "string", default: "5000" },
      only: { type: "string", default: PARTS.join() },
      load: { type: "string", default: "autocannon" },
      out: { type: "string", default: "bench-results" },
    },
  });
  if (values.help) {
    say(USAGE);
    process.exit(0);
  }
  return {
    rounds: number("rounds", values.rounds),
    seconds: number("seconds", values.seconds),
    keys: number("keys", values.keys),
    streams: number("streams", values.streams),
    parts: values.only.split(",").map((part) => oneOf("only", part, PARTS)),
    load: oneOf("load", values.load, LOADS),
    out: values.out,
  };
}

/** The clusters of a part, side by side; each round measures them in alternating order. */
class Rounds {
  readonly #samples: Samples;
  readonly #options: Options;
  readonly #clusters: ReadonlyMap<Kind, readonly BenchServer[]>;

  static async of(samples: Samples, options: Options, members: number): Promise<Rounds> {
    const clusters = new Map<Kind, readonly BenchServer[]>();
    for (const kind of KINDS) clusters.set(kind, await startCluster({ kind }, members));
    return new Rounds(samples, options, clusters);
  }

  private constructor(
    samples: Samples,
    options: Options,
    clusters: ReadonlyMap<Kind, readonly BenchServer[]>,
  ) {
    this.#samples = samples;
    this.#options = options;
    this.#clusters = clusters;
  }

  /** Once for each server, before the rounds. */
  async prepare(step: (members: readonly BenchServer[]) => Promise<unknown>): Promise<void> {
    for (const members of this.#clusters.values()) await step(members);
  }

  async measure(
    step: (members: readonly BenchServer[], kind: Kind) => Promise<Record<string, number>>,
  ): Promise<void> {
    for (let round = 0; round < this.#options.rounds; round++) {
      const all = [...this.#clusters];
      if (round % 2 === 1) all.reverse();
      for (const [kind, members] of all) {
        const figures = await step(members, kind);
        for (const [title, value] of Object.entries(figures)) this.#add(title, kind, value);
        const text = Object.entries(figures).map(([title, value]) => `${title}: ${figure(value)}`);
        tell(`round ${round + 1}/${this.#options.rounds}  ${kind}  ${text.join("; ")}`);
      }
    }
  }

  async stop(): Promise<void> {
    for (const members of this.#clusters.values()) {
      await Promise.all(members.map((member) => member.stop()));
    }
  }

  #add(title: string, kind: Kind, value: number): void {
    const line = this.#samples.get(title) ?? { ringd: [], etcd: [] };
    line[kind].push(value);
    this.#samples.set(title, line);
  }
}

async function loadOf(
  { load, seconds }: Options,
  { url }: BenchServer,
  members: readonly BenchServer[],
  workload: Workload,
  connections: number,
) {
  await delay(SETTLE_MS);
  const cpuMicros = () => members.reduce((sum, { pid }) => sum + usageOf(pid).cpuMicros, 0);
  const before = cpuMicros();
  const result = await applyLoad({ load, url, authorization: "", workload, connections, seconds });
  if (result.errors > 0) throw new Error(`${result.errors} requests failed`);
  return { ...result, cpuMicros: (cpuMicros() - before) / result.requests };
}

const only = ([server]: readonly BenchServer[]): BenchServer => {
  if (server === undefined) throw new Error("a cluster has a member");
  return server;
};

const fillFew = (members: readonly BenchServer[]) =>
  fill({ url: only(members).url, count: KEYS, connections: 8, pathOf: keyPath, value: VALUE });

/** Keys, and code that is compiled. */
async function warmUp(members: readonly BenchServer[], options: Options): Promise<void> {
  const leader = await leaderOf(members);
  await fill({ url: leader.url, count: KEYS, connections: 8, pathOf: keyPath, value: VALUE });
  for (const connections of [256, 1]) await loadOf(options, leader, members, "put", connections);
}

async function measureOne(samples: Samples, options: Options): Promise<void> {
  const rounds = await Rounds.of(samples, options, 1);
  await rounds.prepare((members) => warmUp(members, options));
  await rounds.measure(async (members) => {
    const server = only(members);
    const many = await loadOf(options, server, members, "put", 256);
    const one = await loadOf(options, server, members, "put", 1);
    const mix = await loadOf(options, server, members, "mix", 256);
    return {
      "PUT, 256 connections, req/s": many.requests / many.seconds,
      "PUT, 256 connections, CPU us": many.cpuMicros,
      "PUT, 1 connection, p50 ms": one.p50Ms,
      "PUT, 1 connection, p99 ms": one.p99Ms,
      "90% GET, 10% PUT, 256 connections, req/s": mix.requests / mix.seconds,
    };
  });
  await rounds.stop();
}

async function measureThree(samples: Samples, options: Options): Promise<void> {
  const rounds = await Rounds.of(samples, options, 3);
  await rounds.prepare((members) => warmUp(members, options));
  await rounds.measure(async (members) => {
    const put = await loadOf(options, await leaderOf(members), members, "put", 64);
    return {
      "three members, PUT, 64 connections, req/s": put.requests / put.seconds,
      "three members, PUT, 64 connections, CPU us": put.cpuMicros,
      "three members, PUT, 64 connections, p99 ms": put.p99Ms,
    };
  });
  await rounds.stop();
}

/** From the process's start until the last written key is there. */
async function startAgain(server: BenchServer, lastKey: string): Promise<number> {
  await server.end("SIGKILL");
  const startMs = performance.now();
  await server.start();
  const answer = await probe(`${server.url}${lastKey}`);
  if (answer?.status !== 200) throw new Error(`${server.kind} lost ${lastKey} in a restart`);
  return performance.now() - startMs;
}

async function longestPutBesideListing(url: string): Promise<number> {
  const pulse = await Pulse.start({
    url,
    perSecond: PULSE_PER_SECOND,
    connections: PULSE_CONNECTIONS,
    path: "/v2/keys/pulse",
    value: VALUE,
  });
  await delay(1000);
  pulse.take();
  const workerData = `${url}/v2/keys/scale?recursive=true`;
  const worker = new Worker(new URL("lib/drain.js", import.meta.url), { workerData });
  const [drained] = (await once(worker, "message")) as [Drained];
  if (drained.status !== 200) throw new Error(`Cannot read all keys: status ${drained.status}`);
  await delay(SETTLE_MS); // Requests queued during the read get their responses now, and count.
  const { maxMs } = pulse.take();
  await pulse.stop();
  return maxMs;
}

async function measureKeys(samples: Samples, options: Options): Promise<void> {
  const { keys: count } = options;
  const pathOf = (key: number) =>
    `/v2/keys/scale/dir-${Math.floor(key / KEYS_PER_DIRECTORY)}/key-${key % KEYS_PER_DIRECTORY}`;
  const rounds = await Rounds.of(samples, options, 1);
  await rounds.prepare((members) =>
    fill({ url: only(members).url, count, connections: FILL_CONNECTIONS, pathOf, value: VALUE }),
  );
  await rounds.measure(async (members) => {
    const server = only(members);
    return {
      "start after SIGKILL, ms": await startAgain(server, pathOf(count - 1)),
      "longest PUT beside a recursive GET, ms": await longestPutBesideListing(server.url),
    };
  });
  await rounds.stop();
}

async function measureStreams(samples: Samples, options: Options): Promise<void> {
  const rounds = await Rounds.of(samples, options, 1);
  await rounds.measure(async (members) => {
    const { url } = only(members);
    const few = await Streams.open(url, FEW_STREAMS);
    const oneToFew = await few.oneEventMs();
    await few.close();
    const streams = await Streams.open(url, options.streams);
    const figures = {
      "one event to 1000 streams, ms": oneToFew,
      "one event to all streams, ms": await streams.oneEventMs(),
      "events delivered, per second": await streams.eventsPerSecond(WRITERS, options.seconds),
    };
    await streams.close();
    return figures;
  });
  await rounds.stop();
}

const RINGCTL = new URL("../bin/ringctl.js", import.meta.url).pathname;

/** Start to end of the program. */
function getOnce(kind: Kind, url: string): number {
  const [command, args] =
    kind === "ringd" ? [process.execPath, [RINGCTL]] : ["etcdctl", [] as string[]];
  const startMs = performance.now();
  const { status, stderr } = spawnSync(command, [...args, "--endpoints", url, "get", KEY], {
    env: { ...process.env, ETCDCTL_API: "2" },
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`Cannot get a key: ${stderr}`);
  return performance.now() - startMs;
}

const KEY = keyPath(0).slice("/v2/keys".length);
const GETS = 10;

async function measureCtl(samples: Samples, options: Options): Promise<void> {
  const rounds = await Rounds.of(samples, options, 1);
  await rounds.prepare(fillFew);
  await rounds.measure(async (members, kind) => ({
    "ringctl get, ms": median(Array.from({ length: GETS }, () => getOnce(kind, only(members).url))),
  }));
  await rounds.stop();
}

async function measureIdle(samples: Samples, options: Options): Promise<void> {
  const rounds = await Rounds.of(samples, options, 1);
  await rounds.prepare(fillFew);
  await rounds.measure(async (members) => {
    const { pid } = only(members);
    const before = usageOf(pid).cpuMicros;
    await delay(IDLE_MS);
    return {
      "idle, CPU percent of a core": (usageOf(pid).cpuMicros - before) / (IDLE_MS * 10),
    };
  });
  await rounds.stop();
}

const MEASURES: Readonly<Record<Part, (samples: Samples, options: Options) => Promise<void>>> = {
  one: measureOne,
  three: measureThree,
  keys: measureKeys,
  streams: measureStreams,
  ctl: measureCtl,
  idle: measureIdle,
};

function meets({ ringd, etcd }: Line, { of, is, bound }: Goal): boolean {
  const value = of === "value" ? ringd : ringd / etcd;
  return is === "most" ? value <= bound : value >= bound;
}

function goalText({ of, is, bound }: Goal): string {
  return `${is === "most" ? "<=" : ">="} ${bound}${of === "ratio" ? "x" : ""}`;
}

async function main(): Promise<void> {
  const options = readOptions();
  const samples: Samples = new Map();
  for (const part of PARTS) {
    if (options.parts.includes(part)) await MEASURES[part](samples, options);
  }
  const lines = [...samples].map(
    ([title, { ringd, etcd }]): Line => ({
      title,
      goals: GOALS[title] ?? [],
      ringd: median(ringd),
      etcd: median(etcd),
    }),
  );
  say(
    `\nMedians of ${options.rounds} alternating rounds, ${options.keys} keys, ` +
      `${options.streams} streams, ${VALUE.length}-byte values; load: ${options.load}; ${MACHINE}\n`,
  );
  const rows = lines.map((line) => [
    line.title,
    figure(line.ringd),
    figure(line.etcd),
    ratio(line.ringd, line.etcd),
    line.goals.map(goalText).join(", "),
    line.goals.every((goal) => meets(line, goal)) ? "met" : "MISSED",
  ]);
  say(table(["figure", "ringd", "etcd", "ringd : etcd", "goal", ""], rows));
  const svg = barChart({
    title: "ringd against its goals",
    subtitle: `medians of ${options.rounds} alternating rounds; ${MACHINE}`,
    series: KINDS,
    rows: lines.map(({ title, ringd, etcd }) => [
      { title, unit: "", groups: [{ label: "", values: [ringd, etcd] }] },
    ]),
  });
  const raw = Object.fromEntries(samples);
  writeResult(options.out, "scoreboard", { options, lines, samples: raw }, svg);
}

await run(main);
