import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Connection, fill, renderPut } from "./lib/client.js";
import { leaderOf } from "./lib/leader.js";
import { run } from "./lib/lifetime.js";
import { applyLoad, LOADS, type Load, type LoadResult } from "./lib/load.js";
import { list, number, oneOf } from "./lib/options.js";
import { usageOf } from "./lib/proc.js";
import { MACHINE, say, tell, words, writeResult } from "./lib/report.js";
import { type BenchServer, type ServerKind, startCluster } from "./lib/server.js";
import { median } from "./lib/stats.js";
import { barChart } from "./lib/svg.js";
import { figure, ratio, table } from "./lib/table.js";
import { KEYS, keyPath, VALUE, WORKLOAD_TITLES, WORKLOADS, type Workload } from "./lib/workload.js";

/**
 * What is a cluster's throughput, and how long is it unavailable after its leader dies?
 *
 * All clusters run side by side on this machine and are measured in turn, in alternating order.
 * Load goes to the leader, or in equal parts to all members. Then the leader is killed with
 * SIGKILL, repeatedly, and PUTs are sent to the others until one is acknowledged.
 */
const USAGE = `Usage: node dist/bench/cluster.js [options]

  --members N          (default 3)
  --servers LIST       of ringd, etcd (default ringd)
  --vs-etcd            adds etcd: ratios to it
  --workload LIST      of put, get, qget, mix (default put, get, qget)
  --to LIST            of leader, all: where the load goes (default both)
  --connections LIST   in all (default 64,256)
  --seconds N          a measurement lasts (default 5)
  --rounds N           (default 1, with several servers 3)
  --warmup N           seconds before the first measurement of a cell (default 1)
  --kills N            of the leader (default 5)
  --load NAME          autocannon or wrk (default autocannon)
  --ringd-flags TEXT   more flags of ringd, separated by blanks
  --out DIR            for the JSON and the SVG (default bench-results)
`;

const KINDS = ["ringd", "etcd"] as const;
const TARGETS = ["leader", "all"] as const;
type Target = (typeof TARGETS)[number];

interface Options {
  readonly members: number;
  readonly servers: readonly (typeof KINDS)[number][];
  readonly workloads: readonly Workload[];
  readonly targets: readonly Target[];
  readonly connections: readonly number[];
  readonly seconds: number;
  readonly rounds: number;
  readonly warmup: number;
  readonly kills: number;
  readonly load: Load;
  readonly ringdFlags: readonly string[];
  readonly out: string;
}

interface Cluster {
  readonly kind: ServerKind;
  readonly members: readonly BenchServer[];
}

interface Cell {
  readonly server: ServerKind;
  readonly workload: Workload;
  readonly target: Target;
  readonly connections: number;
}

/** With load on several members, latencies are the slowest member's. */
interface Sample extends Cell {
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly errors: number;
  /** Sum over all members. */
  readonly cpuMicrosPerRequest: number;
}

interface Outage {
  readonly server: ServerKind;
  /** From SIGKILL to the acknowledgement of the first PUT sent after it. */
  readonly ms: number;
}

const SETTLE_MS = 250;
/** Interval of PUT attempts without a leader; each has its own connection. */
const TRY_EVERY_MS = 10;
const OUTAGE_MS_MAX = 60_000;
/** Pause before the next kill: the restarted member catches up, and elections settle. */
const RECOVERED_MS = 3000;

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      help: { type: "boolean" },
      members: { type: "string", default: "3" },
      servers: { type: "string", default: "ringd" },
      "vs-etcd": { type: "boolean" },
      workload: { type: "string", default: "put,get,qget" },
      to: { type: "string", default: TARGETS.join() },
      connections: { type: "string", default: "64,256" },
      seconds: { type: "string", default: "5" },
      rounds: { type: "string" },
      warmup: { type: "string", default: "1" },
      kills: { type: "string", default: "5" },
      load: { type: "string", default: "autocannon" },
      "ringd-flags": { type: "string" },
      out: { type: "string", default: "bench-results" },
    },
  });
  if (values.help) {
    say(USAGE);
    process.exit(0);
  }
  const servers = new Set(
    list("servers", values.servers).map((name) => oneOf("servers", name, KINDS)),
  );
  if (values["vs-etcd"]) servers.add("etcd");
  return {
    members: number("members", values.members),
    servers: [...servers],
    workloads: list("workload", values.workload).map((name) => oneOf("workload", name, WORKLOADS)),
    targets: list("to", values.to).map((name) => oneOf("to", name, TARGETS)),
    connections: list("connections", values.connections).map((n) => number("connections", n)),
    seconds: number("seconds", values.seconds),
    rounds: number("rounds", values.rounds ?? (servers.size > 1 ? "3" : "1")),
    warmup: number("warmup", values.warmup),
    kills: number("kills", values.kills),
    load: oneOf("load", values.load, LOADS),
    ringdFlags: words(values["ringd-flags"]),
    out: values.out,
  };
}

function cpuMicrosOf(members: readonly BenchServer[]): number {
  return members.reduce((sum, { pid }) => sum + usageOf(pid).cpuMicros, 0);
}

async function measure(
  cluster: Cluster,
  cell: Cell,
  options: Options,
  isFirst: boolean,
): Promise<Sample> {
  const { members } = cluster;
  const loaded = cell.target === "all" ? members : [await leaderOf(members)];
  const connections = Math.max(1, Math.round(cell.connections / loaded.length));
  const { load } = options;
  const { workload } = cell;
  const apply = (seconds: number) =>
    Promise.all(
      loaded.map(({ url }) =>
        applyLoad({ load, url, authorization: "", workload, connections, seconds }),
      ),
    );
  if (isFirst && options.warmup > 0) await apply(options.warmup);
  await delay(SETTLE_MS);
  const before = cpuMicrosOf(members);
  const parts = await apply(options.seconds);
  const cpuMicros = cpuMicrosOf(members) - before;
  const sum = (figureOf: (part: LoadResult) => number) =>
    parts.reduce((total, part) => total + figureOf(part), 0);
  const most = (figureOf: (part: LoadResult) => number) => Math.max(...parts.map(figureOf));
  return {
    ...cell,
    requestsPerSecond: sum((part) => part.requests / part.seconds),
    p50Ms: most((part) => part.p50Ms),
    p99Ms: most((part) => part.p99Ms),
    errors: sum((part) => part.errors),
    cpuMicrosPerRequest: cpuMicros / sum((part) => part.requests),
  };
}

/**
 * Sends PUTs until one is acknowledged. Many in parallel, as a member without a leader may hold one
 * until it times out, long after a new leader is elected.
 *
 * @returns milliseconds until then
 */
async function untilAcknowledged(members: readonly BenchServer[]): Promise<number> {
  const put = renderPut("/v2/keys/outage", VALUE);
  const startedMs = performance.now();
  const open = new Set<Connection>();
  let endMs: number | undefined;
  const attempt = async ({ url }: BenchServer) => {
    let connection: Connection | undefined;
    try {
      connection = await Connection.open(url);
      open.add(connection);
      await connection.send(put);
      endMs ??= performance.now();
    } catch {
      // Rejected, as there is no leader: the next attempt is in flight.
    } finally {
      if (connection !== undefined) {
        open.delete(connection);
        connection.close();
      }
    }
  };
  while (endMs === undefined) {
    if (performance.now() - startedMs > OUTAGE_MS_MAX) throw new Error("Cannot write: no leader");
    for (const member of members) void attempt(member);
    await delay(TRY_EVERY_MS);
  }
  for (const connection of open) connection.close();
  return endMs - startedMs;
}

async function killLeader({ kind, members }: Cluster): Promise<Outage> {
  const leader = await leaderOf(members);
  const others = members.filter((member) => member !== leader);
  const ended = leader.end("SIGKILL"); // The signal is sent now.
  const ms = await untilAcknowledged(others);
  await ended;
  await leader.start();
  await delay(RECOVERED_MS);
  tell(`${kind}: leader killed, no writes for ${ms.toFixed(0)} ms`);
  return { server: kind, ms };
}

/** Whether a cell has this workload, target and number of connections. */
function isAt(place: Omit<Cell, "server">, cell: Cell, server: ServerKind): boolean {
  return (
    cell.server === server &&
    cell.workload === place.workload &&
    cell.target === place.target &&
    cell.connections === place.connections
  );
}

/** Medians over the rounds; errors are summed up. */
function summarize(samples: readonly Sample[], cells: readonly Cell[]): Sample[] {
  return cells.map((cell) => {
    const same = samples.filter((sample) => isAt(cell, sample, cell.server));
    const middle = (figureOf: (sample: Sample) => number) => median(same.map(figureOf));
    return {
      ...cell,
      requestsPerSecond: middle((sample) => sample.requestsPerSecond),
      p50Ms: middle((sample) => sample.p50Ms),
      p99Ms: middle((sample) => sample.p99Ms),
      errors: same.reduce((sum, { errors }) => sum + errors, 0),
      cpuMicrosPerRequest: middle((sample) => sample.cpuMicrosPerRequest),
    };
  });
}

function report(cells: readonly Sample[]): string {
  const head = ["workload", "server", "to", "conns", "req/s", "p50 ms", "p99 ms", "errors"];
  head.push("CPU us/req", "req/s : etcd", "p99 : etcd", "CPU : etcd");
  const rows = cells.map((cell) => {
    const base =
      cell.server === "etcd" ? undefined : cells.find((other) => isAt(cell, other, "etcd"));
    const against = (figureOf: (sample: Sample) => number) =>
      base === undefined ? "" : ratio(figureOf(cell), figureOf(base));
    return [
      WORKLOAD_TITLES[cell.workload],
      cell.server,
      cell.target,
      String(cell.connections),
      cell.requestsPerSecond.toFixed(0),
      figure(cell.p50Ms),
      figure(cell.p99Ms),
      cell.errors === 0 ? "0" : `${cell.errors} !`,
      figure(cell.cpuMicrosPerRequest),
      against((sample) => sample.requestsPerSecond),
      against((sample) => sample.p99Ms),
      against((sample) => sample.cpuMicrosPerRequest),
    ];
  });
  return table(head, rows, 3);
}

function outageReport(outages: readonly Outage[], servers: readonly ServerKind[]): string {
  const rows = servers.map((server) => {
    const ms = outages.filter((outage) => outage.server === server).map((outage) => outage.ms);
    return [server, figure(Math.min(...ms)), figure(median(ms)), figure(Math.max(...ms))];
  });
  return table(["ms without writes after kill -9 of the leader", "least", "median", "most"], rows);
}

function chart(cells: readonly Sample[], options: Options): string {
  const panels = (unit: string, figureOf: (cell: Sample) => number) =>
    options.workloads.map((workload) => ({
      title: WORKLOAD_TITLES[workload],
      unit,
      groups: options.targets.flatMap((target) =>
        options.connections.map((connections) => ({
          label: `${target}, ${connections}`,
          values: options.servers.map((server) => {
            const cell = cells.find((one) => isAt({ workload, target, connections }, one, server));
            return cell === undefined ? Number.NaN : figureOf(cell);
          }),
        })),
      ),
    }));
  return barChart({
    title: `Requests to a cluster of ${options.members} on one machine`,
    subtitle:
      `${VALUE.length}-byte values, ${KEYS} keys, load from ${options.load} on the leader or spread ` +
      `over all, medians of ${options.rounds} x ${options.seconds} s; ${MACHINE}`,
    series: options.servers,
    rows: [
      panels("requests per second: more is better", (cell) => cell.requestsPerSecond),
      panels("p99 latency in ms: less is better", (cell) => cell.p99Ms),
      panels("CPU of all members per request in microseconds", (cell) => cell.cpuMicrosPerRequest),
    ],
  });
}

async function main(): Promise<void> {
  const options = readOptions();
  const clusters: Cluster[] = [];
  for (const kind of options.servers) {
    const flags = kind === "ringd" ? options.ringdFlags : [];
    const members = await startCluster({ kind, flags }, options.members);
    clusters.push({ kind, members });
    const { url } = await leaderOf(members);
    await fill({ url, count: KEYS, connections: 8, pathOf: keyPath, value: VALUE });
  }
  const cells: Cell[] = options.workloads.flatMap((workload) =>
    options.targets.flatMap((target) =>
      options.connections.flatMap((connections) =>
        options.servers.map((server) => ({ server, workload, target, connections })),
      ),
    ),
  );
  const samples: Sample[] = [];
  for (let round = 0; round < options.rounds; round++) {
    for (const cell of round % 2 === 0 ? cells : [...cells].reverse()) {
      const cluster = clusters.find(({ kind }) => kind === cell.server) as Cluster;
      const sample = await measure(cluster, cell, options, round === 0);
      samples.push(sample);
      tell(
        `round ${round + 1}/${options.rounds}  ${cell.server} ${cell.workload} to ${cell.target}, ` +
          `${cell.connections}: ${sample.requestsPerSecond.toFixed(0)} req/s, ` +
          `p99 ${figure(sample.p99Ms)} ms, ${sample.errors} errors`,
      );
    }
  }
  const outages: Outage[] = [];
  for (let kill = 0; kill < options.kills; kill++) {
    for (const cluster of clusters) outages.push(await killLeader(cluster));
  }
  const medians = summarize(samples, cells);
  const errors = medians.reduce((sum, cell) => sum + cell.errors, 0);
  say(
    `\n${options.members} members, medians of ${options.rounds} rounds of ${options.seconds} s, ` +
      `${KEYS} keys, ${VALUE.length}-byte values; load: ${options.load}; ${MACHINE}\n` +
      "CPU us/req: of all members together.\n",
  );
  say(report(medians));
  if (errors > 0) say(`\nTHIS RUN HAD ${errors} ERRORS: rows marked ! are not comparable.`);
  if (outages.length > 0) say(`\n${outageReport(outages, options.servers)}`);
  const result = { errors, options, cells: medians, samples, outages };
  writeResult(options.out, "cluster", result, chart(medians, options));
}

await run(main);
