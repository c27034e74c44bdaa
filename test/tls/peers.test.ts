import assert from "node:assert/strict";
import { once } from "node:events";
import { copyFileSync } from "node:fs";
import {
  type AddressInfo,
  connect,
  createServer as createPlainServer,
  type Socket,
} from "node:net";
import { after, test } from "node:test";
import { createServer, connect as secureConnect, type TLSSocket } from "node:tls";
import type { TlsSettings } from "#ringd/config/tls.js";
import { Arrival } from "#ringd/peer/arrival.js";
import { FrameBatch, FrameKind, FrameReader } from "#ringd/peer/frame.js";
import { PeerListener } from "#ringd/peer/listener.js";
import type { TlsIdentity } from "#ringd/tls/identity.js";
import { Endpoint, listenUrl, membersOf, reply, stopAll, trustOf } from "../peer/endpoint.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";
import { Authority, type Issued, NO_OPENSSL, type Wish } from "./authority.js";
import { tlsSettings } from "./settings.js";

/** Who a member lets in over TLS, who not, and what both sides say about it. */

const skip = NO_OPENSSL;
const made: Authority[] = [];
after(() => {
  for (const authority of made) authority.remove();
});

function newAuthority(name?: string): Authority {
  const authority = new Authority(name);
  made.push(authority);
  return authority;
}

const ours = skip ? undefined : newAuthority();

function ca(): Authority {
  assert.ok(ours);
  return ours;
}

interface Pair {
  readonly one: Endpoint;
  readonly two: Endpoint;
}

/** Two members that know each other, and a third that both know. */
async function meet(
  first: TlsIdentity | undefined,
  second: TlsIdentity | undefined,
): Promise<Pair> {
  const one = new Endpoint(1n, {}, first);
  const two = new Endpoint(2n, {}, second);
  await one.listen(first === undefined ? "http" : "https");
  await two.listen(second === undefined ? "http" : "https");
  one.network.setMembers(membersOf([one, two]));
  two.network.setMembers(membersOf([one, two]));
  return { one, two };
}

function trust(wish: Wish = {}, some: Partial<TlsSettings> = {}): Promise<TlsIdentity> {
  return trustOf(ca(), ca().issue(wish), some);
}

/** Messages pass both ways. */
async function talk({ one, two }: Pair): Promise<void> {
  await one.untilUp(2n);
  await two.untilUp(1n);
  one.send(reply(1n, 2n, 1));
  two.send(reply(2n, 1n, 2));
  await two.until("message", () => two.messages.length === 1);
  await one.until("message", () => one.messages.length === 1);
}

test("members with certificates of one CA talk", { skip }, async () => {
  const pair = await meet(await trust(), await trust({ rsa: true }));
  await talk(pair);
  await stopAll([pair.one, pair.two]);
});

test("each URL's own scheme counts: one member over TLS, the other in plain", {
  skip,
}, async () => {
  const one = new Endpoint(1n, {}, await trust());
  const two = new Endpoint(2n, {}, await trust());
  await one.listen("https");
  await two.listen("http");
  for (const endpoint of [one, two]) endpoint.network.setMembers(membersOf([one, two]));
  await talk({ one, two });
  // Its plain URL is replaced by one over TLS, as by `member update`.
  await two.listen("https");
  for (const endpoint of [one, two]) endpoint.network.setMembers(membersOf([one, two]));
  await one.untilUp(2n, 2);
  await one.untilLogged(new RegExp(`opened stream to peer.*${two.url}`));
  await stopAll([one, two]);
});

/** A rejected member: what it logs, and what the one that rejects it logs. */
interface Rejected {
  readonly second: () => Promise<TlsIdentity>;
  readonly first?: () => Promise<TlsIdentity>;
  /** Of the member with the wrong certificate. */
  readonly itSays?: RegExp;
  /** Of the member that dialled it, or was dialled by it. */
  readonly theySay: readonly RegExp[];
}

const BAD_CERTIFICATE =
  /(peer rejected stream|rejected connection).*remote error: tls: bad certificate/;

const REJECTED: Readonly<Record<string, Rejected>> = {
  "of another CA": {
    second: async () => {
      const other = newAuthority("another CA");
      return trustOf(ca(), other.issue());
    },
    itSays: BAD_CERTIFICATE,
    theySay: [
      /cannot reach peer.*x509: certificate signed by unknown authority/,
      /rejected connection from "127\.0\.0\.1:\d+" \(error "tls: failed to verify client certificate: x509: certificate signed by unknown authority", ServerName "", IPAddresses \["127\.0\.0\.1"\], DNSNames \["localhost"\]\)/,
    ],
  },
  "that has expired": {
    second: () => trust({ fromDays: -10, toDays: -1 }),
    itSays: BAD_CERTIFICATE,
    theySay: [/cannot reach peer.*x509: certificate has expired or is not yet valid/],
  },
  "that is not valid yet": {
    second: () => trust({ fromDays: 1, toDays: 10 }),
    itSays: BAD_CERTIFICATE,
    theySay: [/cannot reach peer.*x509: certificate has expired or is not yet valid/],
  },
  "for another address": {
    second: () => trust({ names: "IP:127.0.0.9" }),
    itSays: BAD_CERTIFICATE,
    theySay: [
      /cannot reach peer.*x509: certificate is valid for 127\.0\.0\.9, not 127\.0\.0\.1/,
      /rejected connection.*error "x509: certificate is valid for 127\.0\.0\.9, not 127\.0\.0\.1"/,
    ],
  },
  "with a common name alone": {
    second: () => trust({ cn: "127.0.0.1", names: "" }),
    itSays: BAD_CERTIFICATE,
    theySay: [
      /cannot validate certificate for 127\.0\.0\.1 because it doesn't contain any IP SANs/,
    ],
  },
  "for servers alone": {
    second: () => trust({ usage: "serverAuth" }),
    itSays: BAD_CERTIFICATE,
    theySay: [/rejected connection.*x509: certificate specifies an incompatible key usage/],
  },
  "for clients alone": {
    second: () => trust({ usage: "clientAuth" }),
    itSays: BAD_CERTIFICATE,
    theySay: [/cannot reach peer.*x509: certificate specifies an incompatible key usage/],
  },
  "that was revoked": {
    first: async () => trust({}, { crlFile: ca().revoke() }),
    second: async () => {
      const issued = ca().issue();
      ca().revoke(issued);
      return trustOf(ca(), issued);
    },
    itSays: BAD_CERTIFICATE,
    theySay: [
      /cannot reach peer.*transport: certificate serial [0-9a-f]+ revoked/,
      /rejected connection.*transport: certificate serial [0-9a-f]+ revoked/,
    ],
  },
  "with a common name that is not allowed": {
    first: () => trust({ cn: "etcd" }, { allowedCn: "etcd" }),
    second: () => trust({ cn: "etcd2" }),
    itSays: BAD_CERTIFICATE,
    theySay: [
      /cannot reach peer.*client certificate authentication failed/,
      /rejected connection.*client certificate authentication failed/,
    ],
  },
  "without the allowed host name": {
    first: () => trust({}, { allowedHostname: "localhost" }),
    second: () => trust({ names: "IP:127.0.0.1" }),
    itSays: BAD_CERTIFICATE,
    theySay: [
      /cannot reach peer.*client certificate authentication failed/,
      /rejected connection.*client certificate authentication failed/,
    ],
  },
  "over TLS 1.2 where 1.3 is asked for": {
    first: () => trust({}, { minVersion: "TLSv1.3" }),
    second: () => trust({}, { maxVersion: "TLSv1.2" }),
    theySay: [
      /cannot reach peer.*remote error: tls: protocol version not supported/,
      /rejected connection.*tls: client offered only unsupported versions/,
    ],
  },
  "over cipher suites that are not allowed": {
    first: () =>
      trust({}, { cipherSuites: ["ECDHE-ECDSA-AES128-GCM-SHA256"], maxVersion: "TLSv1.2" }),
    second: () => trust({}, { cipherSuites: ["ECDHE-ECDSA-AES256-GCM-SHA384"] }),
    theySay: [
      /cannot reach peer.*remote error: tls: handshake failure/,
      /rejected connection.*tls: no cipher suite supported by both client and server/,
    ],
  },
  "and none on the client's side": {
    second: () => trustOf(ca(), ca().issue(), { certFile: "", keyFile: "" }),
    theySay: [/rejected connection.*"tls: client didn't provide a certificate"/],
  },
};

for (const [what, { first, second, itSays, theySay }] of Object.entries(REJECTED)) {
  test(`a member with a certificate ${what} is kept out, the others go on`, { skip }, async () => {
    const bad = await second();
    const good = await (first ?? trust)();
    const [one, three] = [new Endpoint(1n, {}, good), new Endpoint(3n, {}, good)];
    const two = new Endpoint(2n, {}, bad);
    // Without a certificate it can only dial.
    const canListen = bad.material.pair !== undefined;
    await one.listen("https");
    await three.listen("https");
    await two.listen(canListen ? "https" : "http");
    const all = [one, two, three];
    for (const endpoint of all) endpoint.network.setMembers(membersOf(all));
    await one.untilUp(3n);
    await three.untilUp(1n);
    for (const line of theySay) await one.untilLogged(line);
    if (itSays !== undefined) await two.untilLogged(itSays);
    if (canListen) assert.equal(one.count("up", 2n) * two.count("up", 1n), 0);
    assert.deepEqual(one.messages, []);
    one.send(reply(1n, 3n, 1));
    await three.until("message", () => three.messages.length === 1);
    await stopAll(all);
  });
}

test("certificates that a member makes for itself: nobody is asked for one", { skip }, async () => {
  const dir = (name: string) => ({ dir: `${ca().dir}/${name}`, hosts: ["127.0.0.1"] });
  const { ensureSelfSigned } = await import("#ringd/tls/self-signed.js");
  const auto = async (name: string) => {
    const settings = tlsSettings({ side: "peer", auto: dir(name) });
    await ensureSelfSigned(settings, Date.now());
    return trustOf(
      ca(),
      { certFile: "", keyFile: "" },
      {
        ...settings,
        ...{ trustedCaFile: "", requiresClientCert: false },
      },
    );
  };
  const pair = await meet(await auto("a"), await auto("b"));
  await talk(pair);
  await stopAll([pair.one, pair.two]);
});

test("a member without TLS, and one that others dial in plain, are disconnected", {
  skip,
}, async () => {
  const one = new Endpoint(1n, {}, await trust());
  await one.listen("https");
  const socket = connect(one.port, "127.0.0.1");
  socket.write("GET /members HTTP/1.1\r\nHost: x\r\n\r\n");
  socket.on("data", () => assert.fail("an answer in plain"));
  socket.on("error", () => undefined);
  await once(socket, "close");
  await one.untilLogged(
    /rejected connection from "127.0.0.1:\d+" \(error "tls: first record does not look like a TLS handshake", ServerName ""\)/,
  );
  const plain = new Endpoint(2n);
  await plain.listen("http");
  plain.url = plain.url.replace("http:", "https:");
  one.network.setMembers(membersOf([one, plain]));
  await one.untilLogged(/cannot reach peer.*first record does not look like a TLS handshake/);
  await stopAll([one, plain]);
});

test("nobody but members reads anything of the peer port", { skip }, async () => {
  const one = new Endpoint(1n, {}, await trust());
  await one.listen("https");
  one.network.setMembers(membersOf([one]));
  const ask = async (options: object) => {
    const socket = secureConnect({ port: one.port, host: "127.0.0.1", ca: ca().ca, ...options });
    let text = "";
    socket.on("data", (bytes) => {
      text += bytes;
    });
    socket.on("error", () => undefined);
    await once(socket, "secureConnect");
    socket.write("GET /members HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    await once(socket, "close");
    return text;
  };
  const { cert, key } = ca().issue();
  assert.match(await ask({ cert, key }), /^HTTP\/1.1 200 OK\r\n[\s\S]*"peerURLs"/);
  assert.match(
    await ask({}),
    /^HTTP\/1.1 403 Forbidden[\s\S]*\r\n\r\nremote error: tls: bad certificate\n$/,
  );
  const { cert: strange, key: strangeKey } = newAuthority().issue();
  assert.match(await ask({ cert: strange, key: strangeKey }), /^HTTP\/1.1 403 Forbidden/);
  await stopAll([one]);
});

test("handshakes that stand still end after their timeout, or when others need the place", {
  skip,
}, async (t) => {
  const log: string[] = [];
  const say = (line: unknown) => log.push(String(line));
  const port = { identity: await trust(), log: { info: say, warn: say, error: say } as never };
  const listener = new PeerListener(
    { request: (_request, response) => response.end(), upgrade: () => undefined },
    // Long enough for busy cores to open four connections.
    { handshakes: 3, handshakeMs: 3000 },
    port,
  );
  t.after(() => listener.close());
  const number = await listener.listen(listenUrl("https://127.0.0.1:0"));
  const open = async (): Promise<Socket> => {
    const socket = connect(number, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.resume();
    await once(socket, "connect");
    return socket;
  };
  const closed = (socket: Socket) => new Promise((resolve) => socket.on("close", resolve));
  const first = await open();
  const isGone = closed(first);
  const others = [await open(), await open()].map(closed);
  const { cert, key } = ca().issue();
  const member = secureConnect({ port: number, host: "127.0.0.1", ca: ca().ca, cert, key });
  t.after(() => member.destroy());
  await once(member, "secureConnect"); // The fourth: the oldest had to go.
  await isGone;
  member.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  const [answer] = await once(member, "data");
  assert.match(String(answer), /^HTTP\/1.1 200/);
  await Promise.all(others);
  assert.match(
    log.join("\n"),
    /too many handshakes in flight[\s\S]*i\/o timeout[\s\S]*i\/o timeout/,
  );
});

test("connections from one port to two of our own have a timeout each", { skip }, async (t) => {
  const say = () => undefined;
  const port = { identity: await trust(), log: { info: say, warn: say, error: say } as never };
  const listener = new PeerListener(
    { request: (_request, response) => response.end(), upgrade: () => undefined },
    { handshakeMs: 2000 },
    port,
  );
  t.after(() => listener.close());
  const host = "127.0.0.1";
  const finder = createPlainServer().listen(0, host);
  await once(finder, "listening");
  const { port: localPort } = finder.address() as AddressInfo;
  finder.close();
  await once(finder, "close");
  const open = async () => {
    const ours = await listener.listen(listenUrl("https://127.0.0.1:0"));
    const socket = connect({ port: ours, host, localAddress: host, localPort });
    await once(socket, "connect");
    return socket;
  };
  const first = await open();
  const second = await open();
  const { cert, key } = ca().issue();
  const secure = [first, second].map((socket) =>
    secureConnect({ socket, host, ca: ca().ca, cert, key }),
  );
  await Promise.all(secure.map((socket) => once(socket, "secureConnect")));
  await new Promise((resolve) => setTimeout(resolve, 2200)); // Nothing happens.
  t.after(() => {
    for (const socket of secure) socket.destroy();
  });
  assert.deepEqual(
    secure.map(({ destroyed }) => destroyed),
    [false, false],
  );
  for (const socket of secure) {
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    const [answer] = await once(socket, "data");
    assert.match(String(answer), /^HTTP\/1.1 200/);
    socket.destroy();
  }
});

test("other certificate files take effect on new streams, and end none", { skip }, async () => {
  const files = ca().issue({ cn: "before" });
  const own: Issued = { ...files, certFile: `${ca().dir}/own.pem`, keyFile: `${ca().dir}/own.key` };
  const use = ({ certFile, keyFile }: Issued) => {
    copyFileSync(keyFile, own.keyFile);
    copyFileSync(certFile, own.certFile);
  };
  use(files);
  const identity = await trustOf(ca(), own);
  const pair = await meet(identity, await trust());
  const { one, two } = pair;
  await talk(pair);
  use(ca().issue({ cn: "after" }));
  await identity.look();
  const { cert, key } = ca().issue();
  const probe = secureConnect({ port: one.port, host: "127.0.0.1", ca: ca().ca, cert, key });
  await once(probe, "secureConnect");
  assert.equal(probe.getPeerCertificate().subject.CN, "after");
  probe.destroy();
  one.send(reply(1n, 2n, 3));
  two.send(reply(2n, 1n, 4));
  await one.until("message", () => one.messages.length === 2);
  await two.until("message", () => two.messages.length === 2);
  assert.deepEqual([one.count("down"), two.count("down")], [0, 0]);
  await stopAll([one, two]);
});

test("members talk over TLS on unix sockets; the name is the host of the URL", {
  skip,
}, async () => {
  const host = `ringd-test-${process.pid}`;
  const one = new Endpoint(1n, {}, await trust({ names: `DNS:${host}-1` }));
  const two = new Endpoint(2n, {}, await trust({ names: `DNS:${host}-2` }));
  for (const endpoint of [one, two]) {
    endpoint.url = `unixs://${host}-${endpoint.id}:1`;
    await endpoint.network.listen(listenUrl(endpoint.url));
  }
  for (const endpoint of [one, two]) endpoint.network.setMembers(membersOf([one, two]));
  await talk({ one, two });
  await stopAll([one, two]);
});

test(`garbage and cut handshakes harm nobody, SEED=${SEED}`, { skip }, async () => {
  const calm = { heartbeatMs: 1000, electionMs: 10_000 }; // All is one thread here.
  const one = new Endpoint(1n, calm, await trust());
  const two = new Endpoint(2n, calm, await trust());
  for (const endpoint of [one, two]) await endpoint.listen("https");
  for (const endpoint of [one, two]) endpoint.network.setMembers(membersOf([one, two]));
  await talk({ one, two });
  const prng = new Prng(SEED);
  const hello = await helloOf(ca().ca);
  const attack = async () => {
    const socket = connect(one.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.resume();
    await once(socket, "connect");
    const bytes = Buffer.from(hello);
    for (let i = prng.below(8); i > 0; i--) bytes[prng.below(bytes.length)] = prng.below(256);
    const part = bytes.subarray(0, 1 + prng.below(bytes.length));
    socket.write(prng.below(4) === 0 ? Buffer.alloc(20_000, prng.uint32()) : part);
    if (prng.below(2) === 0) socket.end();
    else setTimeout(() => socket.destroy(), prng.below(50));
    await new Promise((resolve) => socket.on("close", resolve));
  };
  for (let round = 0; round < 20; round++) await Promise.all(Array.from({ length: 20 }, attack));
  const late = new Endpoint(3n, {}, await trust());
  await late.listen("https");
  for (const each of [one, late]) each.network.setMembers(membersOf([one, two, late]));
  await late.untilUp(1n);
  assert.deepEqual([one.count("down"), two.count("down")], [0, 0]);
  await stopAll([one, two, late]);
});

/** The first bytes that a TLS client sends. */
async function helloOf(ca: string): Promise<Buffer> {
  const listener = createPlainServer();
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address() as AddressInfo;
  const client = secureConnect({ port, host: "127.0.0.1", ca });
  client.on("error", () => undefined);
  const [socket] = (await once(listener, "connection")) as [Socket];
  const [bytes] = (await once(socket, "data")) as [Buffer];
  client.destroy();
  socket.destroy();
  listener.close();
  return bytes;
}

test("a probe is echoed although a ping has just been sent", {
  skip,
  timeout: 10_000,
}, async () => {
  const { cert, key } = ca().issue();
  const server = createServer({ cert, key });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const client = secureConnect({ port, host: "127.0.0.1", ca: ca().ca });
  const [socket] = (await once(server, "secureConnection")) as [TLSSocket];
  const arrival = new Arrival(2n, socket, {
    memberId: 1n,
    message: () => undefined,
    ended: () => undefined,
  });
  const probe = new FrameBatch();
  probe.add(FrameKind.ping, Buffer.from("echo"), 0, 4);
  arrival.start(Buffer.concat(probe.take()));
  const echoed: string[] = [];
  const reader = new FrameReader((_kind, payload) => echoed.push(payload.toString()));
  while (echoed.length < 2) reader.push(((await once(client, "data")) as [Buffer])[0]);
  assert.deepEqual(echoed, ["", "echo"]);
  arrival.close("the test is over");
  client.destroy();
  server.close();
});

test("an alert of a stranger is not taken for more than a text", { skip }, async () => {
  const one = new Endpoint(1n, {}, await trust());
  await one.listen("https");
  const socket = secureConnect({ port: one.port, host: "127.0.0.1", ca: ca().ca });
  await once(socket, "secureConnect");
  socket.write("GET /x HTTP/1.1\r\nx-ringd-tls-alert: hello\n\nworld\r\n\r\n");
  socket.on("error", () => undefined);
  socket.resume();
  await one.untilLogged(/error "remote error: tls: bad certificate"/);
  assert.ok(!one.logged.join().includes("world"));
  socket.destroy();
  await stopAll([one]);
});
