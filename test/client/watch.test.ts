import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { after, afterEach, before, beforeEach, test } from "node:test";
import {
  Client,
  ConnectionLostError,
  EventIndexClearedError,
  InvalidRequestError,
  UnavailableError,
  UnhealthyError,
  type WatchItem,
} from "#ringd/client/index.js";
import { type MemberKind, TestMember } from "../support/member.js";
import { FakeMember, hangUp, ignore, type Received, respond, succeed } from "./fake-member.js";

/** `KIND=etcd` runs the tests against etcd. */
const KIND: MemberKind = process.env.KIND === "etcd" ? "etcd" : "ringd";

const HISTORY = 1000;

let member: TestMember;
let client: Client;
let prefix = "";
let tests = 0;

before(async () => {
  member = await TestMember.create(KIND);
  client = new Client({ endpoints: [member.clientUrl] });
});

beforeEach(() => {
  prefix = `/test${++tests}`;
});

after(async () => {
  await client.close();
  await member.destroy();
});

const fakes: FakeMember[] = [];
afterEach(async () => {
  await Promise.all(fakes.splice(0).map((fake) => fake.close()));
});

async function fakeMembers(count: number): Promise<FakeMember[]> {
  for (let n = 0; n < count; n++) fakes.push(await FakeMember.create());
  return fakes;
}

async function take(items: AsyncIterable<WatchItem>, count: number): Promise<WatchItem[]> {
  const taken: WatchItem[] = [];
  for await (const item of items) {
    taken.push(item);
    if (taken.length === count) break;
  }
  return taken;
}

function brief(items: readonly WatchItem[]): string[] {
  return items.map((item) =>
    item.kind === "event"
      ? `${item.action} ${item.node.key}=${item.node.value}`
      : `reset ${item.node?.nodes?.length}`,
  );
}

test("a watch yields each change of the key with the previous node", async () => {
  const { index } = await client.set(prefix, "one");
  await client.set(prefix, "two");
  await client.set(`${prefix}-other`, "x");
  const last = await client.delete(prefix);
  const items = await take(client.watch(prefix, { afterIndex: index - 1 }), 3);
  assert.deepEqual(brief(items), [
    `set ${prefix}=one`,
    `set ${prefix}=two`,
    `delete ${prefix}=undefined`,
  ]);
  const [, second, third] = items;
  assert.equal(second?.kind === "event" && second.prevNode?.value, "one");
  assert.equal(third?.index, last.index);
  assert.equal(third?.endpoint, member.clientUrl);
});

test("a watch starts at afterIndex or waitIndex", async () => {
  const { index } = await client.set(`${prefix}/a`, "1");
  await client.set(`${prefix}/b`, "2");
  const first = async (options: object) =>
    brief(await take(client.watch(prefix, { recursive: true, ...options }), 1));
  assert.deepEqual(await first({ afterIndex: index }), [`set ${prefix}/b=2`]);
  assert.deepEqual(await first({ waitIndex: index }), [`set ${prefix}/a=1`]);
});

test("without an index a watch starts now and loses no later event", async () => {
  await client.set(`${prefix}/old`, "x");
  const items = client.watch(prefix, { recursive: true });
  const [first] = await Promise.all([
    items.next(),
    // As many as it takes until the watch is open.
    (async () => {
      for (let n = 0; (await client.storeStats()).watchers === 0; n++) assert.ok(n < 1000);
      await client.set(`${prefix}/a`, "1");
      await client.set(`${prefix}/b`, "2");
    })(),
  ]);
  assert.equal(first.value?.node?.key, `${prefix}/a`);
  assert.equal((await items.next()).value?.node?.key, `${prefix}/b`);
  await items.return();
});

test("when events were lost it reads the key again and yields a reset", async () => {
  const { index } = await client.set(`${prefix}/a`, "1");
  await client.set(`${prefix}/b`, "2");
  // More than one connection can write in the default timeout on a busy machine.
  const timeoutMs = 60_000;
  const writes = Array.from({ length: HISTORY }, (_, n) =>
    client.set("/flood", String(n), { timeoutMs }),
  );
  await Promise.all(writes);
  const items = client.watch(prefix, { recursive: true, afterIndex: index });
  const { value: reset } = await items.next();
  assert.equal(reset?.kind, "reset");
  if (reset?.kind !== "reset") return;
  assert.ok(reset.reason instanceof EventIndexClearedError);
  assert.deepEqual(
    reset.node?.nodes?.map(({ key }) => key),
    [`${prefix}/a`, `${prefix}/b`],
  );
  assert.equal(reset.index, (await client.get("/")).index);
  const [{ value: next }] = await Promise.all([items.next(), client.set(`${prefix}/c`, "3")]);
  assert.equal(next?.node?.key, `${prefix}/c`);
  await items.return();

  await client.delete(prefix, { recursive: true });
  const [gone] = await take(client.watch(prefix, { recursive: true, afterIndex: index }), 1);
  assert.equal(gone?.kind, "reset");
  assert.equal(gone?.node, undefined);
  assert.ok((gone?.index ?? 0) > reset.index);
});

test("a signal ends a watch without an error, at once", async () => {
  const abort = new AbortController();
  const items = client.watch(prefix, { signal: abort.signal });
  const next = items.next();
  abort.abort();
  assert.deepEqual(await next, { value: undefined, done: true });
  assert.deepEqual(await items.next(), { value: undefined, done: true });
  for await (const _ of client.watch(prefix, { signal: AbortSignal.abort() })) assert.fail();
});

test("return() ends a waiting watch", async () => {
  const items = client.watch(prefix);
  const next = items.next();
  await items.return();
  assert.equal((await next).done, true);
});

test("an ended watch leaves no watcher at the member", async () => {
  const abort = new AbortController();
  const watches = Array.from({ length: 20 }, () =>
    client.watch(prefix, { signal: abort.signal }).next(),
  );
  for (let n = 0; (await client.storeStats()).watchers < 20; n++) assert.ok(n < 1000);
  abort.abort();
  await Promise.all(watches);
  for (let n = 0; (await client.storeStats()).watchers > 0; n++) assert.ok(n < 1000);
});

test("a hundred watches use no connections of requests", async () => {
  const abort = new AbortController();
  const few = new Client({ endpoints: [member.clientUrl], connectionsMax: 1 });
  const watches = Array.from({ length: 100 }, () =>
    few.watch(prefix, { signal: abort.signal, afterIndex: 1e9 }).next(),
  );
  assert.equal((await few.set(prefix, "v")).status, 201);
  abort.abort();
  await Promise.all(watches);
  await few.close();
});

test("closing the client ends its watches with an error", async () => {
  const other = new Client({ endpoints: [member.clientUrl] });
  const next = assert.rejects(other.watch(prefix).next(), { name: "AbortError" });
  await other.close();
  await next;
});

test("a watch that the server rejects throws", async () => {
  const items = client.watch(prefix, { waitIndex: -5 });
  await assert.rejects(items.next(), InvalidRequestError);
  assert.equal((await items.next()).done, true);
});

test("a watch throws at once if no member is reachable at its start", async () => {
  const [a, b] = await fakeMembers(2);
  for (const fake of fakes) fake.behaviour = hangUp;
  const other = new Client({ endpoints: [a?.url ?? "", b?.url ?? ""] });
  await assert.rejects(other.watch("/k").next(), UnavailableError);
  assert.deepEqual([a?.received.length, b?.received.length], [1, 1]);
  await other.close();
});

test("a running watch survives an outage of all members, up to outageMs", async () => {
  const [a] = await fakeMembers(1);
  assert.ok(a);
  const other = new Client({ endpoints: [a.url] });
  let asked = 0;
  a.behaviour = (received, response) => {
    asked++;
    if (asked < 4) {
      // Headers with the index, and no body.
      if (asked === 1) response.writeHead(200, { "X-Etcd-Index": "41" }).flushHeaders();
      setImmediate(() => response.destroy());
    } else
      respond(200, { action: "set", node: { key: "/k", modifiedIndex: 42 } })(received, response);
  };
  const items = other.watch("/k", { outageMs: 60_000 });
  assert.equal((await items.next()).value?.index, 42);
  assert.deepEqual(
    a.received.map(({ url }) => /waitIndex=\d+/.exec(url)?.[0]),
    ["waitIndex=0", "waitIndex=42", "waitIndex=42", "waitIndex=42"],
  );
  await items.return();

  asked = 0;
  await assert.rejects(other.watch("/k", { outageMs: 0 }).next(), UnavailableError);
  await other.close();
});

test("a long poll that ends without an event is repeated", async () => {
  const [a] = await fakeMembers(1);
  assert.ok(a);
  const cleared = { errorCode: 400, message: "watcher is cleared due to etcd recovery", index: 5 };
  const event = { action: "set", node: { key: "/k", modifiedIndex: 9 } };
  const answers = [respond(200, ""), respond(400, cleared), respond(200, "{"), respond(200, event)];
  a.behaviour = (received, response) => answers.shift()?.(received, response);
  const other = new Client({ endpoints: [a.url] });
  const [item] = await take(other.watch("/k", { afterIndex: 3 }), 1);
  assert.equal(item?.index, 9);
  assert.ok(a.received.every(({ url }) => url.includes("waitIndex=4")));
  await other.close();
});

test("a watch moves from an unhealthy member to a healthy one", async () => {
  const [a, b, c] = await fakeMembers(3);
  assert.ok(a && b && c);
  const failures: Error[] = [];
  const other = new Client({
    endpoints: [a.url, b.url, c.url],
    order: "given",
    healthCheckMs: 20,
    timeoutMs: 20,
    onFailure: (error) => failures.push(error),
  });
  a.behaviour = ({ url }, response) => {
    if (!url.includes("wait")) return; // It hangs.
    response.writeHead(200, { "X-Etcd-Index": "7" }).flushHeaders();
  };
  b.behaviour = respond(503, { health: "false" });
  c.behaviour = (received, response) => {
    const event = { action: "set", node: { key: "/k", modifiedIndex: 8 } };
    respond(200, received.url === "/health" ? { health: "true" } : event)(received, response);
  };
  const [item] = await take(other.watch("/k"), 1);
  assert.equal(item?.endpoint, c.url);
  assert.equal(a.received.filter(({ url }) => url.includes("wait")).length, 1);
  assert.ok(b.received.every(({ url }) => url === "/health"));
  assert.match(c.received.at(-1)?.url ?? "", /waitIndex=8$/);
  await other.close();
});

test("a watch moves even if the unhealthy member never sent headers", async () => {
  const [a, b] = await fakeMembers(2);
  assert.ok(a && b);
  a.behaviour = ignore;
  b.behaviour = (received, response) => {
    const event = { action: "set", node: { key: "/k", modifiedIndex: 8 } };
    respond(200, received.url === "/health" ? { health: "true" } : event)(received, response);
  };
  const failures: Error[] = [];
  const options = { healthCheckMs: 20, timeoutMs: 20, order: "given" as const };
  const endpoints = [a.url, b.url];
  const other = new Client({ endpoints, ...options, onFailure: (error) => failures.push(error) });
  const [item] = await take(other.watch("/k", { afterIndex: 2 }), 1);
  assert.equal(item?.endpoint, b.url);
  assert.ok(failures.some((error) => error instanceof UnhealthyError));
  await other.close();
});

test("a watch with an endpoint stays at that member, and does not change the pinned one", async () => {
  const [a, b, c] = await fakeMembers(3);
  assert.ok(a && b && c);
  const health = (text: string) => (received: Received, response: ServerResponse) =>
    received.url === "/health"
      ? respond(200, { health: text })(received, response)
      : succeed("get")(received, response);
  a.behaviour = health("false");
  b.behaviour = health("true");
  const waitedTwice = new Promise<void>((resolve) => {
    let waits = 0;
    c.behaviour = ({ url }, response) => {
      if (!url.includes("wait")) return; // It hangs.
      response.writeHead(200, { "X-Etcd-Index": "7" }).flushHeaders();
      if (++waits === 2) resolve();
    };
  });
  const endpoints = [a.url, b.url, c.url];
  const other = new Client({ endpoints, order: "given", healthCheckMs: 20, timeoutMs: 20 });
  const watch = other.watch("/k", { endpoint: c.url });
  const ended = watch.next();
  await waitedTwice;
  assert.equal((await other.get("/k", { timeoutMs: 10_000 })).endpoint, a.url);
  await watch.return();
  await ended;
  await other.close();
});

test("without a healthy member a watch stays where it is", async () => {
  const [a, b] = await fakeMembers(2);
  assert.ok(a && b);
  let events = 0;
  for (const fake of [a, b]) {
    fake.behaviour = (received, response) => {
      if (received.url === "/health") respond(503, { health: "false" })(received, response);
      else if (b.received.length < 3)
        response.writeHead(200, { "X-Etcd-Index": "7" }).flushHeaders();
      else events++;
    };
  }
  const endpoints = [a.url, b.url];
  const other = new Client({ endpoints, order: "given", healthCheckMs: 10 });
  const abort = new AbortController();
  const ended = other.watch("/k", { signal: abort.signal }).next();
  await b.untilReceived(3);
  assert.equal(a.received.filter(({ url }) => url.includes("wait")).length, 1);
  assert.equal(events, 0);
  abort.abort();
  await ended;
  await other.close();
});

test("a watch moves when its member shuts down", async () => {
  const [a, b] = await fakeMembers(2);
  assert.ok(a && b);
  const failures: Error[] = [];
  const other = new Client({
    endpoints: [a.url, b.url],
    order: "given",
    onFailure: (error) => failures.push(error),
  });
  a.behaviour = hangUp;
  b.behaviour = respond(200, { action: "set", node: { key: "/k", modifiedIndex: 8 } });
  const [item] = await take(other.watch("/k"), 1);
  assert.equal(item?.endpoint, b.url);
  assert.ok(failures[0] instanceof ConnectionLostError);
  await other.close();
});
