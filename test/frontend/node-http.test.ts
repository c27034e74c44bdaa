import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteQueue } from "#ringd/frontend/byte-queue.js";
import { ChunkedBody } from "#ringd/frontend/http-body.js";
import { answer, answerHead, chunkOf, type Served, serve } from "./harness.js";
import { head, RawConnection } from "./raw.js";

/** Behaviour of the node frontend only: half-closed clients, HTTP/1.0, idle connections. */

const NO_BYTES = Buffer.alloc(0);

function nodeTest(name: string, run: (served: Served) => Promise<void>): void {
  for (const kind of ["node", "tls"] as const) {
    test(`${kind}: ${name}`, async (t) => {
      const served = await serve(kind);
      t.after(() => {
        served.frontend.stopListening();
        served.frontend.close();
      });
      await run(served);
    });
  }
}

async function halfClosed(port: number, bytes: string): Promise<RawConnection> {
  const connection = await RawConnection.open(port, bytes);
  connection.socket.end();
  return connection;
}

nodeTest("a client that closed its side gets an answer that takes its time", async (served) => {
  const { gateway, port } = served;
  const connection = await halfClosed(port, `${head("PUT", "/slow", "Content-Length: 1")}v`);
  const request = await gateway.next();
  // Once this one has its response, the other's end has been seen.
  const between = await RawConnection.open(port, head("GET", "/between"));
  answer(await gateway.next(), "{}");
  await between.until("{}");
  between.close();
  answer(request, "late");
  assert.match(await connection.untilClosed(), /^HTTP\/1\.1 200 [\s\S]*late$/);
  assert.equal(gateway.aborted.size, 0);
});

nodeTest("such a client gets all of a listing that waits for it", async ({ gateway, port }) => {
  const connection = await RawConnection.open(port);
  connection.socket.pause();
  connection.socket.end(head("GET", "/listing"));
  const { exchange, id } = await gateway.next();
  const piece = Buffer.alloc(1024 * 1024, "x");
  exchange.open(answerHead(), piece);
  let pieces = 1;
  for (; !gateway.held.has(id); pieces++) exchange.chunk(chunkOf(piece), false);
  connection.socket.resume();
  await gateway.until(() => gateway.resumed.has(id), "the wish for more");
  exchange.chunk(chunkOf("end"), true);
  const text = await connection.untilClosed();
  assert.ok(text.length > pieces * piece.length);
  assert.match(text.slice(-20), /end\r\n0\r\n\r\n$/);
});

nodeTest("a watch ends whose client sends on, as its end would not be noticed", async (served) => {
  const { gateway, port } = served;
  const more = "x".repeat(200_000);
  for (const isBefore of [true, false]) {
    const connection = await RawConnection.open(port, head("GET", "/watch"));
    const { exchange, id } = await gateway.next();
    if (isBefore) {
      connection.socket.write(more);
      // Once this one has its response, those bytes have come.
      const between = await RawConnection.open(port, head("GET", "/between"));
      answer(await gateway.next(), "{}");
      await between.until("{}");
      between.close();
    }
    exchange.open(answerHead(), NO_BYTES);
    if (!isBefore) connection.socket.write(more);
    await connection.untilClosed();
    await gateway.until(() => gateway.aborted.has(id), "the end of the watch");
  }
});

nodeTest("a watch of such a client ends with what there is to tell", async ({ gateway, port }) => {
  const told = await halfClosed(port, head("GET", "/told"));
  const { exchange } = await gateway.next();
  exchange.open(answerHead(), NO_BYTES);
  exchange.chunk(chunkOf("event"), true);
  assert.match(await told.untilClosed(), /\r\n\r\n5\r\nevent\r\n0\r\n\r\n$/);

  const waiting = await RawConnection.open(port, head("GET", "/waiting"));
  const watch = await gateway.next();
  watch.exchange.open(answerHead(), NO_BYTES);
  await waiting.until("\r\n\r\n");
  waiting.socket.end();
  assert.match(await waiting.untilClosed(), /\r\n\r\n0\r\n\r\n$/);
  assert.ok(gateway.aborted.has(watch.id));
  watch.exchange.chunk(chunkOf("too late"), false);
});

nodeTest("to HTTP/1.0 a stream has no chunks and ends with the connection", async (served) => {
  const { gateway, port } = served;
  const both = "GET /w HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
  const old = await RawConnection.open(port, both);
  const first = await gateway.next();
  const today = await RawConnection.open(port, head("GET", "/w"));
  const second = await gateway.next();
  const event = chunkOf("one\n");
  for (const { exchange } of [first, second]) {
    exchange.open(answerHead(), NO_BYTES);
    exchange.chunk(event, false); // One event for both frontends, each with its own framing.
  }
  await today.until("\r\n\r\n4\r\none\n\r\n");
  first.exchange.chunk(chunkOf("two\n"), true);
  const text = await old.untilClosed();
  assert.match(text, /^HTTP\/1\.0 200 OK\r\n/);
  assert.match(text, /\r\n\r\none\ntwo\n$/);
  assert.doesNotMatch(text, /Transfer-Encoding|keep-alive/);
  today.close();
});

nodeTest("HTTP/1.0 with keep-alive is told so, and goes on", async ({ gateway, port }) => {
  const connection = await RawConnection.open(port);
  for (let i = 0; i < 3; i++) {
    connection.text = "";
    connection.send("GET /k HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    answer(await gateway.next(), "12345");
    await connection.until(/12345$/);
    assert.match(connection.text, /\r\nContent-Length: 5\r\nConnection: keep-alive\r\n/);
  }
  connection.close();
});

nodeTest("a connection may rest before its first request, a head may not", async (served) => {
  const { gateway, port, unserved } = served;
  const resting = await RawConnection.open(port);
  const begun = await RawConnection.open(port, "GET / HT");
  assert.match(await begun.untilClosed(), /^HTTP\/1\.1 408 /);
  resting.send(head("GET", "/"));
  answer(await gateway.next(), "{}");
  await resting.until("{}");
  const bad = await RawConnection.open(port, "\x16\x03\x01");
  await bad.untilClosed();
  const probe = await RawConnection.open(port);
  probe.socket.end();
  await gateway.until(() => unserved.length === 3, "the third reason");
  assert.deepEqual(unserved, ["timeout", "bad_request", "no_request"]);
  served.frontend.stopListening(); // Nothing is open on it.
  await resting.untilClosed();
  assert.equal(unserved.length, 3);
});

nodeTest("a stop lets a request finish and tells the client that it was the last", async (s) => {
  const connection = await RawConnection.open(s.port, head("GET", "/") + head("GET", "/next"));
  const request = await s.gateway.next();
  s.frontend.stopListening();
  answer(request, "done");
  assert.match(await connection.untilClosed(), /done$/);
  assert.equal(s.gateway.requests.length, 1);
});

nodeTest("what is sent ahead without end is not taken in", async ({ gateway, port }) => {
  const one = head("GET", "/ahead", `X-Fill: ${"x".repeat(1000)}`);
  const count = 20_000;
  const connection = await RawConnection.open(port);
  connection.socket.write(one.repeat(count));
  const first = await gateway.next();
  gateway.onRequest = (request) => answer(request, "{}");
  const between = await RawConnection.open(port, head("GET", "/between"));
  await between.until("{}");
  between.close();
  // Most of it is still in the client: 20 MB exceed the kernel's buffers.
  assert.ok(connection.socket.writableLength > 0);
  answer(first, "{}");
  await gateway.until(() => gateway.requests.length === count + 1, "all of them", 30_000);
  connection.close();
});

test("a chunked body is the same however it is fragmented", () => {
  const framed =
    'A;x="y;z"\r\nvalue=1234\r\n1 ; a = b\r\n5\r\n0002\r\n67\r\n00\r\nT: 1\r\nU_v:\r\n\r\n';
  const rest = "GET / HTTP/1.1\r\n";
  const all = Buffer.from(framed + rest, "latin1");
  for (let first = 1; first < framed.length; first++) {
    for (const second of [first + 1, first + 3, all.length]) {
      const input = new ByteQueue();
      const body = new ChunkedBody();
      const parts: Buffer[] = [];
      let outcome = "more";
      for (const [from, to] of [
        [0, first],
        [first, second],
        [second, all.length],
      ]) {
        input.append(Buffer.from(all.subarray(from, to)));
        if (outcome === "more") outcome = body.decode(input, (part) => parts.push(part));
      }
      assert.equal(outcome, "done", `cut at ${first} and ${second}`);
      assert.equal(Buffer.concat(parts).toString(), "value=1234567");
      assert.equal(input.view.toString(), rest);
    }
  }
});

test("a body of many small chunks is kept in few pieces", () => {
  const input = new ByteQueue();
  input.append(Buffer.from("1\r\nx\r\n".repeat(10_000)));
  const parts: Buffer[] = [];
  assert.equal(
    new ChunkedBody().decode(input, (part) => parts.push(part)),
    "more",
  );
  assert.deepEqual(
    parts.map(({ length }) => length),
    [10_000],
  );
});
