import assert from "node:assert/strict";
import { test } from "node:test";
import { DiscoveryError, DiscoveryUnreachableError } from "#ringd/discovery/discovery-error.js";
import type { Registry, RegistryAnswer, RegistryCall } from "#ringd/discovery/registry.js";
import { backoffSeconds, DiscoveryToken } from "#ringd/discovery/token.js";

const URL_ = "http://d:1/t";

/** A directory of registered members that others join while one watches. */
class FakeRegistry implements Registry {
  readonly calls: string[] = [];
  readonly keys = new Map<string, { value: string; createdIndex: number }>();
  readonly joiners: (readonly [id: string, value: string])[] = [];
  /** Failures before each call that works. */
  failures = 0;
  /** The next PUT is carried out, and its response lost. */
  losesPut = false;
  size: string | undefined = "3";
  /** Instead of any JSON. */
  page: RegistryAnswer | undefined;
  #index = 10;

  async call({ method, url, value }: RegistryCall): Promise<RegistryAnswer> {
    this.calls.push(`${method} ${url.slice(URL_.length)}`);
    if (this.failures > 0) {
      this.failures--;
      throw new DiscoveryUnreachableError("connect ECONNREFUSED");
    }
    if (this.page !== undefined) return this.page;
    const path = url.slice(URL_.length);
    if (path === "/_config/size") {
      return this.size === undefined
        ? this.#answer(404, { errorCode: 100, message: "Key not found", cause: "/t", index: 9 })
        : this.#answer(200, { node: { key: "/t/_config/size", value: this.size } });
    }
    if (method === "PUT") return this.#put(path.slice(1).split("?")[0] ?? "", value ?? "");
    if (path.startsWith("?wait")) {
      const joiner = this.joiners.shift();
      if (joiner === undefined) return this.#answer(200, null); // The poll was ended.
      this.add(...joiner);
      return this.#answer(200, { node: this.#node(joiner[0]) });
    }
    if (path.includes("?wait") || path.startsWith("/")) {
      return this.#answer(200, { node: this.#node(path.slice(1).split("?")[0] ?? "") });
    }
    const config = { key: "/t/_config", dir: true, createdIndex: 1 };
    const nodes = [config, ...[...this.keys.keys()].reverse().map((id) => this.#node(id))];
    return this.#answer(200, { node: { key: "/t", dir: true, nodes } });
  }

  add(id: string, value: string): void {
    this.keys.set(id, { value, createdIndex: ++this.#index });
  }

  #put(id: string, value: string): RegistryAnswer {
    if (this.keys.has(id)) {
      return this.#answer(412, { errorCode: 105, message: "Key already exists", cause: id });
    }
    this.add(id, value);
    if (this.losesPut) {
      this.losesPut = false;
      throw new DiscoveryUnreachableError("socket hang up");
    }
    return this.#answer(201, { node: this.#node(id) });
  }

  #node(id: string) {
    const { createdIndex, value } = this.keys.get(id) ?? { createdIndex: 0, value: "" };
    return { key: `/t/${id}`, value, createdIndex, modifiedIndex: createdIndex };
  }

  #answer(status: number, body: unknown): RegistryAnswer {
    return { status, index: this.#index, body };
  }
}

function tokenOf(registry: Registry) {
  const waits: number[] = [];
  const lines: string[] = [];
  const take = (_: object, message: string) => lines.push(message);
  const log = { info: take, warn: take };
  const token = new DiscoveryToken(URL_, registry, log, async (ms) => {
    waits.push(ms / 1000);
    await new Promise(setImmediate);
  });
  return { token, waits, lines };
}

async function refusal(registry: Registry, work: (token: DiscoveryToken) => Promise<unknown>) {
  const { token } = tokenOf(registry);
  let message = "";
  await assert.rejects(work(token), (error: Error) => {
    assert.ok(error instanceof DiscoveryError);
    message = error.message;
    return true;
  });
  assert.ok(message.includes(`--discovery=${URL_}`) && !message.includes("\n"), message);
  return message;
}

const join = (token: DiscoveryToken) => token.join("c", "n3=http://c:1");

test("members found a cluster in the order of registration, late ones as they come", async () => {
  const registry = new FakeRegistry();
  registry.add("a", "n1=http://a:1,n1=http://a:2");
  registry.joiners.push(["b", "n2=http://b:1"]);
  const { token, lines } = tokenOf(registry);
  assert.equal(
    await token.join("c", "n3=http://c:1"),
    "n1=http://a:1,n1=http://a:2,n3=http://c:1,n2=http://b:1",
  );
  assert.ok(registry.calls.includes("PUT /c?prevExist=false"));
  assert.ok(registry.calls.includes("GET ?wait=true&recursive=true&waitIndex=13"));
  assert.ok(lines.includes("found self from discovery server"));
  assert.equal(lines.at(-1), "found all needed peers from discovery server");
});

test("a long poll that ends without an event has the directory read again", async () => {
  const registry = new FakeRegistry();
  registry.size = "2";
  const { token, waits } = tokenOf(registry);
  const whole = token.join("c", "n3=http://c:1");
  setImmediate(() => registry.add("b", "n2=http://b:1"));
  assert.equal(await whole, "n3=http://c:1,n2=http://b:1");
  assert.ok(waits.length >= 1 && waits.every((seconds) => seconds === 1), "it does not spin");
});

test("a full token, a registered id, a name used twice: etcd's messages", async () => {
  const full = new FakeRegistry();
  full.size = "1";
  full.add("a", "n1=http://a:1");
  assert.match(await refusal(full, join), /^failed to join .*\(discovery: cluster is full\)/);
  assert.ok(!full.keys.has("c"), "it did not register");
  const { token } = tokenOf(full);
  assert.equal(await token.cluster(), "n1=http://a:1", "a proxy takes it nevertheless");

  const twice = new FakeRegistry();
  twice.add("c", "n3=http://c:1");
  assert.match(await refusal(twice, join), /\(discovery: found duplicate id\)/);

  const named = new FakeRegistry();
  named.add("a", "n3=http://a:1");
  named.add("b", "n2=http://a:1");
  assert.match(await refusal(named, join), /\(discovery: found duplicate name\)/);
});

test("a member that others outran between its look and its registration is one too many", async () => {
  const registry = new FakeRegistry();
  registry.size = "1";
  const { call } = registry;
  registry.call = async (asked) => {
    if (asked.method === "PUT" && !registry.keys.has("a")) registry.add("a", "n1=http://a:1");
    return await call.call(registry, asked);
  };
  assert.match(await refusal(registry, join), /\(discovery: cluster is full\)/);
  assert.equal(await tokenOf(registry).token.cluster(), "n1=http://a:1");
});

test("of more members than the size, the first count", async () => {
  const registry = new FakeRegistry();
  registry.size = "2";
  for (const id of ["a", "c", "x"]) registry.add(id, `${id}=http://${id}:1`);
  const { token } = tokenOf(registry);
  assert.equal(await token.cluster(), "a=http://a:1,c=http://c:1");
});

test("a size that is missing or no number, URLs that are none, no v2 API at all", async () => {
  const registry = new FakeRegistry();
  registry.size = undefined;
  assert.match(await refusal(registry, join), /\(discovery: size key not found\)/);
  for (const size of ["three", "0", "-1", "", "3.5"]) {
    registry.size = size;
    assert.match(await refusal(registry, join), /\(discovery: size key is bad\)/, size);
  }
  registry.size = "2";
  registry.add("a", "n1=nowhere");
  assert.match(await refusal(registry, join), /\(discovery: invalid URL\)/);
  registry.page = { status: 200, index: 0, body: undefined };
  assert.match(await refusal(registry, join), /\(discovery: bad discovery endpoint\)/);
  registry.page = {
    status: 401,
    index: 0,
    body: { errorCode: 110, message: "no\nway", cause: "x" },
  };
  assert.match(await refusal(registry, join), /\(110: no\?way \(x\)\)/);
});

test("connection trouble is waited for, 2, 4, 8 s and so on, at most 256", async () => {
  const registry = new FakeRegistry();
  registry.size = "1";
  registry.failures = 3;
  const { token, waits, lines } = tokenOf(registry);
  assert.equal(await token.join("c", "n3=http://c:1"), "n3=http://c:1");
  assert.deepEqual(waits, [2, 4, 8]);
  assert.equal(lines[0], "retry connecting to discovery service");
  assert.deepEqual([8, 9, 100].map(backoffSeconds), [256, 256, 256]);
});

test("a registration whose response was lost is this member's own", async () => {
  const registry = new FakeRegistry();
  registry.size = "1";
  registry.losesPut = true;
  const { token } = tokenOf(registry);
  assert.equal(await token.join("c", "n3=http://c:1"), "n3=http://c:1");

  const other = new FakeRegistry();
  other.losesPut = true;
  const put = other.call.bind(other);
  other.call = async (call) => {
    if (call.method === "PUT") other.add("c", "n9=http://else:1");
    return await put(call);
  };
  // The first PUT finds it registered by another one.
  assert.match(await refusal(other, join), /\(discovery: found duplicate id\)/);
});
