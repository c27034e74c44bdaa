import assert from "node:assert/strict";
import { test } from "node:test";
import { AuthState } from "#ringd/auth/state.js";
import { Gate, type GateParts } from "#ringd/member/gate.js";
import { WaitingRequests } from "#ringd/member/waiting-requests.js";
import { type ApiRequest, Method } from "#ringd/v2/request.js";

function request(path: string, bodyBytes = 0): ApiRequest {
  return {
    ...{ method: Method.get, path, query: "", contentType: "", isBodyTooLarge: false },
    ...{ authorization: "", commonName: "", remote: "" },
    body: Buffer.alloc(bodyBytes),
  };
}

function setUp() {
  const full = new Set<number>();
  const handled: string[] = [];
  const waiting = new WaitingRequests({
    again: (_, { path }) => handled.push(path),
    hasRoom: (frontend) => !full.has(frontend),
  });
  const add = (path: string, frontend = 0, bodyBytes = 0) =>
    waiting.add(
      { frontend, requestId: Number(path), method: Method.get },
      request(path, bodyBytes),
    );
  const added = (...args: Parameters<typeof add>) => {
    const one = add(...args);
    assert.ok(one !== undefined);
    return one;
  };
  return { waiting, full, handled, add, added };
}

test("known requests wait while their frontend takes no responses", () => {
  const { waiting, full, handled, added } = setUp();
  for (const one of [added("1"), added("2"), added("3", 1)]) waiting.known(one);
  full.add(0);
  assert.ok(waiting.hasWork());
  waiting.step();
  assert.deepEqual(handled, ["3"]);
  assert.ok(!waiting.hasWork());
  full.clear();
  waiting.step();
  assert.deepEqual(handled, ["3", "1", "2"]);
  assert.ok(!waiting.hasWork());
});

test("a turn handles no more than a batch", () => {
  const { waiting, handled, added } = setUp();
  for (let n = 0; n < 200; n++) waiting.known(added(`${n}`));
  waiting.step();
  assert.equal(handled.length, 128);
  waiting.step();
  assert.deepEqual(
    handled,
    Array.from({ length: 200 }, (_, n) => `${n}`),
  );
});

test("one that is dropped keeps nothing, whenever its credentials are known", () => {
  const { waiting, handled, added } = setUp();
  const before = added("1", 0, 1000);
  waiting.drop(before.client);
  assert.equal(before.request, undefined);
  waiting.known(before);
  const after = added("2", 0, 1000);
  waiting.known(after);
  waiting.drop(after.client);
  assert.equal(after.request, undefined);
  waiting.step();
  assert.deepEqual(handled, []);
  assert.ok(!waiting.hasWork());
});

test("requests and their bytes are limited, long paths included", () => {
  const mib = 2 ** 20;
  const bodies = setUp();
  for (let n = 0; n < 63; n++) bodies.added(`${n}`, 0, mib);
  assert.equal(bodies.add("63", 0, mib), undefined);
  const paths = setUp();
  const long = (n: number) => String(n).padStart(mib, "0");
  for (let n = 0; n < 64; n++) paths.added(long(n));
  assert.equal(paths.add(long(64)), undefined);
  paths.waiting.drop({ frontend: 0, requestId: 7, method: Method.get });
  assert.ok(paths.add(long(65)) !== undefined);
  const many = setUp();
  for (let n = 0; n < 4096; n++) many.added(`${n}`);
  assert.equal(many.add("4096"), undefined);
});

test("one whose client disconnects has a response, for which the frontend keeps its room", () => {
  const answered: number[] = [];
  let known: () => void = assert.fail;
  const parts = {
    state: new AuthState(() => undefined),
    credentials: {
      look: () => ({ kind: "unknown" }),
      verify: (_: string, onKnown: () => void) => {
        known = onKnown;
        return true;
      },
    },
    waiting: new WaitingRequests({ again: assert.fail, hasRoom: () => true }),
    port: { answerWhole: ({ requestId }: { requestId: number }) => answered.push(requestId) },
  };
  const gate = new Gate(parts as unknown as GateParts);
  const client = { frontend: 0, requestId: 7, method: Method.put };
  const asked = { ...request("/v2/keys/a", 1000), authorization: "Basic x" };
  const access = { key: "/a", isWrite: true, isRecursive: false };
  assert.ok(!gate.admitsKey(client, asked, access));
  gate.abort({ ...client, requestId: 8 });
  assert.deepEqual(answered, []);
  gate.abort(client);
  assert.deepEqual(answered, [7]);
  known();
  gate.step();
  gate.abort(client);
  assert.deepEqual(answered, [7]);
});
