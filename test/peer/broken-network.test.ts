import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { readdirSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { encodeConf } from "#ringd/cluster/conf-state.js";
import { helloHeaders } from "#ringd/peer/hello.js";
import { PeerLink } from "#ringd/peer/link.js";
import type { Message } from "#ringd/raft/message.js";
import { SnapshotWriter } from "#ringd/snap/writer.js";
import { append, CLUSTER, Endpoint, membersOf, reply, stopAll, TLS } from "./endpoint.js";
import { TcpProxy } from "./tcp-proxy.js";

const CONF = { voters: [1n, 2n], learners: [] };

/** Members 1 and 2; all messages from 1 to 2 pass a proxy. */
async function throughProxy(t: TestContext): Promise<[Endpoint, Endpoint, TcpProxy]> {
  const one = new Endpoint(1n);
  const two = new Endpoint(2n);
  await one.listen();
  await two.listen();
  const proxy = await TcpProxy.before(two.port);
  t.after(async () => {
    await stopAll([one, two]);
    proxy.close();
  });
  two.url = proxy.url;
  for (const endpoint of [one, two]) endpoint.network.setMembers(membersOf([one, two]));
  await one.untilUp(2n);
  await two.untilUp(1n);
  return [one, two, proxy];
}

test("messages stay complete and in order whenever the connection breaks", async (t) => {
  const [one, two, proxy] = await throughProxy(t);
  const rounds = 5;
  let index = 0;
  for (let round = 1; round <= rounds; round++) {
    await one.untilUp(2n, round);
    for (let i = 0; i < 200; i++) one.send(append(1n, 2n, ++index, new Uint8Array(20_000)));
    const before = two.messages.length;
    await two.until("some messages", () => two.messages.length > before);
    proxy.cut();
    await one.until("down", () => one.count("down", 2n) === round);
  }
  await one.untilUp(2n, rounds + 1);
  one.send(reply(1n, 2n, 9));
  await two.until("the last message", () => two.messages.at(-1)?.type === "appendReply");
  const indexes = two.messages.flatMap((message) =>
    message.type === "append" ? [message.prevIndex] : [],
  );
  const sorted = [...new Set(indexes)].sort((a, b) => a - b);
  assert.deepEqual(indexes, sorted, "none twice, none before an earlier one");
});

test("a silent stream is closed", async () => {
  const two = new Endpoint(2n);
  await two.listen();
  two.network.setMembers(membersOf([two]));
  const log = new EventEmitter();
  const say = () => void log.emit("line");
  const downs: bigint[] = [];
  const link = new PeerLink(2n, [two.url], {
    ...{
      log: { info: say, warn: say, error: say },
      trust: TLS,
      waitMostMs: 1000,
      dialMs: 1000,
      pingMs: 100,
    },
    hello: (to) =>
      helloHeaders({ memberId: 1n, clusterId: CLUSTER }, to, ["http://127.0.0.1:1"], 2),
    figures: (id) => two.figures.take(id),
    up: () => undefined,
    whyTooOld: () => undefined,
    down: (id) => downs.push(id),
    overflow: () => assert.fail("nothing was sent"),
    goneForGood: () => assert.fail("nobody was removed"),
  });
  await once(log, "line"); // The stream is open.
  const nowMs = performance.now();
  link.tick(nowMs + 4000, 5000);
  assert.deepEqual(downs, []);
  link.forgiveSilence(nowMs + 4000);
  link.tick(nowMs + 8000, 5000);
  assert.deepEqual(downs, []);
  link.tick(nowMs + 9001, 5000);
  assert.deepEqual(downs, [2n]);
  await link.close();
  await stopAll([two]);
});

test("a member on a failed network is detected, and reached again", {
  timeout: 60_000,
}, async (t) => {
  const [one, two, proxy] = await throughProxy(t);
  proxy.silence();
  await one.until("down", () => one.count("down", 2n) === 1);
  // Either of them may be the first to notice, and end it.
  await one.untilLogged(/lost stream to peer.*(no data for|closed by the peer)/);
  await two.listen();
  one.network.setMembers(membersOf([one, two]));
  await one.untilUp(2n, 2);
});

test("a damaged byte ends the stream with a clear reason, and a new one follows", async (t) => {
  const [one, two, proxy] = await throughProxy(t);
  proxy.damage();
  one.send(reply(1n, 2n, 1)); // Or a ping: nothing that was damaged arrives.
  await one.untilUp(2n, 2);
  const reasons = [...one.logged, ...two.logged].filter((line) => /ended|lost stream/.test(line));
  const wanted = TLS === undefined ? /checksum|wrong magic/ : /tls: bad record MAC/;
  assert.match(reasons.join("\n"), wanted);
  assert.doesNotMatch(reasons.join("\n"), /openssl|SSL routines/);
  one.send(reply(1n, 2n, 2));
  await two.until("message", () =>
    two.messages.some((message) => "index" in message && message.index === 2),
  );
});

test("a stuck stream is replaced by a new connection if those pass", async (t) => {
  const [one, two, proxy] = await throughProxy(t);
  for (let round = 1; round <= 3; round++) {
    proxy.freeze();
    one.send(reply(1n, 2n, round)); // Lost, without an error from TCP.
    await one.untilUp(2n, 1 + round);
    assert.equal(one.count("down", 2n), round, "what was sent may be lost");
    one.send(reply(1n, 2n, 100 + round));
    await two.until("a message", () => two.messages.length === round);
  }
  const replaced = one.logged.filter((line) => line.includes("replaced stuck stream to peer"));
  assert.equal(replaced.length, 1, "said once a minute");
  assert.ok(!one.logged.some((line) => line.includes("no data for")));
});

test("a snapshot whose transfer was interrupted is sent again", async (t) => {
  const [one, two, proxy] = await throughProxy(t);
  const writer = new SnapshotWriter(one.snapDir, { term: 2, index: 9, metadata: encodeConf(CONF) });
  for (let i = 0; i < 100; i++) writer.writeBlock(Buffer.alloc(256 * 1024, i));
  writer.finish();
  const meta = { index: 9, term: 2, conf: CONF };
  const message: Message = { type: "snapshot", from: 1n, to: 2n, term: 5, meta };
  one.send(message);
  await two.untilLogged(/receiving snapshot/);
  proxy.cut();
  await one.until("end", () => one.count("snapshotSent") === 1);
  assert.deepEqual(
    one.told.find(({ kind }) => kind === "snapshotSent"),
    { kind: "snapshotSent", id: 2n, hasArrived: false },
  );
  await two.untilLogged(/did not receive the snapshot/);
  assert.deepEqual(readdirSync(two.snapDir), []);
  await one.untilUp(2n, 2);
  one.send(message);
  await one.until("end", () => one.count("snapshotSent") === 2);
  assert.equal(two.count("snapshotReceived"), 1);
  assert.equal(readdirSync(two.snapDir).length, 1);
});
