import { cpus } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Client } from "#ringd/client/index.js";
import { fill } from "./lib/client.js";
import { run } from "./lib/lifetime.js";
import { applyLoad, LOADS, type Load, type LoadResult } from "./lib/load.js";
import { list, number, oneOf } from "./lib/options.js";
import { type Usage, usageBetween, usageOf } from "./lib/proc.js";
import { MACHINE, say, tell, words, writeResult } from "./lib/report.js";
import { SERVER_KINDS, type ServerKind, startServer } from "./lib/server.js";
import { median } from "./lib/stats.js";
import { barChart } from "./lib/svg.js";
import { figure, ratio, table } from "./lib/table.js";
import { KEYS, keyPath, VALUE, WORKLOAD_TITLES, WORKLOADS, type Workload } from "./lib/workload.js";

/**
 * How many requests a second does a member serve, at which latency, and for how much CPU?
 *
 * All servers run side by side and are measured in turn, cell by cell (a workload at a number of
 * connections), in alternating order, so that the machine's other load affects all of them. Results
 * are medians over the rounds.
 */
const USAGE = `Usage: node dist/bench/end-to-end.js [options]

  --servers LIST       of ringd, etcd, echo (default ringd)
  --vs-etcd            adds etcd: ratios to it
  --auth               adds a ringd that asks for credentials, and is sent them
  --echo               adds a bare uWebSockets.js that answers the same bytes: the ceiling
  --url URL            measures a server that already runs, instead of ringd
  --pid PID            its process, for the CPU figures
  --workload LIST      of put, get, qget, mix (default all)
  --connections LIST   (default 1,64,256,1000)
  --seconds N          a measurement lasts (default 5)
  --rounds N           (default 1, with several servers 3)
  --warmup N           seconds before the first measurement of a cell (default 1)
  --load NAME          autocannon or wrk (default autocannon)
  --frontend-threads N of ringd
  --ringd-flags TEXT   more flags of ringd, separated by blanks
  --node-flags TEXT    flags of Node for ringd and echo, separated by blanks
  --out DIR            for the JSON and the SVG (default bench-results)
`;

interface Options {
  readonly servers: readonly ServerKind[];
  readonly auth: boolean;
  readonly url: string | undefined;
  readonly pid: number | undefined;
  readonly workloads: readonly Workload[];
  readonly connections: readonly number[];
  readonly seconds: number;
  readonly rounds: number;
  readonly warmup: number;
  readonly load: Load;
  readonly ringdFlags: readonly string[];
  readonly nodeFlags: readonly string[];
  readonly out: string;
}

interface Target {
  readonly name: string;
  readonly url: string;
  /** Without it CPU is not measured. */
  readonly pid: number | undefined;
  /** Sent with each request; "" for none. */
  readonly authorization: string;
}

interface ThreadFigure {
  readonly thread: string;
  readonly microsPerRequest: number;
}

interface Sample extends LoadResult {
  readonly server: string;
  readonly workload: Workload;
  readonly connections: number;
  readonly round: number;
  readonly requestsPerSecond: number;
  readonly cpuMicrosPerRequest: number;
  readonly switchesPerRequest: number;
  readonly threads: readonly ThreadFigure[];
}

/** Medians over the rounds of one cell; errors are summed up. */
interface Cell {
  readonly server: string;
  readonly workload: Workload;
  readonly connections: number;
  readonly requestsPerSecond: number;
  readonly requestsPerSecondLeast: number;
  readonly requestsPerSecondMost: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
  readonly errors: number;
  readonly cpuMicrosPerRequest: number;
  readonly switchesPerRequest: number;
  readonly loadCores: number;
  readonly threads: readonly ThreadFigure[];
}

/** For the first password, which also starts a thread. */
const AUTH_MS = 30_000;
/** Pause between measurements, for the requests that the last one left in flight. */
const SETTLE_MS = 250;

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      help: { type: "boolean" },
      servers: { type: "string" },
      "vs-etcd": { type: "boolean" },
      auth: { type: "boolean" },
      echo: { type: "boolean" },
      url: { type: "string" },
      pid: { type: "string" },
      workload: { type: "string", default: WORKLOADS.join() },
      connections: { type: "string", default: "1,64,256,1000" },
      seconds: { type: "string", default: "5" },
      rounds: { type: "string" },
      warmup: { type: "string", default: "1" },
      load: { type: "string", default: "autocannon" },
      "frontend-threads": { type: "string" },
      "ringd-flags": { type: "string" },
      "node-flags": { type: "string" },
      out: { type: "string", default: "bench-results" },
    },
  });
  if (values.help) {
    say(USAGE);
    process.exit(0);
  }
  // --url replaces ringd, unless servers are named.
  const named = values.servers ?? (values.url === undefined ? "ringd" : undefined);
  const servers = new Set(
    named === undefined
      ? []
      : list("servers", named).map((name) => oneOf("servers", name, SERVER_KINDS)),
  );
  if (values["vs-etcd"]) servers.add("etcd");
  if (values.echo) servers.add("echo");
  const threads = values["frontend-threads"];
  const more = [values.url !== undefined, values.auth === true].filter(Boolean).length;
  const many = servers.size + more > 1;
  return {
    servers: [...servers],
    auth: values.auth === true,
    url: values.url,
    pid: values.pid === undefined ? undefined : number("pid", values.pid),
    workloads: list("workload", values.workload).map((name) => oneOf("workload", name, WORKLOADS)),
    connections: list("connections", values.connections).map((n) => number("connections", n)),
    seconds: number("seconds", values.seconds),
    rounds: number("rounds", values.rounds ?? (many ? "3" : "1")),
    warmup: number("warmup", values.warmup),
    load: oneOf("load", values.load, LOADS),
    ringdFlags: [
      ...(threads === undefined ? [] : ["--frontend-threads", threads]),
      ...words(values["ringd-flags"]),
    ],
    nodeFlags: words(values["node-flags"]),
    out: values.out,
  };
}

async function startTargets(options: Options): Promise<Target[]> {
  const targets: Target[] = [];
  const authorization = "";
  if (options.url !== undefined) {
    targets.push({ name: "url", url: options.url, pid: options.pid, authorization });
  }
  for (const kind of options.servers) {
    const server = await startServer({
      kind,
      flags: kind === "ringd" ? options.ringdFlags : [],
      nodeFlags: options.nodeFlags,
    });
    targets.push({ name: kind, url: server.url, pid: server.pid, authorization });
  }
  if (options.auth) targets.push(await startWithUsers(options));
  return targets;
}

/** A ringd with a user root, whose credentials each request has. */
async function startWithUsers({ ringdFlags: flags, nodeFlags }: Options): Promise<Target> {
  const { url, pid } = await startServer({ kind: "ringd", flags, nodeFlags });
  const client = new Client({ endpoints: [url], timeoutMs: AUTH_MS });
  await client.auth.users.add("root", "bench");
  await client.auth.enable();
  await client.close();
  const authorization = `Basic ${Buffer.from("root:bench").toString("base64")}`;
  return { name: "ringd-auth", url, pid, authorization };
}

/**
 * Makes thread names unique: the first is `main`, the others get their number in order of creation.
 * Go moves work between threads, so etcd's are summed.
 */
function threadFigures(target: Target, usage: Usage, requests: number): ThreadFigure[] {
  if (target.name === "etcd" || requests === 0) return [];
  const names = new Map<number, string>();
  for (const [place, thread] of [...usage.threads].sort((a, b) => a.id - b.id).entries()) {
    names.set(thread.id, thread.id === target.pid ? "main" : `${thread.name}#${place}`);
  }
  return usage.threads.map((thread) => ({
    thread: names.get(thread.id) ?? thread.name,
    microsPerRequest: thread.cpuMicros / requests,
  }));
}

async function measure(
  target: Target,
  options: Options,
  workload: Workload,
  connections: number,
  round: number,
): Promise<Sample> {
  const { load, seconds } = options;
  const { url, pid, authorization } = target;
  if (round === 0 && options.warmup > 0) {
    await applyLoad({ load, url, authorization, workload, connections, seconds: options.warmup });
  }
  await delay(SETTLE_MS);
  const before = pid === undefined ? undefined : usageOf(pid);
  const result = await applyLoad({ load, url, authorization, workload, connections, seconds });
  const used =
    pid === undefined || before === undefined ? undefined : usageBetween(before, usageOf(pid));
  const { requests } = result;
  return {
    ...result,
    server: target.name,
    workload,
    connections,
    round,
    requestsPerSecond: requests / result.seconds,
    cpuMicrosPerRequest: used === undefined ? Number.NaN : used.cpuMicros / requests,
    switchesPerRequest: used === undefined ? Number.NaN : used.contextSwitches / requests,
    threads: used === undefined ? [] : threadFigures(target, used, requests),
  };
}

function medianThreads(samples: readonly Sample[]): ThreadFigure[] {
  const names = new Set(samples.flatMap((sample) => sample.threads.map(({ thread }) => thread)));
  return [...names]
    .map((thread) => ({
      thread,
      microsPerRequest: median(
        samples.map(
          (sample) => sample.threads.find((one) => one.thread === thread)?.microsPerRequest ?? 0,
        ),
      ),
    }))
    .sort((a, b) => b.microsPerRequest - a.microsPerRequest);
}

function summarize(samples: readonly Sample[]): Cell[] {
  const groups = new Map<string, Sample[]>();
  for (const sample of samples) {
    const id = `${sample.workload} ${sample.connections} ${sample.server}`;
    const group = groups.get(id);
    if (group === undefined) groups.set(id, [sample]);
    else group.push(sample);
  }
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const middle = (figureOf: (sample: Sample) => number) => median(group.map(figureOf));
    const rates = group.map((sample) => sample.requestsPerSecond);
    return {
      server: first.server,
      workload: first.workload,
      connections: first.connections,
      requestsPerSecond: median(rates),
      requestsPerSecondLeast: Math.min(...rates),
      requestsPerSecondMost: Math.max(...rates),
      p50Ms: middle((sample) => sample.p50Ms),
      p99Ms: middle((sample) => sample.p99Ms),
      p999Ms: middle((sample) => sample.p999Ms),
      maxMs: Math.max(...group.map((sample) => sample.maxMs)),
      errors: group.reduce((sum, sample) => sum + sample.errors, 0),
      cpuMicrosPerRequest: middle((sample) => sample.cpuMicrosPerRequest),
      switchesPerRequest: middle((sample) => sample.switchesPerRequest),
      loadCores: middle((sample) => sample.loadCores),
      threads: medianThreads(group),
    };
  });
}

/** The cell of `server` at the same workload and number of connections. */
function find(
  cells: readonly Cell[],
  { workload, connections }: Pick<Cell, "workload" | "connections">,
  server: string,
): Cell | undefined {
  return cells.find(
    (cell) =>
      cell.server === server && cell.workload === workload && cell.connections === connections,
  );
}

function report(cells: readonly Cell[], servers: readonly string[]): string {
  const bases = ["etcd", "echo"].filter((base) => servers.length > 1 && servers.includes(base));
  const head = ["workload", "server", "conns", "req/s", "least..most", "p50 ms", "p99 ms"];
  head.push("p99.9 ms", "errors", "CPU us/req", "switches/req", "load cores");
  for (const base of bases) head.push(`req/s : ${base}`, `p99 : ${base}`, `CPU : ${base}`);
  const rows = cells.map((cell) => {
    const row = [
      WORKLOAD_TITLES[cell.workload],
      cell.server,
      String(cell.connections),
      cell.requestsPerSecond.toFixed(0),
      `${cell.requestsPerSecondLeast.toFixed(0)}..${cell.requestsPerSecondMost.toFixed(0)}`,
      figure(cell.p50Ms),
      figure(cell.p99Ms),
      figure(cell.p999Ms),
      cell.errors === 0 ? "0" : `${cell.errors} !`,
      figure(cell.cpuMicrosPerRequest),
      figure(cell.switchesPerRequest),
      cell.loadCores.toFixed(2),
    ];
    for (const name of bases) {
      const base = find(cells, cell, name);
      if (base === undefined || cell.server === name) row.push("", "", "");
      else {
        row.push(
          ratio(cell.requestsPerSecond, base.requestsPerSecond),
          ratio(cell.p99Ms, base.p99Ms),
          ratio(cell.cpuMicrosPerRequest, base.cpuMicrosPerRequest),
        );
      }
    }
    return row;
  });
  return table(head, rows, 2);
}

/** Threads below this share of a request's CPU are left out of the table; the JSON has them all. */
const THREAD_SHARE_MIN = 0.03;

function threadReport(cells: readonly Cell[]): string {
  return cells
    .filter((cell) => cell.threads.length > 0)
    .map((cell) => {
      const shown = cell.threads
        .filter((one) => one.microsPerRequest >= THREAD_SHARE_MIN * cell.cpuMicrosPerRequest)
        .map((one) => `${one.thread} ${figure(one.microsPerRequest)}`);
      return `  ${cell.server}, ${WORKLOAD_TITLES[cell.workload]}, ${cell.connections}: ${shown.join(", ")}`;
    })
    .join("\n");
}

function chart(cells: readonly Cell[], options: Options, servers: readonly string[]): string {
  const panels = (unit: string, figureOf: (cell: Cell) => number) =>
    options.workloads.map((workload) => ({
      title: WORKLOAD_TITLES[workload],
      unit,
      groups: options.connections.map((connections) => ({
        label: `${connections} conn.`,
        values: servers.map((server) => {
          const cell = find(cells, { workload, connections }, server);
          return cell === undefined ? Number.NaN : figureOf(cell);
        }),
      })),
    }));
  return barChart({
    title: "Requests to one member over HTTP",
    subtitle:
      `${VALUE.length}-byte values, ${KEYS} keys, load from ${options.load} on the same machine ` +
      `(${cpus().length} cores), medians of ${options.rounds} x ${options.seconds} s`,
    series: servers,
    rows: [
      panels("requests per second: more is better", (cell) => cell.requestsPerSecond),
      panels("p99 latency in ms: less is better", (cell) => cell.p99Ms),
      panels(
        "server CPU per request in microseconds: less is better",
        (cell) => cell.cpuMicrosPerRequest,
      ),
    ],
  });
}

async function main(): Promise<void> {
  const options = readOptions();
  const targets = await startTargets(options);
  const servers = targets.map((target) => target.name);
  for (const target of targets) {
    await fill({ url: target.url, count: KEYS, connections: 8, pathOf: keyPath, value: VALUE });
  }
  const samples: Sample[] = [];
  for (let round = 0; round < options.rounds; round++) {
    for (const workload of options.workloads) {
      for (const connections of options.connections) {
        const order = round % 2 === 0 ? targets : [...targets].reverse();
        for (const target of order) {
          const sample = await measure(target, options, workload, connections, round);
          samples.push(sample);
          tell(
            `round ${round + 1}/${options.rounds}  ${target.name} ${workload} ${connections}: ` +
              `${sample.requestsPerSecond.toFixed(0)} req/s, p99 ${figure(sample.p99Ms)} ms, ` +
              `${sample.errors} errors`,
          );
        }
      }
    }
  }
  const rank = (cell: Cell) =>
    (options.workloads.indexOf(cell.workload) * options.connections.length +
      options.connections.indexOf(cell.connections)) *
      servers.length +
    servers.indexOf(cell.server);
  const cells = summarize(samples).sort((a, b) => rank(a) - rank(b));
  say(
    `\nMedians of ${options.rounds} rounds of ${options.seconds} s, ${KEYS} keys, ` +
      `${VALUE.length}-byte values; load: ${options.load}; ${MACHINE}\n` +
      "CPU us/req: user and system time of the whole server process per request. " +
      "load cores: what the load generator took of the same machine.\n",
  );
  say(report(cells, servers));
  const threads = threadReport(cells);
  if (threads !== "") say(`\nCPU microseconds per request by thread\n${threads}`);
  const errors = cells.reduce((sum, cell) => sum + cell.errors, 0);
  if (errors > 0) say(`\nTHIS RUN HAD ${errors} ERRORS: rows marked ! are not comparable.`);
  const svg = chart(cells, options, servers);
  writeResult(options.out, `end-to-end-${options.load}`, { errors, options, cells, samples }, svg);
}

await run(main);
