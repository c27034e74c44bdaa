import assert from "node:assert/strict";
import { test } from "node:test";
import type { ChunkBody } from "#ringd/frontend/chunk-body.js";
import type { Exchange } from "#ringd/frontend/frontend.js";
import { LARGE_LIMITS, type LargeRequest, LargeRequests } from "#ringd/frontend/large-requests.js";
import { ReusedRequest } from "#ringd/frontend/reused-request.js";
import { RingGateway } from "#ringd/frontend/ring-gateway.js";
import { RequestType, ResponseType, readRequest, writeChunk } from "#ringd/messages/requests.js";
import { Bell } from "#ringd/ring/bell.js";
import { Inlet, Outlet } from "#ringd/ring/fragments.js";
import { BELL_BYTES } from "#ringd/ring/layout.js";
import { createRing, RingReader, RingWriter } from "#ringd/ring/ring.js";
import { Method } from "#ringd/v2/request.js";

class FakeExchange implements Exchange {
  requestId: number | undefined;
  readonly remoteAddress = "";
  readonly large: LargeRequest | undefined;

  constructor(large?: LargeRequest) {
    this.large = large;
  }

  answer(): void {}
  open(): void {}
  chunk(): void {}
  cut(): void {}
}

function setUp() {
  const [requestRing, answers] = [createRing(65_536), createRing(1_048_576)];
  const coreBell = new Bell(new SharedArrayBuffer(BELL_BYTES));
  const gateway = new RingGateway(
    new RingWriter(requestRing, coreBell),
    new RingReader(answers, coreBell),
    new Bell(new SharedArrayBuffer(BELL_BYTES)),
    { local: () => undefined },
    { inFlight: () => undefined, woken: () => undefined, ringFull: () => undefined },
  );
  const core = new RingReader(requestRing, coreBell);
  const seen: string[] = [];
  const inlet = Inlet.withCursor(core, (record) => {
    const { path, body } = readRequest(record);
    seen.push(`${path} ${body.toString()}`);
  });
  /** Types of what the core has got since the last call. */
  const taken = async () => {
    await new Promise(setImmediate);
    const types: number[] = [];
    core.drain((type) => types.push(type), Number.POSITIVE_INFINITY);
    return types;
  };
  const request = new ReusedRequest();
  const put = (exchange: Exchange, path = "/v2/keys/a", body?: Uint8Array) => {
    request.begin(Method.put, path, "", "").body = body;
    exchange.requestId = gateway.request(exchange, request);
    return exchange.requestId as number;
  };
  /**
   * Requests that the core received since the last call; asserts that there are no other records.
   */
  const requests = async () => {
    await new Promise(setImmediate);
    seen.length = 0;
    inlet.drain(Number.POSITIVE_INFINITY);
    return [...seen];
  };
  return { answers, gateway, taken, requests, put };
}

function admit(requests: LargeRequests, proceed: () => void = () => undefined): LargeRequest {
  const request = requests.enter(LARGE_LIMITS.bytesMax, { proceed, refuse: () => assert.fail() });
  assert.ok(request !== undefined);
  return request;
}

test("a client that disconnects before the member is ready frees its place; the core never sees it", async () => {
  const { gateway, taken, put } = setUp();
  const all = new LargeRequests(LARGE_LIMITS);
  let proceeded = 0;
  const early = new FakeExchange(admit(all));
  const next = admit(all, () => proceeded++);
  gateway.holdRequests();
  gateway.abort(put(early));
  assert.equal(proceeded, 1);
  gateway.serve();
  assert.deepEqual(await taken(), []);
  next.leave();
});

test("later, its large request keeps its place until the core has responded", async () => {
  const { gateway, taken, put } = setUp();
  const all = new LargeRequests(LARGE_LIMITS);
  const large = new FakeExchange(admit(all));
  const next = admit(all, () => assert.fail("the core still has the one before"));
  gateway.abort(put(large));
  assert.deepEqual(await taken(), [RequestType.request, RequestType.abort]);
  next.leave();
});

test("requests that wait for the member are kept unchanged, though their object is reused", async () => {
  const { gateway, requests, put } = setUp();
  gateway.holdRequests();
  const body = Buffer.from("value=1");
  put(new FakeExchange(), "/v2/keys/a", body);
  body.fill("x"); // The HTTP library's memory, which it reuses.
  put(new FakeExchange(), "/v2/keys/b");
  gateway.serve();
  assert.deepEqual(await requests(), ["/v2/keys/a value=1", "/v2/keys/b "]);
});

test("a record of an unknown type ends the frontend's thread", () => {
  const { answers, gateway } = setUp();
  const writer = new RingWriter(answers, new Bell(Bell.create()));
  writer.reserve(8);
  writer.commit(5, 8);
  writer.publish();
  assert.throws(() => gateway.start(), /Broken invariant: no such case: 5/);
});

test("events for many streams are taken in several turns, so that sockets are served between", async () => {
  const { answers, gateway, put } = setUp();
  let events = 0;
  class Stream extends FakeExchange {
    override chunk(body?: ChunkBody): void {
      events += 1 + (body?.earlier.length ?? 0);
    }
  }
  const ids = Array.from({ length: 2000 }, () => put(new Stream()));
  const outlet = new Outlet(new RingWriter(answers, new Bell(new SharedArrayBuffer(BELL_BYTES))));
  const event = Buffer.alloc(8000);
  const count = 20;
  for (let n = 0; n < count; n++) {
    writeChunk(outlet, ResponseType.chunk, ids, false, event, event.length);
  }
  outlet.publish();
  gateway.start();
  assert.ok(events > 0 && events < (count / 2) * ids.length, `${events / ids.length} at once`);
  for (let turn = 0; turn < count && events < count * ids.length; turn++) {
    await new Promise(setImmediate);
  }
  assert.equal(events, count * ids.length);
  gateway.close();
});
