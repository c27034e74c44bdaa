import assert from "node:assert/strict";
import { test } from "node:test";
import { Backlogs } from "#ringd/frontend/backlogs.js";
import { ChunkBody } from "#ringd/frontend/chunk-body.js";
import type { Exchange, Gateway } from "#ringd/frontend/frontend.js";
import { type Observation, ObservedGateway } from "#ringd/frontend/observed-gateway.js";
import { ReusedRequest } from "#ringd/frontend/reused-request.js";
import { routeOf } from "#ringd/frontend/routes.js";
import { ResponseRecord } from "#ringd/messages/requests.js";
import { Method } from "#ringd/v2/request.js";

/** A gateway that answers nothing by itself, an observer, and a client's exchange. */
function setUp() {
  const told: string[] = [];
  const passed: Exchange[] = [];
  const gateway: Gateway = {
    backlogs: new Backlogs(),
    request: (exchange) => {
      passed.push(exchange);
      return passed.length;
    },
    abort: (id) => told.push(`gateway: abort ${id}`),
    hold: (id) => told.push(`gateway: hold ${id}`),
    resume: (id) => told.push(`gateway: resume ${id}`),
  };
  const observation = (): Observation => ({
    numbered: (id) => told.push(`number ${id}`),
    answered: ({ status }, bytes, isWatch) => {
      told.push(`answered ${status} ${bytes}${isWatch ? " watch" : ""}`);
    },
    gone: () => told.push("gone"),
  });
  const observed = new ObservedGateway(gateway, {
    began: ({ path }) => (path === "/unseen" ? undefined : observation()),
  });
  const exchange = {
    requestId: undefined as number | undefined,
    large: undefined,
    remoteAddress: "a",
    answer: () => told.push("client: answer"),
    open: () => told.push("client: open"),
    chunk: () => told.push("client: chunk"),
    cut: () => told.push("client: cut"),
  } satisfies Exchange;
  const ask = (path = "/v2/keys") => {
    exchange.requestId = observed.request(
      exchange,
      new ReusedRequest().begin(Method.get, path, ""),
    );
    return passed.at(-1) as Exchange;
  };
  const head = Object.assign(new ResponseRecord(), { status: 200 });
  const take = () => told.splice(0);
  return { ask, exchange, head, observed, take };
}

const bytes = (count: number) => new Uint8Array(count);
const chunk = (count: number) => new ChunkBody(new Uint8Array(count));

test("a response is told once, before the client gets it", () => {
  const { ask, head, observed, take } = setUp();
  const passed = ask();
  assert.equal(passed.remoteAddress, "a");
  assert.deepEqual(take(), ["number 1"]);
  passed.answer(head, bytes(7));
  assert.deepEqual(take(), ["answered 200 7", "client: answer"]);
  observed.abort(1);
  passed.cut();
  assert.deepEqual(take(), ["gateway: abort 1", "client: cut"]);
});

test("a listing ends with its last part, a watch begins and ends with its headers", () => {
  const { ask, head, observed, take } = setUp();
  const listing = ask();
  listing.open(head, bytes(10));
  head.status = 500; // It is filled anew for the next response.
  observed.hold(1);
  listing.chunk(chunk(5), false);
  observed.resume(1);
  listing.chunk(chunk(1), true);
  assert.deepEqual(take(), [
    ...["number 1", "client: open", "gateway: hold 1", "client: chunk", "gateway: resume 1"],
    ...["answered 200 16", "client: chunk"],
  ]);
  head.status = 200;
  const watch = ask();
  watch.open(head, bytes(0));
  watch.chunk(chunk(3), false);
  observed.abort(2);
  assert.deepEqual(take(), [
    ...["number 2", "answered 200 0 watch", "client: open", "client: chunk", "gateway: abort 2"],
  ]);
});

test("a client that disconnects is told, by the number that its request has then", () => {
  const { ask, exchange, observed, take } = setUp();
  const early = ask();
  early.requestId = 9; // It waited for the member to be ready.
  assert.equal(exchange.requestId, 9);
  observed.abort(1);
  assert.deepEqual(take(), ["number 1", "number 9", "gateway: abort 1"]);
  observed.abort(9);
  assert.deepEqual(take(), ["gone", "gateway: abort 9"]);
});

test("what is not followed is passed on as it is", () => {
  const { ask, exchange, take } = setUp();
  assert.equal(ask("/unseen"), exchange);
  assert.deepEqual(take(), []);
});

test("routes have no names in them", () => {
  assert.equal(routeOf("/v2/keys"), "/v2/keys");
  assert.equal(routeOf("/v2/keys/secret/name"), "/v2/keys");
  assert.equal(routeOf("/v2/keysy"), "");
  assert.equal(routeOf("/v2/auth/users/root"), "/v2/auth");
  assert.equal(routeOf("/debug/vars"), "/debug");
  assert.equal(routeOf("/"), "");
});
