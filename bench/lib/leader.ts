import { setTimeout as delay } from "node:timers/promises";
import { type BenchServer, probe } from "./server.js";

const TRY_EVERY_MS = 10;
const WAIT_MS_MAX = 60_000;

/** The member that reports itself as leader; waits until there is one. */
export async function leaderOf(members: readonly BenchServer[]): Promise<BenchServer> {
  const deadlineMs = performance.now() + WAIT_MS_MAX;
  while (performance.now() < deadlineMs) {
    for (const member of members) {
      const stats = await probe(`${member.url}/v2/stats/self`);
      if (stats?.body.includes('"StateLeader"')) return member;
    }
    await delay(TRY_EVERY_MS);
  }
  throw new Error("Cannot find a leader");
}
