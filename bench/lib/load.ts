import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import autocannon from "autocannon";
import { Latencies } from "#ringd/ctl/output/latencies.js";
import { atExit } from "./lifetime.js";
import { ownCpuMicros } from "./proc.js";
import { FORM, KEYS, PUT_BODY, requestAt, type Workload } from "./workload.js";

/**
 * autocannon runs in this process; wrk is a separate program that costs far less CPU per request.
 */
export const LOADS = ["autocannon", "wrk"] as const;
export type Load = (typeof LOADS)[number];

export interface LoadOptions {
  readonly load: Load;
  readonly url: string;
  readonly workload: Workload;
  readonly connections: number;
  readonly seconds: number;
  /** Of every request; "" for none. */
  readonly authorization: string;
}

export interface LoadResult {
  /** Responses of any status. */
  readonly requests: number;
  /** Responses other than 2xx, and connections that broke or timed out. */
  readonly errors: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
  /** CPU of the load generator, in cores: 1 is one core, all the time. */
  readonly loadCores: number;
}

type Measured = Omit<LoadResult, "loadCores">;

/**
 * Requests that each connection repeats: together they cover all keys, without 1000 copies of each.
 */
const REQUESTS_PER_CONNECTION_MIN = 10;

/** @throws if the load generator itself fails; errors of the server are counted */
export async function applyLoad(options: LoadOptions): Promise<LoadResult> {
  const beforeMicros = ownCpuMicros();
  const measured = await (options.load === "wrk" ? wrk(options) : cannon(options));
  const cpuSeconds = (ownCpuMicros() - beforeMicros) / 1e6;
  return { ...measured, loadCores: cpuSeconds / measured.seconds };
}

async function cannon(options: LoadOptions): Promise<Measured> {
  const perConnection = Math.max(
    REQUESTS_PER_CONNECTION_MIN,
    Math.ceil(KEYS / options.connections),
  );
  let connection = 0;
  const instance = autocannon(
    {
      url: options.url,
      connections: options.connections,
      duration: options.seconds,
      // autocannon checks its clock at the end of a sample only.
      sampleInt: 50,
      timeout: 20,
      skipAggregateResult: true,
      setupClient: (client) => {
        // Staggered, or all connections of the mix would send their PUT at once.
        const start = connection * perConnection + (connection % perConnection);
        const requests = Array.from({ length: perConnection }, (_, i) => {
          const request = requestAt(options.workload, start + i);
          const { authorization } = options;
          const credentials = authorization === "" ? {} : { authorization };
          if (request.method === "GET") {
            return { ...request, body: undefined, headers: credentials };
          }
          return {
            ...request,
            body: PUT_BODY,
            headers: { "content-type": FORM, ...credentials },
          };
        });
        client.setRequests(requests);
        connection += 1;
      },
    },
    () => {}, // With a callback, autocannon returns the instance instead of a promise.
  );
  // autocannon's own histogram counts whole milliseconds, too coarse for one connection.
  const latencies = new Latencies();
  let refused = 0;
  let broken = 0;
  const startedMs = performance.now();
  let lastMs = startedMs;
  instance.on("response", (_client, status, _bytes, ms) => {
    latencies.record(ms);
    if (status < 200 || status > 299) refused += 1;
    lastMs = performance.now();
  });
  instance.on("reqError", () => {
    broken += 1;
  });
  await once(instance, "done");
  return {
    requests: latencies.count,
    errors: refused + broken,
    seconds: Math.max(options.seconds, (lastMs - startedMs) / 1000),
    p50Ms: latencies.quantileMs(0.5),
    p99Ms: latencies.quantileMs(0.99),
    p999Ms: latencies.quantileMs(0.999),
    maxMs: latencies.maxMs,
  };
}

/**
 * The script of a wrk run: one thread sends prerendered requests in turn, and prints one line of
 * JSON at the end. wrk counts 4xx and 5xx as errors. A `response` function could count 3xx, too,
 * but wrk would then parse the headers of every response, at twice the cost.
 */
function wrkScript({ workload, authorization }: LoadOptions): string {
  const rendered = Array.from({ length: KEYS }, (_, n) => {
    const { method, path } = requestAt(workload, n);
    const put = method === "PUT";
    const args = [`"${method}"`, `"${path}"`, put ? "form" : "plain", put ? "body" : "nil"];
    return `  wrk.format(${args.join(", ")}),`;
  });
  const credentials = (before: string) =>
    authorization === "" ? "" : `${before} ["Authorization"] = "${authorization}"`;
  return `
local requests
local at = 0
function init(args)
  local body = "${PUT_BODY}"
  local form = { ["Content-Type"] = "${FORM}"${credentials(", ")} }
  local plain = {${credentials("")} }
  requests = {
${rendered.join("\n")}
  }
end
function request()
  at = at % ${KEYS} + 1
  return requests[at]
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests":%d,"micros":%d,"errors":%d,"p50":%f,"p99":%f,"p999":%f,"max":%f}\\n',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.timeout + e.status,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
`;
}

async function wrk(options: LoadOptions): Promise<Measured> {
  const directory = mkdtempSync(join(tmpdir(), "bench-wrk-"));
  let child: ChildProcess | undefined;
  const cleanUp = () => {
    child?.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  };
  const takeBack = atExit(cleanUp);
  try {
    const script = join(directory, "load.lua");
    writeFileSync(script, wrkScript(options));
    const args = [
      ["--threads", "1"],
      ["--connections", String(options.connections)],
      ["--duration", `${Math.max(1, Math.round(options.seconds))}s`],
      ["--timeout", "20s"],
      ["--script", script, options.url],
    ].flat();
    const wrkProcess = spawn("wrk", args, { stdio: ["ignore", "pipe", "inherit"] });
    child = wrkProcess;
    let output = "";
    wrkProcess.stdout.setEncoding("latin1").on("data", (text: string) => {
      output += text;
    });
    const [code] = await once(wrkProcess, "close");
    const line = /^RESULT (.*)$/m.exec(output)?.[1];
    if (code !== 0 || line === undefined) throw new Error(`Cannot run wrk: ${output}`);
    const result = JSON.parse(line) as Record<
      "requests" | "micros" | "errors" | "p50" | "p99" | "p999" | "max",
      number
    >;
    return {
      requests: result.requests,
      errors: result.errors,
      seconds: result.micros / 1e6,
      p50Ms: result.p50 / 1000,
      p99Ms: result.p99 / 1000,
      p999Ms: result.p999 / 1000,
      maxMs: result.max / 1000,
    };
  } finally {
    cleanUp();
    takeBack();
  }
}
