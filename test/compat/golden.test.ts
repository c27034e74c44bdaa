import assert from "node:assert/strict";
import { test } from "node:test";
import { type MemberKind, TestMember } from "../support/member.js";
import { readScenarios, replay, warmUp } from "./golden/replay.js";

/** KIND=etcd replays against Debian's etcd, to verify the recording itself. */
const kind = (process.env.KIND ?? "ringd") as MemberKind;
/** Longer writes fail, and on a busy machine a disk may take seconds. */
const PATIENT = ["--election-timeout", "50000"];
const AREAS = ["keys", "params", "cas", "cad", "ttl", "watch", "misc", "stats", "auth"];

for (const area of AREAS) {
  test(`${kind} answers as recorded: ${area}`, async () => {
    const member = await TestMember.create(kind, PATIENT);
    try {
      await warmUp(member.port);
      const differences: string[] = [];
      for (const scenario of readScenarios(area)) {
        differences.push(...(await replay(member.port, scenario)));
      }
      const shown = differences.slice(0, 20).join("\n");
      assert.equal(differences.length, 0, `${differences.length} answers differ:\n${shown}`);
    } finally {
      await member.destroy();
    }
  });
}
