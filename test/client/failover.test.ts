import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { afterEach, beforeEach, test } from "node:test";
import {
  ApiError,
  Client,
  type ClientOptions,
  ConnectError,
  ConnectionLostError,
  InvalidAnswerError,
  KeyNotFoundError,
  MaybeAppliedError,
  MemberError,
  NoEndpointsError,
  RequestTimeoutError,
  type SentRequest,
  TimeoutError,
  UnauthorizedError,
  UnavailableError,
} from "#ringd/client/index.js";
import { freePorts } from "../support/ports.js";
import {
  type Behaviour,
  disconnect,
  FakeMember,
  hangUp,
  ignore,
  respond,
  succeed,
} from "./fake-member.js";

let a: FakeMember;
let b: FakeMember;
let nobody: string;
const clients: Client[] = [];

beforeEach(async () => {
  a = await FakeMember.create();
  b = await FakeMember.create();
  const [port] = await freePorts(1);
  nobody = `http://127.0.0.1:${port}`;
});

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await Promise.all([a.close(), b.close()]);
});

function clientOf(endpoints: readonly string[], options: ClientOptions = {}): Client {
  const client = new Client({ endpoints, order: "given", ...options });
  clients.push(client);
  return client;
}

const noLeader: Behaviour = respond(500, {
  errorCode: 300,
  message: "Raft Internal Error",
  index: 0,
});

test("an endpoint that refuses connections is skipped, and the next one is pinned", async () => {
  const failures: string[] = [];
  const onFailure = (error: Error, endpoint: string) => failures.push(`${error.name} ${endpoint}`);
  const client = clientOf([nobody, a.url, b.url], { onFailure });
  assert.equal((await client.get("/x")).endpoint, a.url);
  assert.equal((await client.get("/x")).endpoint, a.url);
  assert.deepEqual(failures, [`ConnectError ${nobody}`]);
  assert.equal(b.received.length, 0);
});

for (const [what, behaviour, Class] of [
  ["has no leader", noLeader, MemberError],
  ["hangs up", hangUp, ConnectionLostError],
  ["does not respond", ignore, RequestTimeoutError],
  ["disconnects within the body", disconnect, ConnectionLostError],
] as const) {
  // The next member has to respond within this, too, even on a slow machine.
  const patienceMs = behaviour === ignore ? 1000 : 10_000;
  const timeoutMs = behaviour === ignore ? 100 : 10_000;

  test(`a repeatable request goes to the next member when one ${what}`, async () => {
    a.behaviour = behaviour;
    const errors: Error[] = [];
    const client = clientOf([a.url, b.url], { onFailure: (e) => errors.push(e) });
    const { endpoint } = await client.set("/x", "v", { timeoutMs: patienceMs });
    assert.equal(endpoint, b.url);
    assert.equal((await client.get("/x")).endpoint, b.url);
    assert.equal(a.received.length, 1);
    assert.equal(errors.length, 1);
    assert.ok(errors[0] instanceof Class, `${errors[0]}`);
  });

  test(`any other request is not repeated when one ${what}`, async () => {
    a.behaviour = behaviour;
    const client = clientOf([a.url, b.url]);
    const calls = [
      () => client.create("/x", "v", { timeoutMs }),
      () => client.delete("/x", { timeoutMs }),
      () => client.createInOrder("/x", "v", { timeoutMs }),
      () => client.compareAndSwap("/x", "v", { prevIndex: 3, timeoutMs }),
      () => client.compareAndDelete("/x", { prevValue: "v", timeoutMs }),
      () => client.mkdir("/x", { timeoutMs }),
      () => client.setDir("/x", { timeoutMs }),
    ];
    for (const [n, call] of calls.entries()) {
      client.endpoints = [a.url, b.url];
      const error: unknown = await call().catch((reason: unknown) => reason);
      assert.ok(error instanceof MaybeAppliedError, `${error}`);
      assert.ok(error.cause instanceof Class);
      assert.equal(a.received.length, n + 1);
    }
    assert.equal(b.received.length, 0);
    // The next request begins with the next member.
    assert.equal((await client.get("/x")).endpoint, b.url);
  });
}

test("a request that was not sent goes to the next member, repeatable or not", async () => {
  const client = clientOf([nobody, a.url]);
  assert.equal((await client.delete("/x")).endpoint, a.url);
});

test("a request whose TLS handshake never ends counts as not sent", async () => {
  // Accepts connections and never responds to the handshake.
  const silent = createServer();
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  const sockets: Socket[] = [];
  silent.on("connection", (socket) => sockets.push(socket));
  const failures: Error[] = [];
  const hanging = `https://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const client = clientOf([hanging, a.url], {
    timeoutMs: 500,
    onFailure: (error) => failures.push(error),
  });
  assert.equal((await client.delete("/x")).endpoint, a.url);
  assert.ok(failures[0] instanceof RequestTimeoutError && !failures[0].isSent);
  for (const socket of sockets) socket.destroy();
  silent.close();
});

test("`repeat` overrides whether a request is repeated", async () => {
  a.behaviour = hangUp;
  const client = clientOf([a.url, b.url]);
  assert.equal((await client.delete("/x", { repeat: true })).endpoint, b.url);
  client.endpoints = [a.url, b.url];
  await assert.rejects(client.set("/x", "v", { repeat: false }), MaybeAppliedError);
  client.endpoints = [a.url, b.url];
  await assert.rejects(client.request("PUT", "/any"), MaybeAppliedError);
  client.endpoints = [a.url, b.url];
  assert.equal((await client.request("PUT", "/any", { repeat: true })).endpoint, b.url);
});

test("when all endpoints fail, the error has one entry for each, in order", async () => {
  a.behaviour = noLeader;
  b.behaviour = respond(502, "");
  const client = clientOf([nobody, a.url, b.url]);
  const error: unknown = await client.get("/x").catch((reason: unknown) => reason);
  assert.ok(error instanceof UnavailableError);
  const [first, second, third] = error.errors;
  assert.ok(first instanceof ConnectError && first.systemCode === "ECONNREFUSED");
  assert.ok(second instanceof MemberError && second.status === 500);
  assert.match(second.body, /"errorCode":300/);
  assert.ok(third instanceof MemberError);
  assert.equal(
    error.message,
    `client: etcd cluster is unavailable or misconfigured; error #0: Cannot connect to ${nobody}: connection refused\n` +
      `; error #1: client: etcd member ${a.url} has no leader\n` +
      `; error #2: client: etcd member ${b.url} returns server error [Bad Gateway]\n`,
  );
});

test("an error of the key space is final: no other member is tried", async () => {
  const body = { errorCode: 100, message: "Key not found", cause: "/x", index: 9 };
  a.behaviour = respond(404, body);
  await assert.rejects(clientOf([a.url, b.url]).get("/x"), KeyNotFoundError);
  assert.equal(b.received.length, 0);
});

test("a missing permission has an error class for keys, and a status for other APIs", async () => {
  const message = "The request requires user authentication";
  const body = { errorCode: 110, message, cause: "Insufficient credentials", index: 0 };
  a.behaviour = respond(401, body);
  const client = clientOf([a.url]);
  await assert.rejects(client.get("/x"), UnauthorizedError);
  a.behaviour = respond(401, { message: "Insufficient credentials" });
  const error: unknown = await client.members.remove("1").catch((reason: unknown) => reason);
  assert.ok(error instanceof ApiError);
  assert.deepEqual([error.status, error.message], [401, "Insufficient credentials"]);
});

test("a response that is not from an etcd is an InvalidAnswerError or ApiError", async () => {
  const client = clientOf([a.url]);
  for (const body of ["<html>hello</html>", "", "[]", "null", '{"action":"get"}']) {
    a.behaviour = respond(200, body);
    await assert.rejects(client.get("/x"), InvalidAnswerError, body);
  }
  a.behaviour = respond(404, "404 page not found\n");
  await assert.rejects(client.get("/x"), { name: "ApiError", message: "404 page not found" });
  a.behaviour = respond(404, "<html>");
  await assert.rejects(client.get("/x"), InvalidAnswerError);
});

test("totalTimeoutMs limits a call with all its attempts", async () => {
  a.behaviour = ignore;
  b.behaviour = ignore;
  const client = clientOf([a.url, b.url], { timeoutMs: 0, totalTimeoutMs: 50 });
  await assert.rejects(client.get("/x"), TimeoutError);
  await assert.rejects(client.get("/x", { totalTimeoutMs: 0, timeoutMs: 20 }), UnavailableError);
  a.behaviour = (_, response) => {
    response.writeHead(200);
    response.write("{");
  };
  await assert.rejects(client.get("/x"), TimeoutError);
});

test("a signal ends a call with its reason", async () => {
  a.behaviour = ignore;
  const client = clientOf([a.url, b.url]);
  const abort = new AbortController();
  const reason = new Error("enough");
  const got = client.get("/x", { signal: abort.signal });
  await a.untilReceived(1);
  abort.abort(reason);
  await assert.rejects(got, reason);
  await assert.rejects(client.get("/x", { signal: abort.signal }), reason);
  assert.equal(a.received.length, 1);
  assert.equal(b.received.length, 0);
});

test("closing ends calls in flight and rejects new ones", async () => {
  a.behaviour = ignore;
  const client = clientOf([a.url]);
  const got = client.get("/x");
  const ended = assert.rejects(got, { name: "AbortError" });
  await a.untilReceived(1);
  await client.close();
  await ended;
  await assert.rejects(client.get("/x"), { name: "AbortError" });
});

test("requests beyond connectionsMax are queued", async () => {
  const client = clientOf([a.url], { connectionsMax: 2 });
  const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => client.get(`/k${n}`)));
  assert.deepEqual(
    answers.map(({ node }) => node.key),
    Array.from({ length: 50 }, (_, n) => `/k${n}`),
  );
});

test("redirects are followed, within limits", async () => {
  a.behaviour = respond(301, "", { Location: `${b.url}/v2/keys/there` });
  const client = clientOf([a.url]);
  assert.equal((await client.get("/x")).node.key, "/there");
  a.behaviour = respond(301, "", { Location: "/v2/keys/x" });
  await assert.rejects(client.get("/x"), InvalidAnswerError);
  assert.equal(a.received.length, 12);
});

test("the path of an endpoint is prepended to every path", async () => {
  const client = clientOf([`${a.url}/etcd/`]);
  await client.request("GET", "/metrics", { query: { b: "x y", a: 1 } });
  assert.equal(a.received[0]?.url, "/etcd/metrics?a=1&b=x+y");
  assert.deepEqual(client.endpoints, [`${a.url}/etcd`]);
});

test("requests equal those of etcd's client, and onRequest gets no credentials", async () => {
  const sent: SentRequest[] = [];
  const onRequest = (request: SentRequest) => sent.push(request);
  const client = clientOf([nobody, a.url], { onRequest, username: "ann", password: "p:w" });
  await client.get("/k", { quorum: true });
  await client.set("/k", "a b", { ttl: 5, prevValue: "o", prevIndex: 3 });
  await client.request("POST", "/v2/members", { json: { peerURLs: [] } });
  assert.deepEqual(
    a.received.map(({ method, url, body }) => `${method} ${url} ${body}`),
    [
      "GET /v2/keys/k?quorum=true&recursive=false&sorted=false ",
      "PUT /v2/keys/k?prevIndex=3&prevValue=o ttl=5&value=a+b",
      'POST /v2/members {"peerURLs":[]}',
    ],
  );
  const basic = `Basic ${Buffer.from("ann:p:w").toString("base64")}`;
  assert.ok(a.received.every(({ headers }) => headers.authorization === basic));
  assert.equal(a.received[1]?.headers["content-type"], "application/x-www-form-urlencoded");
  assert.deepEqual(
    sent.map(({ method, url }) => `${method} ${url}`),
    [
      `GET ${nobody}/v2/keys/k?quorum=true&recursive=false&sorted=false`,
      `GET ${a.url}/v2/keys/k?quorum=true&recursive=false&sorted=false`,
      `PUT ${a.url}/v2/keys/k?prevIndex=3&prevValue=o`,
      `POST ${a.url}/v2/members`,
    ],
  );
  assert.equal(sent[2]?.body, "ttl=5&value=a+b");
  assert.ok(!JSON.stringify(sent).includes("Basic"));
});

test("a call with an endpoint goes to that one only", async () => {
  const client = clientOf([a.url, b.url]);
  assert.equal((await client.get("/x", { endpoint: b.url })).endpoint, b.url);
  b.behaviour = noLeader;
  await assert.rejects(client.get("/x", { endpoint: b.url }), UnavailableError);
  assert.equal(a.received.length, 0);
  // The pinned endpoint has not changed.
  assert.equal((await client.get("/x")).endpoint, a.url);
});

test("health is read from one member, whatever the status code", async () => {
  const client = clientOf([a.url, b.url]);
  for (const [health, isHealthy] of [
    ["true", true],
    [true, true],
    ["false", false],
  ]) {
    a.behaviour = respond(isHealthy ? 200 : 503, { health });
    assert.equal(await client.health(), isHealthy);
  }
  assert.equal(b.received.length, 0);
  await assert.rejects(client.health({ endpoint: nobody }), UnavailableError);
});

test("endpoints are validated, and kept in order or shuffled", async () => {
  assert.throws(() => new Client({ endpoints: [] }), NoEndpointsError);
  assert.throws(() => new Client({ endpoints: ["not a url"] }), TypeError);
  assert.throws(() => new Client({ endpoints: ["ftp://127.0.0.1"] }), /neither http nor https/);
  assert.deepEqual(new Client().endpoints, ["http://127.0.0.1:2379"]);
  const many = Array.from({ length: 30 }, (_, n) => `http://127.0.0.1:${n + 1}`);
  assert.deepEqual(new Client({ endpoints: many, order: "given" }).endpoints, many);
  const shuffled = new Client({ endpoints: many }).endpoints;
  assert.notDeepEqual(shuffled, many);
  assert.deepEqual([...shuffled].sort(), [...many].sort());
});

test("syncEndpoints uses the advertised client URLs", async () => {
  const one = { id: "1", name: "a", peerURLs: [], clientURLs: [a.url] };
  a.behaviour = respond(200, { members: [one, { ...one, id: "2", clientURLs: [b.url] }] });
  const client = clientOf([a.url]);
  assert.deepEqual(await client.syncEndpoints(), [a.url, b.url]);
  assert.deepEqual(client.endpoints, [a.url, b.url]);
  a.behaviour = respond(200, { members: [{ ...one, clientURLs: [] }] });
  await assert.rejects(client.syncEndpoints(), NoEndpointsError);
  assert.deepEqual(client.endpoints, [a.url, b.url]);
});

test("syncing to the same endpoints keeps the pinned one", async () => {
  a.behaviour = hangUp;
  const one = { id: "1", name: "a", peerURLs: [], clientURLs: [a.url, b.url] };
  b.behaviour = respond(200, { members: [one] });
  const client = clientOf([a.url, b.url]);
  await client.syncEndpoints();
  b.behaviour = succeed("get");
  await client.get("/x");
  assert.equal(a.received.length, 1);
});
