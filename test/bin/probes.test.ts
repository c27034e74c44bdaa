import assert from "node:assert/strict";
import { test } from "node:test";
import { TestCluster } from "../support/cluster.js";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";
import { until } from "../support/until.js";

async function probe(port: number, path: string): Promise<[number, string]> {
  const { status, body } = await send(port, "GET", path);
  return [status, body.toString()];
}

test("/livez and /readyz on every frontend's thread and the metrics listener", async () => {
  const [metricsPort = 0] = await freePorts(1);
  const metricsUrl = `http://127.0.0.1:${metricsPort}`;
  const args = ["--frontend-threads", "2", "--listen-metrics-urls", metricsUrl];
  const member = await TestMember.create("ringd", args);
  try {
    // The kernel spreads connections over the threads.
    const ports = [metricsPort, ...Array.from({ length: 8 }, () => member.port)];
    for (const port of ports) {
      assert.deepEqual(await probe(port, "/livez"), [200, "ok\n"]);
      assert.deepEqual(await probe(port, "/readyz?verbose"), [
        200,
        "[+]leader ok\n[+]linearizable_read ok\nok\n",
      ]);
      assert.deepEqual(await probe(port, "/livez?verbose&exclude=disk"), [
        200,
        "[+]threads ok\n[+]serializable_read ok\nok\n",
      ]);
      assert.equal((await probe(port, "/livez/nothing"))[0], 404);
    }
  } finally {
    await member.destroy();
  }
});

test("without a quorum a member lives and is not ready; with a stalled disk it does not live", async () => {
  const cluster = await TestCluster.create({ kind: "ringd", size: 3 });
  try {
    const leader = await cluster.leader();
    const live = async () => (await leader.ask("GET", "/livez", { timeoutMs: 5000 }))?.status;
    leader.stallSyncs();
    void leader.ask("PUT", "/v2/keys/stalls?value=1");
    await until("the stalled disk shows", 20_000, async () => (await live()) === 503);
    const stalled = await leader.ask("GET", "/livez");
    assert.match(stalled?.body ?? "", /^\[-\]disk failed: the log waits for its disk for \d/m);
    leader.syncAgain();
    await until("the disk is well again", 20_000, async () => (await live()) === 200);

    for (const other of cluster.members) if (other !== leader) await other.end("SIGKILL");
    await until("the lost quorum shows", 20_000, async () => {
      return /^\[-\]leader failed: no leader is known$/m.test(
        (await leader.ask("GET", "/readyz", { timeoutMs: 5000 }))?.body ?? "",
      );
    });
    assert.equal((await leader.ask("GET", "/readyz"))?.status, 503);
    assert.equal(await live(), 200);
    assert.equal((await leader.ask("GET", "/health"))?.status, 503);
    assert.equal((await leader.ask("GET", "/health?serializable=true"))?.status, 200);

    // A member that waits for a quorum at its start holds its clients' requests, and lives.
    await leader.end("SIGKILL");
    leader.start();
    await until("it has read its log", 20_000, async () => (await live()) === 200);
    assert.equal((await leader.ask("GET", "/readyz"))?.status, 503);
  } finally {
    await cluster.destroy();
  }
});
