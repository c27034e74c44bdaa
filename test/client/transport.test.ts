import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { getEventListeners, once } from "node:events";
import { afterEach, beforeEach, test } from "node:test";
import {
  Client,
  ConnectionLostError,
  MaybeAppliedError,
  RequestTimeoutError,
  UnavailableError,
} from "#ringd/client/index.js";
import { FakeMember, ignore, respond, succeed } from "./fake-member.js";

/** Bytes on the wire, and resources after the end of a call. */

let member: FakeMember;

beforeEach(async () => {
  member = await FakeMember.create();
});

afterEach(() => member.close());

test("every method sends its body with Content-Length", async () => {
  const client = new Client({ endpoints: [member.url] });
  for (const method of ["PUT", "POST", "DELETE"] as const) {
    await client.request(method, "/any", { json: { text: "ü€" } });
    const { headers, body } = member.received.at(-1) ?? assert.fail();
    assert.equal(body, '{"text":"ü€"}');
    assert.equal(headers["content-length"], `${Buffer.byteLength(body)}`);
    assert.equal(headers["content-type"], "application/json");
  }
  await client.delete("/x");
  assert.equal(member.received.at(-1)?.body, "");
  await client.close();
});

test("characters split between chunks are decoded", async () => {
  const bytes = Buffer.from('{"action":"get","node":{"key":"/x","value":"ü€😀"}}');
  member.behaviour = (_, response) => {
    response.writeHead(200);
    const writeFrom = (at: number) => {
      if (at === bytes.length) response.end();
      else response.write(bytes.subarray(at, at + 1), () => writeFrom(at + 1));
    };
    writeFrom(0);
  };
  const client = new Client({ endpoints: [member.url] });
  assert.equal((await client.get("/x")).node.value, "ü€😀");
  await client.close();
});

test("a queued request times out or aborts at once, and is never sent", async () => {
  member.behaviour = ignore;
  const client = new Client({ endpoints: [member.url], connectionsMax: 1 });
  const first = client.delete("/first", { timeoutMs: 0 }).catch((error: unknown) => error);
  await member.untilReceived(1);
  const second: unknown = await client.delete("/second", { timeoutMs: 50 }).catch((e) => e);
  assert.ok(second instanceof UnavailableError);
  assert.ok(second.errors[0] instanceof RequestTimeoutError && !second.errors[0].isSent);
  const enough = new AbortController();
  const third = client.delete("/third", { signal: enough.signal });
  enough.abort(new Error("enough"));
  await assert.rejects(third, { message: "enough" });
  await client.close();
  assert.ok((await first) instanceof Error);
  assert.deepEqual(
    member.received.map(({ url }) => url),
    ["/v2/keys/first"],
  );
});

test("a connection that closes after the headers is lost, not unreachable", async () => {
  member.behaviour = (_, response) => {
    response.writeHead(200, { "Content-Length": "100" });
    response.flushHeaders();
    setImmediate(() => response.destroy());
  };
  const client = new Client({ endpoints: [member.url] });
  const error: unknown = await client.delete("/x").catch((reason: unknown) => reason);
  assert.ok(error instanceof MaybeAppliedError && error.cause instanceof ConnectionLostError);
  assert.match(error.message, /: closed by the server; /);
  await client.close();
});

test("calls and watches leave no listener at the caller's signal", async () => {
  const { signal } = new AbortController();
  const client = new Client({ endpoints: [member.url] });
  for (let n = 0; n < 20; n++) await client.get("/x", { signal, totalTimeoutMs: 10_000 });
  member.behaviour = respond(404, "no");
  await assert.rejects(client.get("/x", { signal }));
  member.behaviour = succeed("set");
  const watch = client.watch("/x", { signal });
  assert.equal((await watch.next()).value?.kind, "event");
  await watch.return();
  assert.deepEqual(getEventListeners(signal, "abort"), []);
  await client.close();
});

test("an idle client does not keep its process alive", async () => {
  const entry = new URL("../../client/index.js", import.meta.url);
  const script = `import { Client } from "${entry}";
const client = new Client({ endpoints: ["${member.url}"], timeoutMs: 600_000, totalTimeoutMs: 600_000 });
await client.get("/x");
for await (const item of client.watch("/x")) break;
console.log("done");`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script]);
  let out = "";
  child.stdout.on("data", (chunk) => {
    out += chunk;
  });
  assert.deepEqual(await once(child, "close"), [0, null]);
  assert.equal(out, "done\n");
});
