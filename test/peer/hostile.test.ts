import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { after, test } from "node:test";
import { formatId } from "#ringd/cluster/ids.js";
import { FrameBatch, FrameKind } from "#ringd/peer/frame.js";
import { PeerListener } from "#ringd/peer/listener.js";
import type { Message } from "#ringd/raft/message.js";
import { encodeMessage } from "#ringd/raft/message-codec.js";
import { CLUSTER, connected, Endpoint, listenUrl, membersOf, reply, stopAll } from "./endpoint.js";

/** Sends bytes, and collects the response until the other side closes. */
async function exchange(port: number, sent: string | Buffer): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  const parts: Buffer[] = [];
  socket.on("data", (part) => parts.push(part));
  socket.on("error", () => undefined);
  socket.write(sent);
  await new Promise((resolve) => socket.on("close", resolve)); // events.once throws on resets.
  return Buffer.concat(parts).toString("latin1");
}

/** Opens a stream as member `from`. */
async function openStream(endpoint: Endpoint, from: bigint): Promise<Socket> {
  const socket = connect(endpoint.port, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.write(
    "GET /ringd/stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: ringd-raft/1\r\n" +
      `X-Ringd-Protocol: 1\r\nX-Etcd-Cluster-ID: ${formatId(CLUSTER)}\r\n` +
      `X-Ringd-From: ${formatId(from)}\r\nX-Ringd-To: ${formatId(endpoint.id)}\r\n\r\n`,
  );
  const [head] = (await once(socket, "data")) as [Buffer];
  assert.match(head.toString("latin1"), /^HTTP\/1\.1 101 /);
  socket.resume();
  return socket;
}

function framesOf(...messages: readonly Message[]): Buffer {
  const batch = new FrameBatch();
  for (const message of messages) {
    const bytes = encodeMessage(message);
    batch.add(FrameKind.message, bytes, 0, bytes.length);
  }
  return Buffer.concat(batch.take());
}

/** One real endpoint, which knows a member 2 played by the test. */
async function victim(): Promise<Endpoint> {
  const one = new Endpoint(1n);
  const two = new Endpoint(2n);
  await one.listen();
  await two.listen();
  await two.stop();
  one.network.setMembers(membersOf([one, two]));
  return one;
}

const BAD_STREAMS: Readonly<Record<string, { bytes: Buffer; reason: RegExp }>> = {
  "a damaged payload": {
    bytes: damaged(framesOf(reply(2n, 1n, 5)), -1),
    reason: /payload checksum differs/,
  },
  "a damaged head": { bytes: damaged(framesOf(reply(2n, 1n, 5)), 4), reason: /header checksum/ },
  garbage: { bytes: Buffer.alloc(100, "garbage"), reason: /wrong magic/ },
  "a message from someone else": {
    bytes: framesOf(reply(3n, 1n, 5)),
    reason: /from 3 to 1 does not belong/,
  },
  "a message to someone else": {
    bytes: framesOf(reply(2n, 3n, 5)),
    reason: /from 2 to 3 does not belong/,
  },
  "a snapshot message": {
    bytes: framesOf({
      ...{ type: "snapshot", from: 2n, to: 1n, term: 1 },
      meta: { index: 5, term: 1, conf: { voters: [1n], learners: [] } },
    }),
    reason: /without its file/,
  },
};

function damaged(frames: Buffer, at: number): Buffer {
  const place = at < 0 ? frames.length + at : at;
  frames.writeUInt8(frames.readUInt8(place) ^ 1, place);
  return frames;
}

for (const [what, { bytes, reason }] of Object.entries(BAD_STREAMS)) {
  test(`a stream with ${what} is closed, earlier messages are kept`, async () => {
    const one = await victim();
    const socket = await openStream(one, 2n);
    socket.write(Buffer.concat([framesOf(reply(2n, 1n, 4)), bytes, framesOf(reply(2n, 1n, 6))]));
    await once(socket, "close");
    await one.untilLogged(reason);
    assert.deepEqual(one.messages, [reply(2n, 1n, 4)]);

    const again = await openStream(one, 2n);
    again.write(framesOf(reply(2n, 1n, 7)));
    await one.until("message", () => one.messages.length === 2);
    again.destroy();
    await stopAll([one]);
  });
}

test("of two streams of a member only the last is kept", async () => {
  const one = await victim();
  const first = await openStream(one, 2n);
  const closed = once(first, "close");
  const second = await openStream(one, 2n);
  await closed;
  second.write(framesOf(reply(2n, 1n, 1)));
  await one.until("message", () => one.messages.length === 1);
  second.destroy();
  await one.untilLogged(/stream from peer ended/);
  assert.equal(one.logged.filter((line) => line.includes("stream from peer ended")).length, 1);
  await stopAll([one]);
});

test("clients that are not members get a clear response, and nothing more", async () => {
  const one = await victim();
  const { port } = one;
  const upgrade = (path: string, headers: string) =>
    exchange(
      port,
      `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: ringd-raft/1\r\n${headers}\r\n`,
    );
  assert.match(await exchange(port, "not http at all\r\n\r\n"), /^HTTP\/1\.1 400 /);
  assert.match(await exchange(port, Buffer.alloc(300, 0x16)), /^HTTP\/1\.1 400 /);
  const longHead = `GET / HTTP/1.1\r\nX: ${"y".repeat(40_000)}\r\n\r\n`;
  assert.match(await exchange(port, longHead), /^HTTP\/1\.1 431 /);
  assert.match(await upgrade("/ringd/stream", ""), /^HTTP\/1\.1 426 [\s\S]*version 1 of ringd/);
  assert.match(await upgrade("/other", ""), /^HTTP\/1\.1 404 /);
  const hello = `X-Ringd-Protocol: 1\r\nX-Etcd-Cluster-ID: ${formatId(CLUSTER)}\r\nX-Ringd-To: 1\r\n`;
  const unknown = await upgrade("/ringd/stream", `${hello}X-Ringd-From: 77\r\n`);
  assert.match(
    unknown,
    /^HTTP\/1\.1 404 [\s\S]*X-Etcd-Cluster-Id: c1a5[\s\S]*member 77 is not known/,
  );

  const get = async (path: string, init?: RequestInit) => {
    const response = await fetch(`${one.url}${path}`, init);
    return `${response.status} ${await response.text()}`;
  };
  assert.match(await get("/ringd/stream"), /^426 only ringd-raft\/1 is spoken here/);
  assert.match(await get("/raft/stream/message/1"), /^412 incompatible version/);
  assert.equal(
    await get("/v2/keys/a", { method: "PUT", body: "value=1" }),
    "404 404 page not found\n",
  );
  assert.deepEqual(one.messages, []);
  await stopAll([one]);
});

test("connections with an unfinished request, or above the limit, are closed", async () => {
  const listener = new PeerListener(
    { request: (_request, response) => response.end("here"), upgrade: () => undefined },
    { connections: 2, headMs: 100 },
  );
  const port = await listener.listen(listenUrl("http://127.0.0.1:0"));
  after(() => listener.close());
  const slow = [exchange(port, "GET / HTTP/1.1\r\nHost"), exchange(port, "")];
  assert.equal(await exchange(port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "", "above the limit");
  assert.match(await (slow[0] as Promise<string>), /^HTTP\/1\.1 408 /);
  await Promise.all(slow);
  const answer = await exchange(port, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  assert.match(answer, /^HTTP\/1\.1 200 /);
});

test("only a member of the cluster can report this one's removal", async () => {
  const gone = createServer((_request, response) => {
    response.writeHead(410, { "X-Etcd-Cluster-Id": "bad" }).end("moved house");
  });
  gone.listen(0, "127.0.0.1");
  await once(gone, "listening");
  const one = new Endpoint(1n);
  const two = new Endpoint(2n);
  await one.listen();
  two.url = `http://127.0.0.1:${(gone.address() as AddressInfo).port}`;
  one.network.setMembers(membersOf([one, two]));
  await one.untilLogged(/peer rejected stream.*moved house/);
  assert.equal(one.count("removed"), 0);
  await stopAll([one, two]);
  gone.close();
});

test("/members and /version respond as etcd's", async () => {
  const [one, two] = (await connected(2)) as [Endpoint, Endpoint];
  const members = membersOf([one, two]);
  const [first] = members.members;
  assert.ok(first !== undefined);
  const large = { id: "bdb6f6b8e2d5a8cd", name: "", peerUrls: ["http://h:1"], clientUrls: [] };
  one.network.setMembers({ ...members, members: [first, large] });
  const response = await fetch(`${one.url}/members`);
  assert.equal(response.headers.get("X-Etcd-Cluster-ID"), "c1a5");
  assert.equal(response.headers.get("Content-Type"), "application/json");
  assert.equal(
    await response.text(),
    `[{"id":1,"peerURLs":["${one.url}"],"name":"m1","clientURLs":["http://client-1:1"]},` +
      `{"id":13670384992869787853,"peerURLs":["http://h:1"]}]\n`,
  );
  const version = await fetch(`${one.url}/version`);
  assert.equal(await version.text(), '{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}');
  const posted = await fetch(`${one.url}/members`, { method: "POST" });
  assert.equal(posted.status, 405);
  assert.equal(posted.headers.get("Allow"), "GET");
  const probe = await fetch(`${one.url}/raft/probing`);
  assert.match(await probe.text(), /^\{"OK":true,"Now":"\d{4}-/);
  await stopAll([one, two]);
});

test("a member that is still starting reports that", async () => {
  const one = new Endpoint(1n);
  await one.listen();
  const members = await fetch(`${one.url}/members`);
  assert.equal(members.status, 503);
  const version = await fetch(`${one.url}/version`);
  assert.match(await version.text(), /"etcdcluster":"not_decided"/);
  await stopAll([one]);
});
