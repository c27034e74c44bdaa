import assert from "node:assert/strict";
import { test } from "node:test";
import { answer, answerHead, chunkOf, serve } from "./harness.js";
import { head, RawConnection } from "./raw.js";
import { StrictReader } from "./strict-reader.js";

const WATCH = head("GET", "/v2/keys/?wait=true&stream=true");
const ABUSE_MS = Number(process.env.SECONDS ?? 2) * 1000;
const PLAIN_EVENTS = 60;

const eventOf = (n: number) => `{"action":"set","node":{"value":"${n}","createdIndex":${n}}}\n`;

test("uws: the first events of a stream are the core's bytes, later ones have a blank", async () => {
  const { gateway, port, frontend } = await serve("uws");
  const reader = await StrictReader.open(port);
  reader.send(WATCH);
  const { exchange } = await gateway.next();
  exchange.open(answerHead(), Buffer.alloc(0));
  await reader.head();
  for (let n = 0; n < 2 * PLAIN_EVENTS; n++) {
    exchange.chunk(chunkOf(eventOf(n)), n === 2 * PLAIN_EVENTS - 1);
    const chunk = `${await reader.chunk()}`;
    if (n < PLAIN_EVENTS) assert.equal(chunk, eventOf(n));
    else assert.equal(chunk.replace(/: (?=\d)/, ":"), eventOf(n));
  }
  assert.equal(await reader.chunk(), undefined);
  reader.close();
  frontend.stopListening();
  frontend.close();
});

const INTRUDERS = ["PUT", "POST", "GET", "HEAD", "another watch"].flatMap((intruder) =>
  [0, 1, 3].map((events) => ({ intruder, events })),
);

for (const { intruder, events } of INTRUDERS) {
  test(`uws: ${intruder} after a watch of ${events} events ends it, and gets no response`, async () => {
    const { gateway, port, frontend } = await serve("uws");
    const connection = await RawConnection.open(port, WATCH);
    const watch = await gateway.next();
    watch.exchange.open(answerHead(), Buffer.alloc(0));
    await connection.until("\r\n\r\n");
    for (let n = 0; n < events; n++) {
      connection.text = "";
      watch.exchange.chunk(chunkOf(eventOf(n)), false);
      await connection.until(`createdIndex":${n}}}`);
    }
    connection.text = "";
    // The quickest response possible; another, honest client still gets its own.
    gateway.onRequest = (request) => answer(request, "at once");
    const isWatch = intruder === "another watch";
    connection.send(isWatch ? WATCH : head(intruder, "/v2/keys/a", "Content-Length: 0"));
    const honest = await RawConnection.open(port, head("PUT", "/v2/keys/b", "Content-Length: 0"));
    await honest.until("at once");
    assert.equal((await connection.untilClosed()).trim(), "");
    await gateway.until(() => gateway.aborted.has(watch.id), "the watch's abort");
    assert.equal(honest.isClosed, false);
    honest.close();
    frontend.stopListening();
    frontend.close();
  });
}

/** Input of a client after its open watch, before it closes. */
const INTRUSIONS = [
  "",
  head("PUT", "/v2/keys/a", "Content-Length: 0"),
  `${head("PUT", "/v2/keys/a", "Content-Length: 9")}half`,
  head("PUT", "/v2/keys/a", "Content-Length: 9", "Expect: 100-continue"),
  head("PUT", "/v2/keys/a", "Content-Length: 0") + head("GET", "/v2/keys/a"),
  head("HEAD", "/v2/keys/a"),
];

test("uws: clients that write after their watches and disconnect do not affect others", async () => {
  const served = await serve("uws");
  const { gateway, port, frontend } = served;
  const watching = new Set<number>();
  gateway.onRequest = (request) => {
    if (request.query.includes("wait")) {
      request.exchange.open(answerHead(), Buffer.alloc(0));
      watching.add(request.id);
    } else if (request.id % 3 > 0) answer(request, `put ${request.id}`);
  };
  const honest = await StrictReader.open(port);
  honest.send(WATCH);
  await gateway.next();
  await honest.head();
  const end = performance.now() + ABUSE_MS;
  let sent = 0;
  let read = 0;
  for (let n = 0; performance.now() < end; n++) {
    const connection = await RawConnection.open(port, WATCH);
    setTimeout(() => connection.send(INTRUSIONS[n % INTRUSIONS.length] ?? ""), n % 7);
    setTimeout(() => connection.close(), n % 11);
    for (const id of watching) {
      if (gateway.aborted.has(id)) watching.delete(id);
      else gateway.requests[id - 1]?.exchange.chunk(chunkOf(eventOf(sent)), false);
    }
    sent++;
    while (read < sent) {
      const text = `${await honest.chunk()}`.replace(/: (?=\d)/, ":");
      assert.equal(text, eventOf(read++));
    }
  }
  await gateway.until(() => served.connections.open === 1, "the closes");
  await gateway.until(
    () => [...watching].every((id) => id === 1 || gateway.aborted.has(id)),
    "the aborts",
  );
  honest.close();
  frontend.stopListening();
  frontend.close();
});
