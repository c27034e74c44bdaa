import { Client } from "../../client/client.js";
import { ClientError } from "../../client/errors.js";
import { cleanPath } from "../../go/clean-path.js";
import { Session } from "../cli/session.js";
import type { Context } from "../cli/spec.js";
import { toKeyFailure } from "../output/errors.js";
import { EXIT, failure } from "../output/exit.js";
import { Latencies } from "../output/latencies.js";
import { ProgressBar } from "../output/progress.js";
import { out } from "../output/terminal.js";

/** Number of keys, written in turn. */
const KEYS = 1000;

/** Puts, then gets, for some seconds each; removes its keys. For a first impression only. */
export async function bench(context: Context): Promise<number> {
  const session = await Session.open(context);
  const { flags } = context;
  const seconds = positive(flags.int("seconds"), "--seconds");
  const connections = positive(flags.int("c"), "-c");
  const value = "x".repeat(positive(flags.int("size"), "--size"));
  // A separate directory for each run: existing keys are not touched.
  const directory = cleanPath(`/${flags.string("key")}/${Date.now()}-${process.pid}`);
  const client = new Client({ ...session.options, connectionsMax: connections });
  const keyOf = (n: number) => `${directory}/${n % KEYS}`;
  let isInterrupted = false;
  process.once("SIGINT", () => {
    isInterrupted = true;
  });
  const run = async (label: string, request: (n: number) => Promise<unknown>) => {
    const latencies = new Latencies();
    const progress = new ProgressBar(label, seconds);
    const startMs = performance.now();
    const elapsed = () => (performance.now() - startMs) / 1000;
    let n = 0;
    const worker = async () => {
      while (elapsed() < seconds && !isInterrupted) {
        const sentMs = performance.now();
        await request(n++);
        latencies.record(performance.now() - sentMs);
        progress.to(elapsed(), `${Math.round(latencies.count / elapsed())}/s`);
      }
    };
    await Promise.all(Array.from({ length: connections }, worker));
    const took = elapsed();
    progress.end();
    report(label, latencies, took);
  };
  let written = 0;
  try {
    await run("put", (n) => {
      written = Math.max(written, n + 1);
      return client.set(keyOf(n), value);
    });
    const count = Math.max(Math.min(written, KEYS), 1);
    if (!isInterrupted) await run("get", (n) => client.get(keyOf(n % count)));
  } catch (error) {
    throw await toKeyFailure(EXIT.server, error);
  } finally {
    await cleanUp(client, directory);
  }
  return EXIT.ok;
}

/** Ignores errors: if the removal fails, the load has failed before, and its error is reported. */
async function cleanUp(client: Client, directory: string): Promise<void> {
  try {
    await client.delete(directory, { recursive: true });
    // Fails while another run uses it.
    await client.delete(directory.slice(0, directory.lastIndexOf("/")), { dir: true });
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
  }
}

function report(label: string, latencies: Latencies, seconds: number): void {
  const of = (share: number) => `${latencies.quantileMs(share).toFixed(2)} ms`;
  const rate = Math.round(latencies.count / seconds);
  out(
    [
      `${label}: ${latencies.count} requests in ${seconds.toFixed(1)} s, ${rate}/s`,
      `  p50 ${of(0.5)}  p90 ${of(0.9)}  p99 ${of(0.99)}  max ${latencies.maxMs.toFixed(2)} ms`,
      ...latencies.rows(),
      "",
    ].join("\n"),
  );
}

function positive(value: bigint, flag: string): number {
  if (value > 0n && value <= 1_000_000n) return Number(value);
  throw failure(`${flag} must be between 1 and 1000000, not ${value}`);
}
