#!/usr/bin/env node
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { RingdError } from "../lib/errors.js";

/**
 * Runs a whole cluster on this machine, for experiments: starts the members, prefixes their log
 * lines with their names, forwards SIGINT and SIGTERM, and ends when all have. To restart a killed
 * member, run its command line, printed at the start.
 */

const USAGE = `Usage:

  npm run cluster -- [--members N] [--base-port P] [--data-dir D] [--peer-tls] [-- flags of every member]

  --members N     1 to 6 members, infra1 to infraN; 3 when not given
  --base-port P   client port of the first member, with its peer port behind it; the next has P+10.
                  When not given: clients 2379, 22379, 32379, peers 2380, 22380, 32380, as etcd's Procfile
  --data-dir D    where infraN.etcd are; the working directory when not given
  --peer-tls      TLS between members, with certificates that each makes for itself
`;

const MEMBERS_MAX = 6;
const PORT_MAX = 65_535;
const COLORS = [36, 33, 32, 35, 34, 31];
const RINGD = new URL("./ringd.js", import.meta.url).pathname;

interface Options {
  readonly members: number;
  /** Undefined: etcd's ports. */
  readonly basePort: number | undefined;
  readonly dataDir: string;
  readonly peerTls: boolean;
  readonly flags: readonly string[];
}

interface LocalMember {
  readonly name: string;
  readonly args: readonly string[];
}

/** An invalid flag. */
class UsageError extends RingdError {
  override readonly name = "UsageError";
  readonly code = "USAGE";
}

/** @throws UsageError; TypeError from parseArgs */
function readOptions(argv: readonly string[]): Options | "help" {
  const end = argv.indexOf("--");
  const { values } = parseArgs({
    args: [...(end < 0 ? argv : argv.slice(0, end))],
    options: {
      members: { type: "string", default: "3" },
      "base-port": { type: "string" },
      "data-dir": { type: "string", default: "." },
      "peer-tls": { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return "help";
  const members = wholeNumber("--members", values.members, 1, MEMBERS_MAX);
  const lastOffset = 10 * (members - 1) + 1;
  const given = values["base-port"];
  const basePort =
    given === undefined ? undefined : wholeNumber("--base-port", given, 1, PORT_MAX - lastOffset);
  return {
    members,
    basePort,
    dataDir: values["data-dir"],
    peerTls: values["peer-tls"],
    flags: end < 0 ? [] : argv.slice(end + 1),
  };
}

function wholeNumber(flag: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new UsageError(`${flag} is ${text}, and must be between ${min} and ${max}`);
}

function planMembers(options: Options): LocalMember[] {
  const { members, basePort, dataDir, peerTls } = options;
  const flags = [...(peerTls ? ["--peer-auto-tls"] : []), ...options.flags];
  // The member writes to a pipe, yet its lines end on a terminal.
  const format = process.stdout.isTTY ? ["--log-format", "pretty"] : [];
  const plans = Array.from({ length: members }, (_, i) => {
    const port =
      basePort === undefined ? 2379 + (i === 0 ? 0 : 10_000 * (i + 1)) : basePort + 10 * i;
    return {
      name: `infra${i + 1}`,
      clientUrl: `http://127.0.0.1:${port}`,
      peerUrl: `${peerTls ? "https" : "http"}://127.0.0.1:${port + 1}`,
    };
  });
  const cluster = plans.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(",");
  return plans.map(({ name, clientUrl, peerUrl }) => ({
    name,
    args: [
      ...["--name", name, "--data-dir", join(dataDir, `${name}.etcd`)],
      ...["--listen-client-urls", clientUrl, "--advertise-client-urls", clientUrl],
      ...["--listen-peer-urls", peerUrl, "--initial-advertise-peer-urls", peerUrl],
      ...["--initial-cluster-token", "etcd-cluster-1", "--initial-cluster", cluster],
      ...format,
      ...flags,
    ],
  }));
}

/** Runs one member until it exits. @returns whether it exited with 0 */
async function run(member: LocalMember, prefix: string, running: Set<ChildProcess>) {
  const say = (line: string) => process.stdout.write(`${prefix} | ${line}\n`);
  say(`ringd ${member.args.join(" ")}`);
  const child = spawn(process.execPath, [RINGD, ...member.args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  for (const stream of [child.stdout, child.stderr]) createInterface(stream).on("line", say);
  // "exit" may come before the last line is read; "close" does not.
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  running.delete(child);
  say(signal === null ? `ended with exit code ${code}` : `ended by ${signal}`);
  return code === 0;
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  if (options === "help") {
    process.stdout.write(USAGE);
    return;
  }
  const running = new Set<ChildProcess>();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      for (const child of running) child.kill(signal);
    });
  }
  const members = planMembers(options);
  const ended = members.map((member, i) => {
    const prefix = process.stdout.isTTY
      ? `\u001b[${COLORS[i % COLORS.length]}m${member.name}\u001b[0m`
      : member.name;
    return run(member, prefix, running);
  });
  const isWell = await Promise.all(ended);
  process.exitCode = isWell.every(Boolean) ? 0 : 1;
}

main().catch((error: unknown) => {
  if (!(error instanceof Error)) throw error;
  process.stderr.write(`${error.message}\n\n${USAGE}`);
  process.exitCode = 2;
});
