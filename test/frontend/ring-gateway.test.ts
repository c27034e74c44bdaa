import assert from "node:assert/strict";
import { test } from "node:test";
import type { Exchange } from "#ringd/frontend/frontend.js";
import { LARGE_LIMITS, type LargeRequest, LargeRequests } from "#ringd/frontend/large-requests.js";
import { RingGateway } from "#ringd/frontend/ring-gateway.js";
import { RequestType } from "#ringd/messages/requests.js";
import { Bell } from "#ringd/ring/bell.js";
import { BELL_BYTES } from "#ringd/ring/layout.js";
import { createRing, RingReader, RingWriter } from "#ringd/ring/ring.js";
import { Method } from "#ringd/v2/request.js";

class FakeExchange implements Exchange {
  requestId = -1;
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
  const requests = createRing(65_536);
  const coreBell = new Bell(new SharedArrayBuffer(BELL_BYTES));
  const gateway = new RingGateway(
    new RingWriter(requests, coreBell),
    new RingReader(createRing(65_536), coreBell),
    new Bell(new SharedArrayBuffer(BELL_BYTES)),
    () => undefined,
    { inFlight: () => undefined, woken: () => undefined, ringFull: () => undefined },
  );
  const core = new RingReader(requests, coreBell);
  /** Types of what the core has got since the last call. */
  const taken = async () => {
    await new Promise(setImmediate);
    const types: number[] = [];
    core.drain((type) => types.push(type), Number.POSITIVE_INFINITY);
    return types;
  };
  const put = (exchange: Exchange) => {
    exchange.requestId = gateway.request(
      exchange,
      Method.put,
      "/v2/keys/a",
      "",
      "",
      undefined,
      false,
    );
  };
  return { gateway, taken, put };
}

function admit(requests: LargeRequests, proceed: () => void = () => undefined): LargeRequest {
  const request = requests.enter(LARGE_LIMITS.bytesMax, { proceed, refuse: () => assert.fail() });
  assert.ok(request !== undefined);
  return request;
}

test("a client that leaves before the member is ready gives up its place, and the core never hears of it", async () => {
  const { gateway, taken, put } = setUp();
  const all = new LargeRequests(LARGE_LIMITS);
  let proceeded = 0;
  const early = new FakeExchange(admit(all));
  const next = admit(all, () => proceeded++);
  gateway.holdRequests();
  put(early);
  gateway.abort(early.requestId);
  assert.equal(proceeded, 1);
  gateway.serve();
  assert.deepEqual(await taken(), []);
  next.leave();
});

test("later its request, if it is large, keeps its place until the core has answered", async () => {
  const { gateway, taken, put } = setUp();
  const all = new LargeRequests(LARGE_LIMITS);
  const large = new FakeExchange(admit(all));
  const next = admit(all, () => assert.fail("the core still has the one before"));
  put(large);
  gateway.abort(large.requestId);
  assert.deepEqual(await taken(), [RequestType.request, RequestType.abort]);
  next.leave();
});
