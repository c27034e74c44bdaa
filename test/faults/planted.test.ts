import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "../support/client.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";
import { checkAppends, checkHistory, checkWatches } from "./lib/checks.js";
import { History } from "./lib/history.js";
import { type Lie, LyingServer } from "./lib/lying-server.js";
import { Watcher } from "./lib/watchers.js";
import { Workload } from "./lib/workload.js";

/** The whole harness, from sockets to verdict, against servers with one fault each. */

const ANSWERS = 1500;

const FINDS: Record<Lie, RegExp | undefined> = {
  none: undefined,
  cuts: undefined,
  "stale-reads": /is not linearizable: nothing explains ".*: read /,
  "lost-writes": /LOST: w\/log\//,
  "repeated-writes": /is not linearizable/,
  "blind-swaps": /is not linearizable: nothing explains ".*: (swap|delete)-value /,
  "split-brain": /is not linearizable/,
  "forgetful-watches": /MISSED/,
  "swapped-watches": /MISSED/,
};

for (const [name, says] of Object.entries(FINDS)) {
  const lie = name as Lie;
  test(`a server with ${lie} is ${says === undefined ? "fine" : "found out"}, SEED=${SEED}`, async () => {
    const findings = (await findingsOf(lie)).join("\n");
    if (says === undefined) assert.equal(findings, "");
    else assert.ok(says.test(findings), `not as ${says}: ${findings.slice(0, 1000)}`);
  });
}

async function findingsOf(lie: Lie): Promise<string[]> {
  const prng = new Prng(SEED);
  const count = lie === "split-brain" ? 2 : 1;
  const servers = Array.from({ length: count }, (_, n) => new LyingServer(`n${n}`, lie, prng));
  await Promise.all(servers.map((server) => server.listen()));
  const [server] = servers as [LyingServer];
  try {
    const history = new History();
    const workload = new Workload(
      history,
      "/f1",
      prng,
      () => servers,
      (answered) => {
        if (answered === ANSWERS) workload.stop();
      },
    );
    const watcher = new Watcher(server, "/f1/w", 4);
    const watched = watcher.run("/f1/w/end");
    await workload.run(8);
    await workload.readAll(server);
    await writeEnd(server);
    await watched;
    const changes = history.changes.filter(({ key }) => key.startsWith("/f1/w/"));
    return [
      ...checkHistory(history),
      ...checkAppends(history.appends, server.listing("/f1")),
      ...(lie.endsWith("watches") ? checkWatches(changes, [watcher.log]).findings : []),
    ];
  } finally {
    for (const each of servers) each.close();
  }
}

async function writeEnd({ clientUrl }: LyingServer): Promise<void> {
  const client = new Client(clientUrl);
  const options = { form: "value=end", timeoutMs: 5000 };
  for (let isWritten = false; !isWritten; ) {
    isWritten = await client.call("PUT", "/v2/keys/f1/w/end", options).then(
      () => true,
      () => false,
    );
  }
  client.close();
}
