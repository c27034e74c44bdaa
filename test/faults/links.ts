import { parseArgs } from "node:util";
import { NetworkLab } from "../support/network-lab.js";
import { median } from "./lib/failover.js";
import { LINK_FAULTS, type LinkResult, runLinkFault } from "./lib/links.js";

const RINGD = new URL("../../bin/ringd.js", import.meta.url).pathname;

const SETTLE_MS = 10_000;

const USAGE = `Faulty links between members on a switch of their own (network namespaces; needs root and nft).

  npm run faults -- links [--seconds 60] [--rounds 3] [--members 3] [--only flap-all,deaf-leader]

  --vs-etcd            etcd in turn with ringd
  --vs FILE            another build's ringd.js in turn with this one
  --flags="..."        more flags for every member

Faults:
${Object.entries(LINK_FAULTS)
  .map(([name, { about }]) => `  ${name.padEnd(16)}${about}`)
  .join("\n")}
`;

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

export async function linksCommand(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: "string", default: "60" },
      rounds: { type: "string", default: "3" },
      members: { type: "string", default: "3" },
      only: { type: "string", default: Object.keys(LINK_FAULTS).join() },
      "vs-etcd": { type: "boolean", default: false },
      vs: { type: "string" },
      flags: { type: "string", default: "" },
      help: { type: "boolean", default: false },
    },
  });
  const why = NetworkLab.unavailable();
  if (values.help || why !== undefined) {
    say(values.help ? USAGE : `not run: ${why}`);
    return;
  }
  const kinds = new Map([["ringd", [process.execPath, RINGD]]]);
  if (values.vs !== undefined) kinds.set("other", [process.execPath, values.vs]);
  if (values["vs-etcd"]) kinds.set("etcd", ["etcd", "--enable-v2=true"]);
  for (const name of values.only.split(",")) {
    const fault = LINK_FAULTS[name];
    if (fault === undefined) throw new Error(`there is no fault ${name}`);
    const results = new Map<string, LinkResult[]>();
    for (let round = 1; round <= Number(values.rounds); round++) {
      for (const [kind, command] of kinds) {
        const flags = values.flags.split(" ").filter((flag) => flag !== "");
        const size = Number(values.members);
        const seconds = Number(values.seconds);
        const settleMs = SETTLE_MS;
        const result = await runLinkFault({ command, fault, seconds, settleMs, size, flags });
        results.set(kind, [...(results.get(kind) ?? []), result]);
        say(`${name} ${round} ${describe(kind, result)}`);
      }
    }
    for (const [kind, all] of results) {
      const of = (field: keyof LinkResult) => median(all.map((result) => result[field]));
      say(
        `${name} median ${describe(kind, {
          ...{ acknowledged: of("acknowledged"), failed: of("failed"), gapMs: of("gapMs") },
          ...{ terms: of("terms"), healedGapMs: of("healedGapMs"), recoveredMs: of("recoveredMs") },
        })}`,
      );
    }
  }
}

function describe(kind: string, result: LinkResult): string {
  const { acknowledged, failed, gapMs, terms, healedGapMs, recoveredMs } = result;
  const ms = (value: number) => `${Math.round(value)} ms`;
  return (
    `${kind}: ${acknowledged} writes, ${failed} failed, longest gap ${ms(gapMs)}, ` +
    `${terms} terms; links well: gap ${ms(healedGapMs)}, all answer after ${ms(recoveredMs)}`
  );
}
