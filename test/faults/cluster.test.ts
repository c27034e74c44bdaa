import { test } from "node:test";
import type { MemberKind } from "../support/member.js";
import { SEED } from "../support/seed.js";
import { describeFigures, runFaults } from "./lib/run.js";

/** KIND=etcd: the harness against etcd. SECONDS=1200 for long; SEED=n for the same faults again. */
const kind: MemberKind = process.env.KIND === "etcd" ? "etcd" : "ringd";
const seconds = Number(process.env.SECONDS ?? 20);

const SIZES: readonly [size: number, share: number][] = [
  [3, 0.6],
  [5, 0.4],
];

for (const [size, share] of SIZES) {
  test(`${size} members of ${kind} under faults, SEED=${SEED}`, async (context) => {
    const say = (line: string) => context.diagnostic(line);
    const options = { kind, size, seed: SEED + size, only: [], say };
    say(describeFigures(await runFaults({ ...options, seconds: seconds * share })));
  });
}

test(`a member of ${kind} whose disk is full does not block the others, SEED=${SEED}`, async (context) => {
  const say = (line: string) => context.diagnostic(line);
  const flags = ["--snapshot-count", "100000"];
  await runFaults({ kind, size: 3, seed: SEED, seconds: 0, only: ["disk-full-log"], flags, say });
});
