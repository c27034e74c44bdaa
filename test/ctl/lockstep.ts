import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { untilOwnWritesDone } from "../compat/own-writes.js";
import { type MemberKind, TestMember } from "../support/member.js";
import { EtcdctlLink, etcdctl, Host, type Outcome, type RunOptions, ringctl } from "./run.js";

/** One in so many lines runs ringctl as a separate process. */
const SAMPLE = 10;
/** Enough on a machine that is busy with something else. */
const PATIENT = ["--timeout", "30s", "--total-timeout", "60s"];

/** One command line of a script. */
export interface Line {
  readonly text: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly input: string;
}

/**
 * Parses a script: one command line per line, quoted as in a shell, without the program's name.
 * `--endpoints $E` is prepended, unless the line begins with `@`. Variables may precede the
 * arguments; standard input follows ` << `, where \n is a newline. `$E` is the server's URL, `$S` a
 * server that never responds, `$H` one that is down for maintenance.
 */
export function readScript(script: string): Line[] {
  return script
    .split("\n")
    .map((text) => text.trim())
    .filter((text) => text !== "" && !text.startsWith("#"))
    .map((text) => {
      const [command = "", input = ""] = text.split(" << ");
      const words = [...command.matchAll(/'([^']*)'|(\S+)/g)].map(
        ([, quoted, plain]) => quoted ?? plain ?? "",
      );
      const isRaw = words[0] === "@";
      const env: Record<string, string> = {};
      const rest = isRaw ? words.slice(1) : words;
      while (/^[A-Z_]+=/.test(rest[0] ?? "")) {
        const [name = "", ...value] = (rest.shift() as string).split("=");
        env[name] = value.join("=");
      }
      const isTimed = rest.some((word) => word.includes("timeout"));
      const args = isRaw ? rest : [...(isTimed ? [] : PATIENT), "--endpoints", "$E", ...rest];
      return { text, args, env, input: input.replaceAll("\\n", "\n") };
    });
}

/**
 * Runs a script with Debian's etcdctl and with ringctl, each on a new server of its own, and
 * compares output, exit code and the whole store after every line.
 *
 * @param kinds of etcdctl's server and of ringctl's
 * @returns the number of lines
 */
export async function compareScript(
  script: string,
  kinds: readonly [MemberKind, MemberKind] = ["ringd", "ringd"],
): Promise<number> {
  const link = new EtcdctlLink();
  const host = new Host();
  const silent = createServer(() => undefined);
  const broken = createServer((_, response) => {
    response.writeHead(502, { "content-type": "text/plain" }).end("down for maintenance");
  });
  const others = new Map([
    ["$S", await listening(silent)],
    ["$H", await listening(broken)],
  ]);
  const servers = await Promise.all([TestMember.create(kinds[0]), TestMember.create(kinds[1])]);
  try {
    const [theirs, ours] = servers;
    await Promise.all(servers.map(({ clientUrl }) => untilOwnWritesDone(clientUrl)));
    const lines = readScript(script);
    for (const [n, line] of lines.entries()) {
      const [expected, actual] = await Promise.all([
        runOn(theirs, line, others, (args, options) => etcdctl(args, options)),
        runOn(ours, line, others, (args, options) =>
          needsProcess(line, n)
            ? ringctl(args, { ...options, script: link.path })
            : host.run("etcdctl", args, options.env ?? {}),
        ),
      ]);
      assert.deepEqual(actual, expected, line.text);
    }
    return lines.length;
  } finally {
    link.remove();
    host.end();
    for (const server of [silent, broken]) {
      server.close();
      server.closeAllConnections();
    }
    await Promise.all(servers.map((server) => server.destroy()));
  }
}

async function listening(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Commands that read standard input or start others, and a sample of the rest. */
function needsProcess({ args, input }: Line, n: number): boolean {
  return input !== "" || args.includes("exec-watch") || n % SAMPLE === 0;
}

async function runOn(
  server: TestMember,
  line: Line,
  others: ReadonlyMap<string, string>,
  run: (args: readonly string[], options: RunOptions) => Promise<Outcome>,
): Promise<Outcome & { store: string }> {
  const known = new Map([["$E", server.clientUrl], ["$P", String(server.port)], ...others]);
  const fill = (text: string) => text.replaceAll(/\$[A-Z]/g, (name) => known.get(name) ?? name);
  const env = Object.fromEntries(
    Object.entries(line.env).map(([name, value]) => [name, fill(value)]),
  );
  const { code, out, err } = await run(line.args.map(fill), { input: line.input, env });
  const store = await fetch(`${server.clientUrl}/v2/keys/?recursive=true&sorted=true`);
  return {
    code,
    out: mask(out, server),
    err: mask(err, server),
    store: mask(await store.text(), server).replaceAll(/"ttl":\d+/g, '"ttl":0'),
  };
}

/** Masks what differs between any two runs: ports, ids and times. */
function mask(text: string, server: TestMember): string {
  const masked = text
    .replaceAll(server.clientUrl, "<url>")
    .replaceAll(server.peerUrl, "<peer url>")
    .replaceAll(`127.0.0.1:${server.port}`, "<address>")
    .replaceAll(/\b(?=[0-9a-f]*[a-f])[0-9a-f]{13,16}\b/g, "<id>")
    .replaceAll(/"expiration":"[^"]*"/g, '"expiration":"<time>"')
    .replaceAll(/^stty: .*\n/gm, "")
    .replaceAll(/read tcp \S+: read: /g, "");
  return masked.includes("<id>") ? inOrder(masked) : masked;
}

/** Sorts the lines: members are listed by id, which is random. */
function inOrder(text: string): string {
  return text
    .replace(/(?<=ETCD_INITIAL_CLUSTER=").*(?=")/, (list) => list.split(",").sort().join(","))
    .split("\n")
    .sort()
    .join("\n");
}
