import assert from "node:assert/strict";
import { test } from "node:test";
import { answer, answerHead, chunkOf, type SeenRequest, type Served, serve } from "./harness.js";
import { head, RawConnection } from "./raw.js";
import { StrictReader } from "./strict-reader.js";

const STREAM = head("GET", "/v2/keys/?wait=true&stream=true");
const PUT = head("PUT", "/v2/keys/a", "Content-Length: 0");
const MIB = 1024 * 1024;
/** More than the kernel buffers of both ends of a loopback connection. */
const UNREAD_MIB = 10;

const eventOf = (n: number) => `{"action":"set","node":{"value":"${n}","createdIndex":${n}}}\n`;
const megabyteOf = (n: number) => `{"value":"${"e".repeat(n * MIB)}","createdIndex":12}\n`;

async function uwsTest(run: (served: Served) => Promise<void>): Promise<void> {
  const served = await serve("uws");
  try {
    await run(served);
  } finally {
    served.frontend.stopListening();
    served.frontend.close();
  }
}

/** An open watch whose client has read its headers. */
async function watchOf(
  { gateway, port }: Served,
  request = STREAM,
): Promise<{ connection: RawConnection; watch: SeenRequest }> {
  const connection = await RawConnection.open(port, request);
  const watch = await gateway.next();
  watch.exchange.open(answerHead(), Buffer.alloc(0));
  await connection.until("\r\n\r\n");
  return { connection, watch };
}

test("uws: another request's response closes an intruder that waits", () =>
  uwsTest(async (served) => {
    const { gateway, port } = served;
    const { connection, watch } = await watchOf(served);
    connection.send(PUT);
    const intruder = await gateway.next();
    const honest = await RawConnection.open(port, head("PUT", "/v2/keys/b", "Content-Length: 0"));
    answer(await gateway.next(), "mine");
    await honest.until("mine");
    assert.ok((await connection.untilClosed()).endsWith("\r\n\r\n"));
    assert.deepEqual(gateway.aborted, new Set([watch.id, intruder.id]));
    answer(intruder, "too late");
    watch.exchange.chunk(chunkOf(eventOf(1)), true);
    honest.close();
  }));

test("uws: the watch's next event closes an intruder that waits", () =>
  uwsTest(async (served) => {
    const { gateway } = served;
    const { connection, watch } = await watchOf(served);
    connection.send(PUT);
    const intruder = await gateway.next();
    watch.exchange.chunk(chunkOf(eventOf(1)), false);
    assert.ok((await connection.untilClosed()).endsWith("\r\n\r\n"));
    assert.deepEqual(gateway.aborted, new Set([watch.id, intruder.id]));
  }));

test("uws: an intruder that resets its connection ends the watch, whose handle is not used again", () =>
  uwsTest(async (served) => {
    const { gateway } = served;
    for (const events of [0, 1, 100]) {
      const { connection, watch } = await watchOf(served);
      for (let n = 0; n < events; n++) watch.exchange.chunk(chunkOf(eventOf(n)), false);
      connection.send(PUT);
      const intruder = await gateway.next();
      connection.reset();
      await gateway.until(() => gateway.aborted.has(intruder.id), "the intruder's abort");
      await gateway.until(() => gateway.aborted.has(watch.id), "the watch's abort");
      for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
      watch.exchange.chunk(chunkOf(eventOf(1)), false);
      watch.exchange.cut();
    }
  }));

test("uws: a request after a watch gets no response, whatever it is and whoever would send it", () =>
  uwsTest(async (served) => {
    const { gateway } = served;
    const unanswered = [
      ["a body to come", head("GET", "/v2/keys/a", "Content-Length: 9")],
      ["chunks to come", head("GET", "/v2/keys/a", "Transfer-Encoding: chunked")],
      ["a DELETE's body", `${head("DELETE", "/v2/keys/a", "Content-Length: 1")}x`],
      ["a target that is refused", head("GET", "/v2/keys/\xff")],
      ["a watch whose target is refused", head("GET", "/v2/keys/\xff?wait=true")],
      [
        "a watch with unclear lengths",
        head("GET", "/a?wait=true", "Content-Length: 1", "Content-Length: 2"),
      ],
      ["unclear lengths", head("PUT", "/a", "Content-Length: 1", "Content-Length: 2")],
    ] as const;
    gateway.onRequest = (request) => {
      if (!request.query.includes("wait")) answer(request, "answered");
    };
    for (const [what, request] of unanswered) {
      const { length } = gateway.requests;
      const connection = await RawConnection.open(served.port, STREAM);
      await gateway.until(() => gateway.requests.length > length, what);
      const watch = gateway.requests[length] as SeenRequest;
      watch.exchange.open(answerHead(), Buffer.alloc(0));
      await connection.until("\r\n\r\n");
      connection.send(request);
      assert.ok((await connection.untilClosed()).endsWith("\r\n\r\n"), what);
      await gateway.until(() => gateway.aborted.has(watch.id), what);
    }
  }));

test("uws: a watch whose own body arrives late gets its events, and is not taken for an intruder", () =>
  uwsTest(async (served) => {
    const { gateway, port } = served;
    const late = head("GET", "/v2/keys/?wait=true", "Content-Length: 4");
    const connection = await RawConnection.open(port, late);
    const watch = await gateway.next();
    watch.exchange.open(answerHead(), Buffer.alloc(0));
    await connection.until("\r\n\r\n");
    connection.send("late");
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    watch.exchange.chunk(chunkOf(eventOf(1)), true);
    await connection.untilClosed();
    assert.match(connection.text, /"createdIndex": 1}}\n\r\n0\r\n\r\n$/);
    assert.equal(gateway.aborted.size, 0);
  }));

// A first event above 8 MiB is a header line of its own: a blank after its last colon.
for (const mib of [1, 7]) {
  for (const isEnd of [false, true]) {
    const what = isEnd ? "the only event" : "a first event";
    test(`uws: ${what} of ${mib} MiB arrives whole, and the next response`, () =>
      uwsTest(async ({ gateway, port }) => {
        const reader = await StrictReader.open(port);
        reader.send(STREAM);
        const { exchange } = await gateway.next();
        exchange.open(answerHead(), Buffer.alloc(0));
        await reader.head();
        exchange.chunk(chunkOf(megabyteOf(mib)), isEnd);
        assert.equal(`${await reader.chunk()}`, megabyteOf(mib));
        if (!isEnd) {
          exchange.chunk(chunkOf(eventOf(2)), true);
          assert.equal(`${await reader.chunk()}`, eventOf(2));
        }
        assert.equal(await reader.chunk(), undefined);
        reader.send(PUT);
        answer(await gateway.next(), "put");
        assert.equal(`${(await reader.answer()).chunks[0]}`, "put");
        reader.close();
      }));
  }
}

test("uws: a watch that ends without an event leaves its connection usable", () =>
  uwsTest(async ({ gateway, port }) => {
    const reader = await StrictReader.open(port);
    for (let round = 0; round < 2; round++) {
      reader.send(STREAM);
      const { exchange } = await gateway.next();
      exchange.open(answerHead(), Buffer.alloc(0));
      await reader.head();
      exchange.chunk(chunkOf(""), true);
      assert.equal(await reader.chunk(), undefined);
      reader.send(PUT);
      answer(await gateway.next(), "put");
      assert.equal(`${(await reader.answer()).chunks[0]}`, "put");
    }
    reader.close();
  }));

test("uws: the frontend's own responses, immediate or long, do not reach a watch", () =>
  uwsTest(async (served) => {
    const { gateway } = served;
    const { connection } = await watchOf(served);
    const { request } = gateway;
    gateway.request = (exchange, ...rest) => {
      exchange.answer(answerHead(), Buffer.alloc(MIB));
      return request.call(gateway, exchange, ...rest);
    };
    connection.send(head("GET", "/metrics"));
    assert.ok((await connection.untilClosed()).endsWith("\r\n\r\n"));
  }));

test("uws: a watch opens after a response that its client has not read yet", () =>
  uwsTest(async ({ gateway, port }) => {
    const connection = await RawConnection.open(port, head("GET", "/v2/keys/?recursive=true"));
    connection.socket.pause();
    const { exchange } = await gateway.next();
    exchange.open(answerHead(), Buffer.alloc(UNREAD_MIB * MIB, "l"));
    exchange.chunk(chunkOf("end"), true);
    connection.send(STREAM);
    const watch = await gateway.next();
    watch.exchange.open(answerHead(), Buffer.alloc(0));
    await new Promise((resolve) => setTimeout(resolve, 50));
    connection.socket.resume();
    await connection.until(/end\r\n0\r\n\r\nHTTP[\s\S]*\r\n\r\n$/);
    watch.exchange.chunk(chunkOf(eventOf(1)), false);
    // Where bytes are unread, the connection is closed with the watch.
    await connection.until(/"createdIndex": 1}}\n/);
    connection.close();
  }));

test("uws: a PUT after a response that its client has not read yet leaves the rest of it intact", () =>
  uwsTest(async (served) => {
    const { gateway, port } = served;
    const { connection: watching } = await watchOf(served);
    const connection = await RawConnection.open(port, head("GET", "/v2/keys/?recursive=true"));
    connection.socket.pause();
    const { exchange } = await gateway.next();
    exchange.open(answerHead(), Buffer.alloc(UNREAD_MIB * MIB, "l"));
    exchange.chunk(chunkOf("end"), true);
    connection.send(PUT);
    const put = await gateway.next();
    connection.socket.resume();
    await connection.until(/end\r\n0\r\n\r\n$/);
    answer(put, "put");
    await connection.until(/put$/);
    for (const each of [connection, watching]) each.close();
  }));

test("uws: an upload that waits for its turn hides no request after a watch", async () => {
  const served = await serve("uws", { largeLimits: { bytesMax: 1 } });
  const { gateway, port, frontend } = served;
  const upload = `${head("POST", "/v2/keys/q", "Transfer-Encoding: chunked")}4\r\nhalf\r\n`;
  const first = await RawConnection.open(port, upload); // Holds all of the room.
  const waiting = await RawConnection.open(port, upload);
  const passing = await RawConnection.open(port, head("GET", "/v2/keys/x"));
  answer(await gateway.next(), "passing");
  await passing.until("passing");
  for (const request of [PUT, upload]) {
    const { connection, watch } = await watchOf(served);
    connection.send(request);
    if (request === PUT) await gateway.next();
    assert.ok((await connection.untilClosed()).endsWith("\r\n\r\n"));
    await gateway.until(() => gateway.aborted.has(watch.id), "the watch's abort");
    watch.exchange.chunk(chunkOf(eventOf(1)), false);
  }
  for (const each of [first, waiting, passing]) each.close();
  frontend.stopListening();
  frontend.close();
});
