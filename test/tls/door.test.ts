import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { after, test } from "node:test";
import { type ConnectionOptions, connect as connectSecurely, type TLSSocket } from "node:tls";
import type { TlsSettings } from "#ringd/config/tls.js";
import { type Protocols, type Rejection, TlsDoor } from "#ringd/frontend/tls-door.js";
import { TlsIdentity } from "#ringd/tls/identity.js";
import { Authority, type Issued, NO_OPENSSL } from "./authority.js";
import { silent, tlsSettings } from "./settings.js";

const skip = NO_OPENSSL;
const made: Authority[] = [];
const openDoors: { close(): void }[] = [];
after(() => {
  for (const door of openDoors) door.close();
  for (const authority of made) authority.remove();
});

function newAuthority(): Authority {
  const authority = new Authority();
  made.push(authority);
  return authority;
}

const trusted = skip ? undefined : newAuthority();
function ca(): Authority {
  assert.ok(trusted);
  return trusted;
}

/** A door on its own port: it echoes "CN:" and what a connection sends. */
class EchoDoor {
  readonly rejections: Rejection[] = [];
  readonly names: string[] = [];
  plain = 0;
  readonly #server = createServer({ allowHalfOpen: true }, (socket) => this.#door.admit(socket));
  readonly #door: TlsDoor;
  #wake: () => void = () => undefined;

  static async open(
    some: Partial<TlsSettings>,
    protocols: Protocols = "https",
    limits: { handshakeMsMax?: number; handshakesMax?: number } = {},
  ): Promise<EchoDoor> {
    const { certFile, keyFile } = ca().issue();
    const settings = tlsSettings({ certFile, keyFile, ...some });
    const identity = await TlsIdentity.open(settings, { log: silent, metrics: undefined });
    const door = new EchoDoor(identity, protocols, limits);
    openDoors.push({
      close: () => {
        identity.close();
        door.close();
      },
    });
    door.#server.listen(0, "127.0.0.1");
    await once(door.#server, "listening");
    return door;
  }

  private constructor(
    identity: TlsIdentity,
    protocols: Protocols,
    limits: { handshakeMsMax?: number; handshakesMax?: number },
  ) {
    const echo = (socket: Socket, before: string) => {
      socket.on("error", () => undefined);
      socket.on("data", (bytes) => socket.write(before + bytes));
      socket.on("end", () => socket.end());
    };
    const plain = (socket: Socket) => {
      this.plain++;
      echo(socket, "plain:");
    };
    const secure = (socket: TLSSocket, name: string) => {
      this.names.push(name);
      echo(socket, `${name}:`);
    };
    const onRejected = (rejection: Rejection) => {
      this.rejections.push(rejection);
      this.#wake();
    };
    const rooms = { plain: protocols === "both" ? plain : undefined, secure };
    this.#door = new TlsDoor(identity, rooms, { onRejected, ...limits });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async untilRejected(count: number): Promise<void> {
    while (this.rejections.length < count) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  close(): void {
    this.#server.close();
    this.#door.close();
  }
}

/** @returns what the door echoes for "hello"; "" if it closes instead */
async function hello(port: number, options: ConnectionOptions = {}): Promise<string> {
  const socket = connectSecurely({ port, host: "127.0.0.1", ca: ca().ca, ...options });
  return echoOf(socket);
}

async function echoOf(socket: Socket): Promise<string> {
  let text = "";
  socket.on("data", (bytes) => {
    text += bytes;
    socket.destroy();
  });
  socket.on("error", () => undefined);
  socket.write("hello");
  await closed(socket);
  return text;
}

/** `once` would reject with an error before. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    socket.once("close", () => resolve());
  });
}

const certified = ({ cert, key }: Issued): ConnectionOptions => ({ cert, key });

test("a client's certificate decides, and names a user", { skip }, async () => {
  const other = newAuthority();
  const revoked = ca().issue({ cn: "revoked" });
  const door = await EchoDoor.open({
    requiresClientCert: true,
    takesCommonName: true,
    trustedCaFile: ca().caFile,
    crlFile: ca().revoke(revoked),
  });
  const accepted = (wish: Parameters<Authority["issue"]>[0]) =>
    hello(door.port, certified(ca().issue(wish)));
  assert.equal(await accepted({ cn: "alice" }), "alice:hello");
  assert.equal(await accepted({ cn: "", names: "DNS:b" }), ":hello");
  assert.equal(await accepted({ cn: "bob", usage: "clientAuth" }), "bob:hello");
  assert.equal(door.rejections.length, 0);
  const verify = "tls: failed to verify client certificate: x509:";
  const late = "certificate has expired or is not yet valid";
  const serial = /^transport: certificate serial [0-9a-f]+ revoked$/;
  const cases: readonly (readonly [ConnectionOptions, string | RegExp])[] = [
    [{}, "tls: client didn't provide a certificate"],
    [certified(other.issue({ cn: "alice" })), `${verify} certificate signed by unknown authority`],
    [certified(ca().issue({ fromDays: -9, toDays: -1 })), `${verify} ${late}`],
    [certified(ca().issue({ fromDays: 1 })), `${verify} ${late}`],
    [
      certified(ca().issue({ usage: "serverAuth" })),
      `${verify} certificate specifies an incompatible key usage`,
    ],
    [certified(revoked), serial],
  ];
  for (const [i, [options, why]] of cases.entries()) {
    for (const maxVersion of ["TLSv1.3", "TLSv1.2"] as const) {
      const before: number = door.rejections.length;
      assert.equal(await hello(door.port, { ...options, maxVersion }), "", `${i}`);
      await door.untilRejected(before + 1);
      const rejection: Rejection | undefined = door.rejections.at(-1);
      if (typeof why === "string") assert.equal(rejection?.why, why);
      else assert.match(rejection?.why ?? "", why);
      assert.match(rejection?.remote ?? "", /^127\.0\.0\.1:\d+$/);
      assert.equal(door.rejections.length, before + 1);
    }
  }
  assert.deepEqual(door.names, ["alice", "", "bob"]);
});

test("without --client-cert-auth a common name is no user", { skip }, async () => {
  const door = await EchoDoor.open({ requiresClientCert: true, trustedCaFile: ca().caFile });
  assert.equal(await hello(door.port, certified(ca().issue({ cn: "alice" }))), ":hello");
  assert.equal(await hello(door.port), "");
});

test("names that a client's certificate must have", { skip }, async () => {
  const base = { requiresClientCert: true, trustedCaFile: ca().caFile };
  const named = await EchoDoor.open({ ...base, allowedHostname: "m.a.example" });
  const isServed = async (wish: Parameters<Authority["issue"]>[0]) =>
    (await hello(named.port, certified(ca().issue(wish)))) === ":hello";
  assert.equal(await isServed({ names: "DNS:m.a.example" }), true);
  assert.equal(await isServed({ names: "DNS:*.a.example" }), true);
  assert.equal(await isServed({ cn: "m.a.example", names: "" }), false);
  assert.equal(await isServed({ names: "DNS:b.example" }), false);
  await named.untilRejected(2);
  assert.equal(named.rejections[0]?.why, "client certificate authentication failed");
  const revoked = ca().issue({ names: "DNS:m.a.example" });
  const listed = await EchoDoor.open({
    ...{ ...base, allowedHostname: "m.a.example", crlFile: ca().revoke(revoked) },
  });
  assert.equal(await hello(listed.port, certified(revoked)), "");
  const common = await EchoDoor.open({ ...base, allowedCn: "member" });
  assert.equal(await hello(common.port, certified(ca().issue({ cn: "member" }))), ":hello");
  assert.equal(await hello(common.port, certified(ca().issue({ cn: "other" }))), "");
});

test("the other side's complaint is logged in etcd's words", { skip }, async () => {
  const door = await EchoDoor.open({});
  const strangers = newAuthority().caFile;
  const refusing = ["-CAfile", strangers, "-verify_return_error", "-servername", "member.example"];
  execFile("openssl", ["s_client", "-connect", `127.0.0.1:${door.port}`, ...refusing]);
  await door.untilRejected(1);
  await hello(door.port, { maxVersion: "TLSv1.2", ciphers: "AES256-SHA" });
  await hello(door.port, { ALPNProtocols: ["h2"] });
  await door.untilRejected(3);
  const texts = door.rejections.map(({ why }) => why);
  assert.deepEqual(texts, [
    "remote error: tls: unknown certificate authority",
    "tls: no cipher suite supported by both client and server",
    "tls: client requested unsupported application protocols",
  ]);
  assert.equal(door.rejections[0]?.serverName, "member.example");
});

test("versions and cipher suites", { skip }, async () => {
  const ecdsa = "ECDHE-ECDSA-AES128-GCM-SHA256";
  const suites = await EchoDoor.open({ cipherSuites: [ecdsa, "ECDHE-ECDSA-AES256-SHA"] });
  const outcome = (door: EchoDoor, options: ConnectionOptions) => hello(door.port, options);
  assert.equal(await outcome(suites, {}), ":hello"); // TLS 1.3 has its own.
  assert.equal(await outcome(suites, { maxVersion: "TLSv1.2" }), ":hello");
  assert.equal(await outcome(suites, { maxVersion: "TLSv1.2", ciphers: ecdsa }), ":hello");
  const mismatched = { maxVersion: "TLSv1.2", ciphers: "ECDHE-ECDSA-AES256-GCM-SHA384" } as const;
  assert.equal(await outcome(suites, mismatched), "");
  const newest = await EchoDoor.open({ minVersion: "TLSv1.3" });
  assert.equal(await outcome(newest, {}), ":hello");
  assert.equal(await outcome(newest, { maxVersion: "TLSv1.2" }), "");
  const older = await EchoDoor.open({ maxVersion: "TLSv1.2" });
  assert.equal(await outcome(older, {}), ":hello");
  assert.equal(await outcome(older, { minVersion: "TLSv1.3" }), "");
  await older.untilRejected(1);
  assert.equal(older.rejections[0]?.why, "tls: client offered only unsupported versions");
  const old = { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "ALL@SECLEVEL=0" } as const;
  assert.equal(await outcome(await EchoDoor.open({}), old), "");
});

test("http and https share a port; where only https is served, http is closed", {
  skip,
}, async () => {
  const both = await EchoDoor.open({}, "both");
  assert.equal(await hello(both.port), ":hello");
  assert.equal(await echoOf(connect(both.port, "127.0.0.1")), "plain:hello");
  assert.equal(both.plain, 1);
  const secure = await EchoDoor.open({});
  assert.equal(await echoOf(connect(secure.port, "127.0.0.1")), "");
  await secure.untilRejected(1);
  assert.equal(secure.rejections[0]?.why, "tls: first record does not look like a TLS handshake");
});

test("half-open handshakes are closed in time, and make room for others", { skip }, async () => {
  const door = await EchoDoor.open({}, "https", { handshakeMsMax: 1000, handshakesMax: 100 });
  const half: Socket[] = [];
  let count = 0;
  for (let i = 0; i < 1000; i++) {
    const socket = connect(door.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.once("close", () => count++);
    half.push(socket);
    await once(socket, "connect");
    socket.write(i % 2 === 0 ? "\x16" : "\x16\x03\x01\x02\x00\x01");
    if (i % 100 === 0) assert.equal(await hello(door.port), ":hello");
  }
  await door.untilRejected(800);
  assert.equal(door.rejections[0]?.why, "too many handshakes in flight");
  assert.equal(await hello(door.port), ":hello");
  await Promise.all(half.map(closed));
  assert.equal(count, 1000);
  const reasons = new Set(door.rejections.map(({ why }) => why));
  assert.deepEqual([...reasons], ["too many handshakes in flight", "i/o timeout"]);
});

test("a connection that sends nothing waits for its first byte where http is served", {
  skip,
}, async () => {
  const door = await EchoDoor.open({}, "both", { handshakeMsMax: 50 });
  const silentOne = connect(door.port, "127.0.0.1");
  await once(silentOne, "connect");
  const strict = await EchoDoor.open({}, "https", { handshakeMsMax: 50 });
  const closedOne = connect(strict.port, "127.0.0.1");
  closedOne.on("error", () => undefined);
  await closed(closedOne);
  assert.equal(await echoOf(silentOne), "plain:hello");
});

test("a client cannot renegotiate", { skip }, async () => {
  const door = await EchoDoor.open({});
  const socket = connectSecurely({
    ...{ port: door.port, host: "127.0.0.1", ca: ca().ca, maxVersion: "TLSv1.2" },
  });
  await once(socket, "secureConnect");
  const refused = once(socket, "error") as Promise<NodeJS.ErrnoException[]>;
  socket.renegotiate({}, () => undefined);
  assert.equal((await refused)[0]?.code, "ERR_SSL_NO_RENEGOTIATION");
  socket.destroy();
  assert.equal(await hello(door.port), ":hello");
});

test("sessions are resumed, but not past the check of a client's certificate", {
  skip,
}, async () => {
  const own = certified(ca().issue());
  for (const [settings, isResumed] of [
    [{}, true],
    [{ requiresClientCert: true, trustedCaFile: ca().caFile }, false],
  ] as const) {
    const door = await EchoDoor.open(settings);
    const options = { port: door.port, host: "127.0.0.1", ca: ca().ca, ...own };
    const first = connectSecurely({ ...options, maxVersion: "TLSv1.2" });
    await once(first, "secureConnect");
    const session = first.getSession();
    first.destroy();
    const second = connectSecurely({
      ...{ ...options, maxVersion: "TLSv1.2" },
      ...(session === undefined ? {} : { session }),
    });
    await once(second, "secureConnect");
    assert.equal(second.isSessionReused(), isResumed);
    second.destroy();
  }
});
