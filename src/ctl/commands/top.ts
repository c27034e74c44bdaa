import { setTimeout as sleep } from "node:timers/promises";
import colors from "picocolors";
import type { Member } from "../../client/answers.js";
import { Client } from "../../client/client.js";
import { ClientError } from "../../client/errors.js";
import { Session } from "../cli/session.js";
import type { Context } from "../cli/spec.js";
import { toKeyFailure } from "../output/errors.js";
import { EXIT } from "../output/exit.js";
import { endAtInterrupt, out } from "../output/terminal.js";
import { Metrics, quantileBetween } from "./metrics-text.js";

const CTRL_C = 3;
const INTERVAL_MS_MIN = 100;
const FSYNC = "etcd_disk_wal_fsync_duration_seconds";
const REQUESTS = "etcd_http_received_total";
const HOME_AND_CLEAR = "\u001b[H\u001b[J";

/** One member at one moment; undefined for what it did not tell. */
export interface Look {
  readonly member: Member;
  readonly atMs: number;
  readonly role: "leader" | "follower" | "down";
  readonly term: number | undefined;
  /** Of the raft log, applied. */
  readonly index: number | undefined;
  readonly requests: number | undefined;
  readonly fsyncs: ReadonlyMap<number, number>;
}

/** A table of the members, anew every interval; on a terminal in place, with colours. */
export async function top(context: Context): Promise<number> {
  const session = await Session.open(context);
  const { flags, globals } = context;
  const intervalMs = Math.max(flags.durationMs("interval"), INTERVAL_MS_MIN);
  const looksMax = Number(flags.int("count"));
  const client = new Client(session.options);
  const timeoutMs = globals.durationMs("timeout");
  endAtInterrupt();
  listenForQuit();
  let before = await lookAtAll(client, timeoutMs);
  for (let looks = 1; ; looks++) {
    await sleep(intervalMs);
    const now = await lookAtAll(client, timeoutMs);
    const table = render(before, now, colors.isColorSupported && process.stdout.isTTY === true);
    out(process.stdout.isTTY ? HOME_AND_CLEAR + table : table);
    if (looks === looksMax) return EXIT.ok;
    before = now;
  }
}

async function lookAtAll(client: Client, timeoutMs: number): Promise<Look[]> {
  const members = await client.members.list({ timeoutMs }).catch(async (error: unknown) => {
    throw await toKeyFailure(EXIT.server, error);
  });
  return await Promise.all(members.map((member) => lookAt(client, member, timeoutMs)));
}

async function lookAt(client: Client, member: Member, timeoutMs: number): Promise<Look> {
  const atMs = performance.now();
  const down: Look = {
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
      role: stats.state === "StateLeader" ? "leader" : "follower",
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

const HEAD = ["MEMBER", "NAME", "ROLE", "TERM", "INDEX", "LAG", "REQ/S", "FSYNC P99"] as const;

/** @param isColored only the words are coloured, so that columns stay */
export function render(before: readonly Look[], now: readonly Look[], isColored: boolean): string {
  const paint = colors.createColors(isColored);
  const first = Math.max(...now.map(({ index }) => index ?? 0));
  const rows = now.map((look) => {
    const last = before.find(({ member }) => member.id === look.member.id);
    return [
      look.member.id,
      look.member.name || "-",
      look.role,
      show(look.term),
      show(look.index),
      look.index === undefined ? "-" : `${first - look.index}`,
      rate(last, look),
      milliseconds(
        last === undefined ? undefined : quantileBetween(last.fsyncs, look.fsyncs, 0.99),
      ),
    ];
  });
  const widths = HEAD.map((head, n) =>
    Math.max(head.length, ...rows.map((row) => (row[n] as string).length)),
  );
  const line = (cells: readonly string[]) =>
    cells.map((cell, n) => (n < 3 ? cell.padEnd(at(widths, n)) : cell.padStart(at(widths, n))));
  const roleColor = { leader: paint.green, follower: String, down: paint.red };
  const texts = rows.map((row, n) => {
    const cells = line(row);
    const color = roleColor[(now[n] as Look).role];
    return cells.map((cell, column) => (column === 2 ? color(cell) : cell)).join("  ");
  });
  return `${[paint.bold(line(HEAD).join("  ")), ...texts].join("\n")}\n`;
}

function at(widths: readonly number[], n: number): number {
  return widths[n] ?? 0;
}

function show(value: number | undefined): string {
  return value === undefined ? "-" : `${value}`;
}

function rate(before: Look | undefined, now: Look): string {
  if (before?.requests === undefined || now.requests === undefined) return "-";
  // Less than before: it was started anew.
  const count = now.requests < before.requests ? now.requests : now.requests - before.requests;
  return `${Math.round(count / ((now.atMs - before.atMs) / 1000))}`;
}

function milliseconds(seconds: number | undefined): string {
  if (seconds === undefined) return "-";
  return seconds === Infinity ? "> 8 s" : `<= ${Number((seconds * 1000).toPrecision(3))} ms`;
}

/** q and Ctrl-C, which a terminal in raw mode delivers as a byte. */
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
