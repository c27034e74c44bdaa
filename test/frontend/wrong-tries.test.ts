import assert from "node:assert/strict";
import { test } from "node:test";
import type { Exchange } from "#ringd/frontend/frontend.js";
import { WrongTries } from "#ringd/frontend/wrong-tries.js";
import { ResponseRecord } from "#ringd/messages/requests.js";

/** A clock that the test moves, and exchanges that note when they were answered. */
function setUp() {
  let nowMs = 0;
  const timers: { atMs: number; call: () => void }[] = [];
  const tries = new WrongTries({
    monoMs: () => nowMs,
    later: (call, ms) => {
      const timer = { atMs: nowMs + ms, call };
      timers.push(timer);
      return () => void timers.splice(timers.indexOf(timer), 1);
    },
  });
  const seen: string[] = [];
  const attempt = (remoteAddress: string, body = "401") => {
    const exchange = {
      remoteAddress,
      answer: (head: ResponseRecord, bytes: Uint8Array) => {
        seen.push(`${nowMs} ${remoteAddress} ${head.status} ${Buffer.from(bytes)}`);
      },
      cut: () => seen.push(`${nowMs} ${remoteAddress} cut`),
    } as unknown as Exchange;
    const head = new ResponseRecord();
    head.status = 401;
    const view = Buffer.from(body);
    tries.answer(exchange, head, view);
    head.status = 200; // Both are reused for the next response.
    view.fill(0);
  };
  const moveTo = (ms: number) => {
    nowMs = ms;
    for (const timer of timers.filter(({ atMs }) => atMs <= ms)) {
      timers.splice(timers.indexOf(timer), 1);
      timer.call();
    }
  };
  return { tries, attempt, moveTo, take: () => seen.splice(0), timers };
}

test("ten wrong tries a second are answered at once, the rest a second later and unchanged", () => {
  const { attempt, moveTo, take } = setUp();
  for (let n = 0; n < 12; n++) attempt("10.0.0.1", `try ${n}`);
  assert.equal(take().length, 10);
  attempt("10.0.0.2");
  assert.deepEqual(take(), ["0 10.0.0.2 401 401"], "another address does not notice");
  moveTo(999);
  attempt("10.0.0.1", "try 12");
  assert.deepEqual(take(), []);
  moveTo(1000);
  assert.deepEqual(take(), ["1000 10.0.0.1 401 try 10", "1000 10.0.0.1 401 try 11"]);
  attempt("10.0.0.1", "try 13");
  assert.deepEqual(take(), ["1000 10.0.0.1 401 try 13"], "a new second");
  moveTo(1999);
  assert.deepEqual(take(), ["1999 10.0.0.1 401 try 12"]);
});

test("at a stop what is held back is disconnected", () => {
  const { tries, attempt, take, timers } = setUp();
  for (let n = 0; n < 11; n++) attempt("10.0.0.1");
  take();
  tries.close();
  assert.deepEqual(take(), ["0 10.0.0.1 cut"]);
  assert.equal(timers.length, 0);
});

test("addresses are forgotten in the order of their first try", () => {
  const { attempt, take } = setUp();
  for (let n = 0; n < 10; n++) attempt("10.0.0.1");
  for (let n = 0; n < 10_000; n++) attempt(`10.1.${n >> 8}.${n & 255}`);
  take();
  attempt("10.0.0.1");
  assert.equal(take().length, 1, "its tries were forgotten");
});

test("the addresses of one IPv6 network are one", () => {
  const { attempt, take } = setUp();
  for (let n = 0; n < 12; n++) attempt(`2001:db8:0:1::${n}`);
  assert.equal(take().length, 10);
  attempt("2001:db8:0:2::1");
  assert.equal(take().length, 1);
});
