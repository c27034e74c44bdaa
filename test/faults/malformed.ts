import { parseArgs } from "node:util";
import { TestMember } from "../support/member.js";
import { Prng } from "../support/prng.js";
import { throwMalformed } from "./lib/malformed.js";
import { descriptors, rssBytes, serves, untilDescriptors } from "./lib/member-state.js";

/** Connections at a time. */
const AT_ONCE = 20;
const MIB = 2 ** 20;
/** Of what the allocator keeps and of a young heap. */
const RSS_GROWTH_MAX = 100 * MIB;

export interface MalformedRun {
  readonly kind: "uws" | "node";
  readonly requests: number;
  readonly seed: number;
  readonly tell: (line: string) => void;
}

/**
 * Malformed requests against a member.
 *
 * @throws Error if it ends, no longer serves, or keeps connections or memory
 */
export async function runMalformed({ kind, requests, seed, tell }: MalformedRun): Promise<void> {
  const member = await TestMember.create("ringd", ["--frontend", kind]);
  try {
    const prng = new Prng(seed);
    const { port } = member;
    const some = async (count: number) => {
      for (let sent = 0; sent < count; sent += AT_ONCE) {
        await Promise.all(Array.from({ length: AT_ONCE }, () => throwMalformed(port, prng)));
      }
    };
    await serves(member, "before");
    // The connections above close a moment later.
    const most = descriptors(member);
    // Warm: compiled code, buffers and the event history.
    await some(Math.min(requests / 5, 5000));
    await untilDescriptors(member, most);
    const before = rssBytes(member);
    await some(requests);
    await untilDescriptors(member, most);
    await serves(member, "after");
    const growth = rssBytes(member) - before;
    tell(`${kind}: ${requests} malformed requests, RSS ${Math.round(growth / MIB)} MiB more`);
    if (growth > RSS_GROWTH_MAX) throw new Error(`${kind}: RSS grew by ${growth} bytes`);
    const code = await member.end("SIGTERM");
    if (code !== 0) throw new Error(`${kind}: the member ended with ${code}:\n${member.log}`);
  } finally {
    await member.destroy();
  }
}

/** `npm run malformed -- [--requests 100000] [--seed 1] [--kind uws|node]` */
export async function main(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      requests: { type: "string", default: "100000" },
      seed: { type: "string", default: "1" },
      kind: { type: "string" },
    },
  });
  const kinds = ["uws", "node"] as const;
  for (const kind of kinds) {
    if (values.kind !== undefined && values.kind !== kind) continue;
    await runMalformed({
      kind,
      requests: Number(values.requests),
      seed: Number(values.seed),
      tell: (line) => process.stdout.write(`${line}\n`),
    });
  }
}

if (process.argv[1]?.endsWith("malformed.js")) await main(process.argv.slice(2));
