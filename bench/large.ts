import { Agent, request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { run } from "./lib/lifetime.js";
import { list, number, oneOf } from "./lib/options.js";
import { memoryOf, usageOf } from "./lib/proc.js";
import { MACHINE, say, tell, words, writeResult } from "./lib/report.js";
import { type BenchServer, probe, startCluster } from "./lib/server.js";
import { median } from "./lib/stats.js";
import { figure, ratio, table } from "./lib/table.js";

/**
 * How many megabytes of large values are acknowledged a second, and how much memory does it take?
 * Each measurement has a fresh cluster; the servers are measured in turn.
 */
const USAGE = `Usage: node dist/bench/large.js [options]

  --members N          (default 3)
  --vs-etcd            adds etcd: ratios to it
  --vs FILE            adds another build: its ringd.js
  --to LIST            of leader, follower: where the load goes (default leader)
  --in-flight LIST     PUTs at a time (default 4,16,64)
  --megabytes N        of each value (default 10; the limit of a form is 10 MiB)
  --seconds N          a measurement lasts (default 10)
  --rounds N           (default 3)
  --patience N         seconds after which a client gives up (default 30)
  --ringd-flags TEXT   more flags of ringd, separated by blanks
  --node-flags TEXT    flags of Node for ringd
  --out DIR            for the JSON (default bench-results)
`;

const TARGETS = ["leader", "follower"] as const;
/** Delay after a rejection. */
const RETRY_MS = 50;

interface Sample {
  readonly server: string;
  readonly to: string;
  readonly inFlight: number;
  readonly mbPerSecond: number;
  readonly acknowledged: number;
  /** "too many requests": rejected at once, sent again. */
  readonly refused: number;
  /** Any other response, or a timeout. */
  readonly failed: number;
  readonly slowestMs: number;
  /** Peak of the member with the highest one. */
  readonly peakMb: number;
  readonly cpuMsPerWrite: number;
}

type Outcome = "acknowledged" | "refused" | "failed";

const { values: options } = parseArgs({
  options: {
    help: { type: "boolean" },
    members: { type: "string", default: "3" },
    "vs-etcd": { type: "boolean", default: false },
    vs: { type: "string" },
    to: { type: "string", default: "leader" },
    "in-flight": { type: "string", default: "4,16,64" },
    megabytes: { type: "string", default: "10" },
    seconds: { type: "string", default: "10" },
    rounds: { type: "string", default: "3" },
    patience: { type: "string", default: "30" },
    "ringd-flags": { type: "string" },
    "node-flags": { type: "string" },
    out: { type: "string", default: "bench-results" },
  },
});

async function main(): Promise<void> {
  if (options.help) {
    say(USAGE);
    return;
  }
  const servers = ["ringd"];
  if (options.vs !== undefined) servers.push("other");
  if (options["vs-etcd"]) servers.push("etcd");
  const rounds = number("rounds", options.rounds);
  const samples: Sample[] = [];
  for (const to of list("to", options.to).map((text) => oneOf("to", text, TARGETS))) {
    for (const inFlight of list("in-flight", options["in-flight"]).map(Number)) {
      for (let round = 0; round < rounds; round++) {
        for (const server of servers) {
          const sample = await measure(server, to, inFlight);
          samples.push(sample);
          tell(JSON.stringify(sample));
        }
      }
    }
  }
  say(`${MACHINE}; ${options.members} members, values of ${options.megabytes} MB`);
  report(samples);
  writeResult(options.out, "large", { options, samples });
}

async function measure(server: string, to: string, inFlight: number): Promise<Sample> {
  const isRingd = server !== "etcd";
  const members = await startCluster(
    {
      kind: isRingd ? "ringd" : "etcd",
      flags: isRingd ? words(options["ringd-flags"]) : [],
      nodeFlags: isRingd ? words(options["node-flags"]) : [],
      ...(server === "other" && options.vs !== undefined ? { entry: options.vs } : {}),
    },
    number("members", options.members),
  );
  try {
    const target = await pick(members, to);
    const cpuBefore = cpuOf(members);
    const load = await applyLoad(target.url, inFlight);
    const cpuMs = (cpuOf(members) - cpuBefore) / 1000;
    const peaks = members.map(({ pid }) => memoryOf(pid).peakBytes);
    return {
      ...{ server, to, inFlight, ...load },
      peakMb: Math.max(...peaks) / 1e6,
      cpuMsPerWrite: cpuMs / load.acknowledged,
    };
  } finally {
    for (const member of members) member.destroy();
  }
}

async function applyLoad(url: string, inFlight: number) {
  const seconds = number("seconds", options.seconds);
  const bytes = number("megabytes", options.megabytes) * 1e6;
  const body = Buffer.alloc(bytes, "0123456789abcdef");
  body.write("value=");
  const agent = new Agent({ keepAlive: true, maxSockets: inFlight });
  const counts = { acknowledged: 0, refused: 0, failed: 0 };
  let slowestMs = 0;
  const startMs = performance.now();
  const endMs = startMs + seconds * 1000;
  const writer = async (n: number) => {
    while (performance.now() < endMs) {
      const sentMs = performance.now();
      const outcome = await put(agent, `${url}/v2/keys/large/${n}`, body);
      const nowMs = performance.now();
      if (nowMs <= endMs || outcome === "failed") counts[outcome]++;
      if (outcome === "acknowledged") slowestMs = Math.max(slowestMs, nowMs - sentMs);
      else await delay(RETRY_MS);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, (_, n) => writer(n)));
  agent.destroy();
  const mbPerSecond = (counts.acknowledged * bytes) / 1e6 / seconds;
  return { ...counts, mbPerSecond, slowestMs };
}

function put(agent: Agent, url: string, body: Buffer): Promise<Outcome> {
  return new Promise((resolve) => {
    const headers = {
      "Content-Type": "application/x-www-form-urlencoded",
      "Content-Length": body.length,
    };
    const call = request(url, { method: "PUT", agent, headers }, (response) => {
      const { statusCode = 0 } = response;
      let text = "";
      response.on("data", (part: Buffer) => {
        if (statusCode >= 300 && text.length < 1000) text += part.toString("latin1");
      });
      response.on("error", () => resolve("failed"));
      response.on("end", () => {
        if (statusCode < 300) resolve("acknowledged");
        else resolve(text.includes("too many requests") ? "refused" : "failed");
      });
    });
    call.setTimeout(number("patience", options.patience) * 1000, () => call.destroy());
    call.on("error", () => resolve("failed"));
    call.end(body);
  });
}

async function pick(members: readonly BenchServer[], to: string): Promise<BenchServer> {
  const states = await Promise.all(members.map(({ url }) => probe(`${url}/v2/stats/self`)));
  const isLeader = (n: number) => states[n]?.body.includes("StateLeader") ?? false;
  const found = members.find((_, n) => isLeader(n) === (to === "leader"));
  if (found === undefined) throw new Error(`no ${to} is known`);
  return found;
}

function cpuOf(members: readonly BenchServer[]): number {
  return members.reduce((sum, { pid }) => sum + usageOf(pid).cpuMicros, 0);
}

function report(samples: readonly Sample[]): void {
  const cells = new Map<string, Sample[]>();
  for (const sample of samples) {
    const key = `${sample.to} ${sample.inFlight} ${sample.server}`;
    cells.set(key, [...(cells.get(key) ?? []), sample]);
  }
  const speed = (some: readonly Sample[]) => median(some.map(({ mbPerSecond }) => mbPerSecond));
  const rows = [...cells.values()].map((some) => {
    const { server, to, inFlight } = some[0] as Sample;
    const of = (field: "acknowledged" | "refused" | "failed") =>
      String(some.reduce((sum, sample) => sum + sample[field], 0));
    const base = cells.get(`${to} ${inFlight} etcd`) ?? [];
    return [
      ...[to, server, String(inFlight), figure(speed(some))],
      base.length === 0 ? "-" : ratio(speed(some), speed(base)),
      ...[of("acknowledged"), of("refused"), of("failed")],
      figure(Math.max(...some.map(({ slowestMs }) => slowestMs))),
      figure(Math.max(...some.map(({ peakMb }) => peakMb))),
      figure(median(some.map(({ cpuMsPerWrite }) => cpuMsPerWrite))),
    ];
  });
  const head = [
    "to",
    "server",
    "in flight",
    "MB/s",
    "to etcd",
    "acknowledged",
    "refused",
    "failed",
  ];
  say(table([...head, "slowest ms", "peak MB", "CPU ms/write"], rows, 2));
}

await run(main);
