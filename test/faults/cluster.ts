import { parseArgs } from "node:util";
import type { MemberKind } from "../support/member.js";
import { measureFailover, median } from "./lib/failover.js";
import { FAULTS } from "./lib/nemesis.js";
import { describeFigures, FaultRunError, runFaults } from "./lib/run.js";
import { linksCommand } from "./links.js";

const USAGE = `Faults on clusters of real processes.

  npm run faults -- [--seconds 60] [--members 3] [--seed N] [--only kill-leader,halves]
  npm run faults -- --failover 20       time without service after kill -9 of the leader
  npm run faults -- links               flapping and one-way links; links --help

  --kind etcd          etcd in place of ringd
  --tls                TLS between members, with certificates on both sides
  --flags="..."        more flags for every member

Faults: ${Object.keys(FAULTS).join(" ")}
`;

const isLinks = process.argv[2] === "links";
const { values } = parseArgs({
  args: isLinks ? [] : process.argv.slice(2),
  options: {
    seconds: { type: "string", default: "60" },
    members: { type: "string", default: "3" },
    seed: { type: "string", default: String(1 + Math.floor(Math.random() * 2 ** 31)) },
    only: { type: "string", default: "" },
    failover: { type: "string" },
    kind: { type: "string", default: process.env.KIND ?? "ringd" },
    flags: { type: "string", default: "" },
    tls: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function main(): Promise<void> {
  const kind = values.kind as MemberKind;
  const size = Number(values.members);
  const { tls } = values;
  const flags = values.flags.split(" ").filter((flag) => flag !== "");
  if (isLinks) await linksCommand(process.argv.slice(3));
  else if (values.help) say(USAGE);
  else if (values.failover !== undefined) {
    const rounds = Number(values.failover);
    const ms = await measureFailover({ kind, size, flags, tls, rounds, say });
    const [low, high] = [Math.min(...ms), Math.max(...ms)].map(Math.round);
    say(`${kind}, ${size} members: median ${Math.round(median(ms))} ms, ${low} to ${high} ms`);
  } else {
    const only = values.only.split(",").filter((name) => name !== "");
    const seed = Number(values.seed);
    const seconds = Number(values.seconds);
    say(`SEED=${seed}, ${size} members of ${kind}${tls ? " over TLS" : ""}, ${seconds} s`);
    say(describeFigures(await runFaults({ kind, size, flags, tls, seed, seconds, only, say })));
  }
}

main().catch((error) => {
  say(error instanceof FaultRunError ? error.message : String(error?.stack ?? error));
  process.exit(1);
});
