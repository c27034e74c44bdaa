import { setTimeout as sleep } from "node:timers/promises";
import colors from "picocolors";
import { Client } from "../../client/client.js";
import { ClientError } from "../../client/errors.js";
import type { Member } from "../../client/responses.js";
import { Session } from "../cli/session.js";
import type { Context } from "../cli/spec.js";
import { toKeyFailure } from "../output/errors.js";
import { EXIT } from "../output/exit.js";
import { exitAtInterrupt, out } from "../output/terminal.js";
import { Metrics, quantileBetween } from "./metrics-text.js";

const CTRL_C = 3;
const INTERVAL_MS_MIN = 100;
const FSYNC = "etcd_disk_wal_fsync_duration_seconds";
const REQUESTS = "etcd_http_received_total";
const HOME_AND_CLEAR = "\u001b[H\u001b[J";

/** The state of one member; undefined for values it did not report. */
export interface Sample {
  readonly member: Member;
  readonly atMs: number;
  readonly role: "leader" | "follower" | "learner" | "down";
  readonly term: number | undefined;
  /** Applied index of the raft log. */
  readonly index: number | undefined;
  readonly requests: number | undefined;
  readonly fsyncs: ReadonlyMap<number, number>;
}

/** Prints a table of the members every interval; on a terminal in place and with colours. */
export async function top(context: Context): Promise<number> {
  const session = await Session.open(context);
  const { flags, globals } = context;
  const intervalMs = Math.max(flags.durationMs("interval"), INTERVAL_MS_MIN);
  const countMax = Number(flags.int("count"));
  const client = new Client(session.options);
  const timeoutMs = globals.durationMs("timeout");
  exitAtInterrupt();
  listenForQuit();
  let before = await sampleAll(client, timeoutMs);
  for (let count = 1; ; count++) {
    await sleep(intervalMs);
    const now = await sampleAll(client, timeoutMs);
    const table = render(before, now, colors.isColorSupported && process.stdout.isTTY === true);
    out(process.stdout.isTTY ? HOME_AND_CLEAR + table : table);
    if (count === countMax) return EXIT.ok;
    before = now;
  }
}

async function sampleAll(client: Client, timeoutMs: number): Promise<Sample[]> {
  const members = await client.members.list({ timeoutMs }).catch(async (error: unknown) => {
    throw await toKeyFailure(EXIT.server, error);
  });
  return await Promise.all(members.map((member) => sampleMember(client, member, timeoutMs)));
}

async function sampleMember(client: Client, member: Member, timeoutMs: number): Promise<Sample> {
  const atMs = performance.now();
  const down: Sample = {
    ...{ member, atMs, role: "down", term: undefined, index: undefined },
    ...{ requests: undefined, fsyncs: new Map() },
  };
  const [endpoint] = member.clientURLs;
  if (endpoint === undefined) return down;
  try {
    const call = { endpoint, timeoutMs, totalTimeoutMs: timeoutMs };
    const [keys, stats, text] = await Promise.all([
      client.request("GET", "/v2/keys/", call),
      client.selfStats(call),
      client.request("GET", "/metrics", call),
    ]);
    const metrics = new Metrics(text.body);
    const header = (name: string) => {
      const value = Number(keys.headers[name]);
      return Number.isFinite(value) ? value : undefined;
    };
    return {
      member,
      atMs,
      role: stats.state === "StateLeader" ? "leader" : member.isLearner ? "learner" : "follower",
      term: header("x-raft-term"),
      index: header("x-raft-index"),
      requests: metrics.sum(REQUESTS),
      fsyncs: metrics.buckets(FSYNC),
    };
  } catch (error) {
    if (error instanceof ClientError) return down;
    throw error;
  }
}

const HEADINGS = ["MEMBER", "NAME", "ROLE", "TERM", "INDEX", "LAG", "REQ/S", "FSYNC P99"] as const;

/** @param isColored colours change no column widths */
export function render(
  before: readonly Sample[],
  now: readonly Sample[],
  isColored: boolean,
): string {
  const paint = colors.createColors(isColored);
  const first = Math.max(...now.map(({ index }) => index ?? 0));
  const rows = now.map((sample) => {
    const last = before.find(({ member }) => member.id === sample.member.id);
    return [
      sample.member.id,
      sample.member.name || "-",
      sample.role,
      show(sample.term),
      show(sample.index),
      sample.index === undefined ? "-" : `${first - sample.index}`,
      rate(last, sample),
      milliseconds(
        last === undefined ? undefined : quantileBetween(last.fsyncs, sample.fsyncs, 0.99),
      ),
    ];
  });
  const widths = HEADINGS.map((heading, n) =>
    Math.max(heading.length, ...rows.map((row) => (row[n] as string).length)),
  );
  const line = (cells: readonly string[]) =>
    cells.map((cell, n) => (n < 3 ? cell.padEnd(at(widths, n)) : cell.padStart(at(widths, n))));
  const roleColor = { leader: paint.green, follower: String, learner: String, down: paint.red };
  const texts = rows.map((row, n) => {
    const cells = line(row);
    const color = roleColor[(now[n] as Sample).role];
    return cells.map((cell, column) => (column === 2 ? color(cell) : cell)).join("  ");
  });
  return `${[paint.bold(line(HEADINGS).join("  ")), ...texts].join("\n")}\n`;
}

function at(widths: readonly number[], n: number): number {
  return widths[n] ?? 0;
}

function show(value: number | undefined): string {
  return value === undefined ? "-" : `${value}`;
}

function rate(before: Sample | undefined, now: Sample): string {
  if (before?.requests === undefined || now.requests === undefined) return "-";
  // A lower count than before means a restart.
  const count = now.requests < before.requests ? now.requests : now.requests - before.requests;
  return `${Math.round(count / ((now.atMs - before.atMs) / 1000))}`;
}

function milliseconds(seconds: number | undefined): string {
  if (seconds === undefined) return "-";
  return seconds === Infinity ? "> 8 s" : `<= ${Number((seconds * 1000).toPrecision(3))} ms`;
}

/** Exits at q or Ctrl-C, which a terminal in raw mode delivers as a byte. */
function listenForQuit(): void {
  const { stdin } = process;
  if (!stdin.isTTY || !process.stdout.isTTY) return;
  stdin.setRawMode(true);
  stdin.on("data", (bytes: Buffer) => {
    if (!bytes.includes("q") && !bytes.includes(CTRL_C)) return;
    stdin.setRawMode(false);
    process.exit(EXIT.ok);
  });
}
