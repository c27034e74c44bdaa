import { test } from "node:test";
import type { MemberKind } from "../support/member.js";
import { SEED } from "../support/seed.js";
import { NO_OPENSSL } from "../tls/authority.js";
import { describeFigures, runFaults } from "./lib/run.js";

/** KIND=etcd: the harness against etcd. SECONDS=1200 for long; SEED=n for the same faults again. */
const kind: MemberKind = process.env.KIND === "etcd" ? "etcd" : "ringd";
const seconds = Number(process.env.SECONDS ?? 20);

const CLUSTERS: readonly { size: number; share: number; tls: boolean }[] = [
  { size: 3, share: 0.4, tls: false },
  { size: 3, share: 0.3, tls: true },
  { size: 5, share: 0.3, tls: false },
];

for (const { size, share, tls } of CLUSTERS) {
  const what = `${size} members of ${kind}${tls ? " over TLS" : ""}`;
  test(`${what} under faults, SEED=${SEED}`, {
    skip: tls && NO_OPENSSL,
  }, async (context) => {
    const say = (line: string) => context.diagnostic(line);
    const options = { kind, size, tls, seed: SEED + size, only: [], say };
    say(describeFigures(await runFaults({ ...options, seconds: seconds * share })));
  });
}

test(`a member of ${kind} whose disk is full does not block the others, SEED=${SEED}`, async (context) => {
  const say = (line: string) => context.diagnostic(line);
  const flags = ["--snapshot-count", "100000"];
  await runFaults({ kind, size: 3, seed: SEED, seconds: 0, only: ["disk-full-log"], flags, say });
});
