import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { BODY_BYTES_MAX } from "#ringd/frontend/body-room.js";
import { Method } from "#ringd/v2/request.js";
import { LOCATION_BYTES_MAX } from "#ringd/v2/response.js";
import {
  answer,
  answerHead,
  chunkOf,
  type FrontendKind,
  KINDS,
  type Served,
  serve,
} from "./harness.js";
import { head, RawConnection } from "./raw.js";

/** The contract of both implementations; a test says where they differ. */

const FORM = "Content-Type: application/x-www-form-urlencoded";
/** The library's idle timeout of ten seconds, in steps of four, and some slack. */
const IDLE_MS = 25_000;

for (const kind of KINDS) {
  const served = serve(kind);
  after(async () => {
    const { frontend } = await served;
    frontend.stopListening();
    frontend.close();
  });
  contract(kind, served);
}

function contract(kind: FrontendKind, served: Promise<Served>): void {
  const isUws = kind === "uws";
  const contractTest = (name: string, run: (served: Served) => Promise<void>) =>
    test(`${kind}: ${name}`, async () => run(await served));

  contractTest(
    "a method that names a property of every object is another method",
    async (served) => {
      const { gateway, port } = served;
      for (const method of ["constructor", "toString", "__proto__"]) {
        const connection = await RawConnection.open(port, head(method, "/v2/keys/a"));
        const request = await gateway.next();
        assert.equal(request.method, Method.other);
        answer(request, "{}");
        await connection.until("{}");
        connection.close();
      }
    },
  );

  contractTest("a request arrives as its bytes", async ({ gateway, port }) => {
    const connection = await RawConnection.open(
      port,
      `${head("PUT", "/v2/keys/a%20b%C3%A9%00/?q=%ff&x=a+b", FORM, "Content-Length: 7")}value=\xff`,
    );
    const request = await gateway.next();
    assert.equal(request.method, Method.put);
    assert.equal(request.path, "/v2/keys/a%20b%C3%A9%00/");
    assert.equal(request.query, "q=%ff&x=a+b");
    assert.equal(request.contentType, "application/x-www-form-urlencoded");
    assert.equal(request.body.toString("latin1"), "value=\xff");
    assert.equal(request.isBodyTooLarge, false);
    answer(request, '{"é":1}', 201);
    await connection.until('{"\xc3\xa9":1}');
    assert.match(connection.text, /^HTTP\/1\.1 201 Created\r\n/);
    assert.match(connection.text, /\r\nContent-Type: application\/json\r\n/);
    assert.match(connection.text, /\r\nContent-Length: 8\r\n/);
    assert.match(connection.text, /\r\nDate: /);
    connection.close();
  });

  contractTest(
    "a redirect to a target above 12 KiB is refused by uws",
    async ({ gateway, port }) => {
      const connection = await RawConnection.open(port);
      for (const [method, bytes] of [
        ["GET", 12 * 1024],
        ["GET", 12 * 1024 + 1],
        ["HEAD", 12 * 1024 + 1],
        ["GET", LOCATION_BYTES_MAX],
      ] as const) {
        connection.text = "";
        connection.send(head(method, `/v2/keys//${"a".repeat(bytes - 9)}`));
        const request = await gateway.next();
        const redirect = answerHead(301);
        redirect.location = `/v2/keys/${"a".repeat(bytes - 9)}`;
        request.exchange.answer(redirect, Buffer.from("moved"));
        const isRefused = isUws && bytes > 12 * 1024;
        const isBodiless = method === "HEAD";
        const end = isBodiless ? "" : isRefused ? "400 Bad Request" : "moved";
        await connection.until(new RegExp(`\\r\\n\\r\\n${end}$`));
        const status = isRefused ? "400 Bad Request" : "301 Moved Permanently";
        assert.ok(connection.text.startsWith(`HTTP/1.1 ${status}\r\n`), `${method} ${bytes}`);
        const location = /\r\nLocation: (.*)\r\n/.exec(connection.text)?.[1];
        assert.equal(location, isRefused ? undefined : redirect.location);
      }
      connection.close();
    },
  );

  contractTest("methods are told apart", async ({ gateway, port }) => {
    const methods = { GET: Method.get, HEAD: Method.head, PUT: Method.put, POST: Method.post };
    const others = { DELETE: Method.delete, OPTIONS: Method.options, PATCH: Method.other };
    const connection = await RawConnection.open(port);
    for (const [name, method] of Object.entries({ ...methods, ...others, TRACE: Method.other })) {
      connection.send(head(name, "/v2/keys/", "Content-Length: 0"));
      const request = await gateway.next();
      assert.equal(request.method, method, name);
      connection.text = "";
      answer(request, "x");
      await connection.until(/\r\n\r\nx?$/);
    }
    connection.close();
    // Methods are case-sensitive (RFC 9110, 9.1).
    const odd = await RawConnection.open(port, head("get", "/v2/keys/"));
    assert.equal((await gateway.next()).method, Method.other);
    odd.close();
  });

  contractTest(
    "a chunked body is joined, in whatever pieces it comes",
    async ({ gateway, port }) => {
      const connection = await RawConnection.open(
        port,
        `${head("PUT", "/v2/keys/a", "Transfer-Encoding: chunked")}5\r\nva`,
      );
      for (const piece of ["lue\r\n", "4\r\n=a", "bc\r\n0\r\n", "\r\n"]) {
        await new Promise((resolve) => setImmediate(resolve));
        connection.send(piece);
      }
      const request = await gateway.next();
      assert.equal(request.body.toString(), "value=abc");
      answer(request, "{}");
      await connection.until("{}");
      connection.close();
    },
  );

  // The library's binaries of before September 2024, used with Node.js 20, need the first line in
  // one piece.
  const needsWholeLine = isUws && process.versions.node.startsWith("20.");
  test(`${kind}: a head in two pieces is served, wherever it is cut`, async () => {
    const { frontend, gateway, port } = await serve(kind);
    gateway.onRequest = (request) => answer(request, request.path);
    const request = head("GET", "/v2/keys/a?b=c", "X: y");
    const firstLine = request.indexOf("\n");
    const results = Array.from({ length: request.length - 1 }, async (_, i) => {
      const connection = await RawConnection.open(port, request.slice(0, i + 1));
      await setTimeout(200);
      connection.send(request.slice(i + 1));
      await connection.until(/\r\n\r\n.+$/);
      connection.close();
      return connection.text;
    });
    for (const [i, text] of (await Promise.all(results)).entries()) {
      const isCut = needsWholeLine && i < firstLine && text.startsWith("HTTP/1.1 505 ");
      if (isCut) continue;
      assert.match(text, /^HTTP\/1\.1 200 /, `cut after ${i}`);
      assert.match(text, /\r\n\/v2\/keys\/a$/, `cut after ${i}`);
    }
    frontend.stopListening();
    frontend.close();
  });

  contractTest("Expect: 100-continue is answered before the body comes", async (served) => {
    const { gateway, port } = served;
    const connection = await RawConnection.open(
      port,
      head("PUT", "/v2/keys/a", FORM, "Content-Length: 7", "Expect: 100-continue"),
    );
    await connection.until("HTTP/1.1 100 Continue\r\n\r\n");
    connection.send("value=1");
    const request = await gateway.next();
    assert.equal(request.body.toString(), "value=1");
    answer(request, "{}");
    await connection.until("HTTP/1.1 200 OK");
    connection.close();
  });

  contractTest("one connection serves many requests, HEAD among them", async (served) => {
    const { gateway, port } = served;
    const connection = await RawConnection.open(port);
    for (const method of ["GET", "HEAD", "HEAD", "PUT", "HEAD", "DELETE", "GET"]) {
      connection.text = "";
      connection.send(head(method, "/v2/keys/a", "Content-Length: 0"));
      answer(await gateway.next(), "12345");
      await connection.until(method === "HEAD" ? /\r\n\r\n$/ : /\r\n\r\n12345$/);
      assert.match(connection.text, /\r\nContent-Length: 5\r\n/, method);
      assert.equal(connection.text.match(/Content-Length/g)?.length, 1, method);
    }
    connection.close();
  });

  contractTest("Connection: close closes after the answer", async ({ gateway, port }) => {
    for (const method of ["GET", "HEAD", "PUT", "DELETE"]) {
      const connection = await RawConnection.open(
        port,
        head(method, "/v2/keys/a", "Content-Length: 0", "Connection: close"),
      );
      const request = await gateway.next();
      answer(request, "12345");
      assert.match(await connection.untilClosed(), /\r\nContent-Length: 5\r\n/, method);
      assert.equal(gateway.aborted.has(request.id), false, "the answer was complete");
    }
    const watch = await RawConnection.open(port, head("GET", "/w?wait=true", "Connection: close"));
    const { exchange, id } = await gateway.next();
    exchange.open(answerHead(), Buffer.alloc(0));
    exchange.chunk(chunkOf('{"a":1}\n'), true);
    assert.match(await watch.untilClosed(), /\r\n\r\n[89]\r\n\{"a": ?1\}\n\r\n0\r\n\r\n$/);
    assert.equal(gateway.aborted.has(id), false, "the answer was complete");
  });

  contractTest(
    "pipelined requests: served one after the other, uWebSockets.js closes",
    async (s) => {
      const connection = await RawConnection.open(s.port, head("GET", "/1") + head("GET", "/2"));
      if (isUws) {
        assert.equal(await connection.untilClosed(), "");
        const request = await s.gateway.next();
        await s.gateway.until(() => s.gateway.aborted.has(request.id), "the abort");
        return;
      }
      const first = await s.gateway.next();
      const seen = s.gateway.requests.length;
      const between = await RawConnection.open(s.port, head("GET", "/between"));
      answer(await s.gateway.next(), "{}");
      await between.until("{}");
      between.close();
      assert.equal(s.gateway.requests.length, seen + 1, "the second waits for the first");
      answer(first, "first");
      answer(await s.gateway.next(), "second");
      await connection.until(/first[\s\S]*second$/);
      connection.close();
    },
  );

  contractTest("a client that leaves is told to the core once", async ({ gateway, port }) => {
    const waiting = await RawConnection.open(port, head("GET", "/wait"));
    const request = await gateway.next();
    // The node frontend responds to a half-closed client: only a reset shows that it has
    // disconnected.
    if (isUws) waiting.close();
    else waiting.socket.resetAndDestroy();
    await gateway.until(() => gateway.aborted.has(request.id), "the abort");
    answer(request, "too late"); // Does nothing.

    const watch = await RawConnection.open(port, head("GET", "/watch"));
    const watching = await gateway.next();
    watching.exchange.open(answerHead(), Buffer.alloc(0));
    await watch.until("\r\n\r\n");
    watch.close();
    await gateway.until(() => gateway.aborted.has(watching.id), "the watch's abort");
    watching.exchange.chunk(chunkOf("too late"), false);
  });

  contractTest("a body cut short never becomes a request", async ({ gateway, port }) => {
    const seen = gateway.requests.length;
    const half = await RawConnection.open(
      port,
      `${head("PUT", "/half", FORM, "Content-Length: 100")}value=1`,
    );
    half.socket.end();
    await half.untilClosed();
    const chunked = await RawConnection.open(
      port,
      `${head("PUT", "/half", FORM, "Transfer-Encoding: chunked")}5\r\nvalu`,
    );
    chunked.close();
    const whole = await RawConnection.open(port, head("GET", "/whole"));
    answer(await gateway.next(), "{}");
    await whole.until("{}");
    whole.close();
    assert.equal(gateway.requests.length, seen + 1);
  });

  contractTest("a watch shows its head at once and each event as one chunk", async (served) => {
    const { gateway, port } = served;
    const connection = await RawConnection.open(port, head("GET", "/v2/keys/?wait=true"));
    const { exchange } = await gateway.next();
    exchange.open(answerHead(), Buffer.alloc(0));
    await connection.until("\r\n\r\n");
    assert.match(connection.text, /^HTTP\/1\.1 200 OK\r\n/);
    assert.match(connection.text, /\r\nTransfer-Encoding: chunked\r\n/);
    assert.doesNotMatch(connection.text, /Content-Length/);
    const date = /\r\nDate: (\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT)\r\n/.exec(connection.text);
    assert.ok(Math.abs(Date.now() - Date.parse(date?.[1] ?? "")) < 60_000, connection.text);
    connection.text = "";
    const event = chunkOf('{"action":"set"}\n');
    exchange.chunk(event, false);
    await connection.until(/^1[12]\r\n\{"action": ?"set"\}\n\r\n$/);
    connection.text = "";
    exchange.chunk(event, true);
    await connection.until(/^11\r\n\{"action":"set"\}\n\r\n0\r\n\r\n$/);
    connection.text = "";
    connection.send(head("GET", "/again")); // The connection is still usable.
    answer(await gateway.next(), "yes");
    await connection.until("yes");
    connection.close();
  });

  contractTest("a cut ends the connection in the middle of the answer", async (served) => {
    const { gateway, port } = served;
    const connection = await RawConnection.open(port, head("GET", "/v2/keys/?wait=true"));
    const { exchange } = await gateway.next();
    exchange.open(answerHead(), Buffer.alloc(0));
    await connection.until("\r\n\r\n");
    exchange.cut();
    assert.doesNotMatch(await connection.untilClosed(), /\r\n0\r\n/);
  });

  contractTest("a cut ends a large answer whose client is behind", async ({ gateway, port }) => {
    const connection = await RawConnection.open(port);
    connection.socket.pause();
    connection.send(head("GET", "/listing"));
    const { exchange } = await gateway.next();
    exchange.open(answerHead(), Buffer.alloc(8 * 1024 * 1024, "x"));
    exchange.cut();
    connection.socket.resume();
    const text = await connection.untilClosed();
    assert.doesNotMatch(text, /\r\n0\r\n/);
    assert.ok(text.length < 8 * 1024 * 1024);
  });

  contractTest("a large answer in pieces waits for a client that reads later", async (served) => {
    const { gateway, port } = served;
    const connection = await RawConnection.open(port);
    connection.socket.pause();
    connection.send(head("GET", "/listing"));
    const { exchange, id } = await gateway.next();
    const piece = Buffer.alloc(1024 * 1024, "x");
    exchange.open(answerHead(), piece);
    let pieces = 1;
    for (; !gateway.held.has(id); pieces++) exchange.chunk(chunkOf(piece), false);
    assert.equal(gateway.resumed.has(id), false);
    connection.socket.resume();
    await gateway.until(() => gateway.resumed.has(id), "the wish for more");
    exchange.chunk(chunkOf("end"), true);
    await connection.until(/end\r\n0\r\n/);
    assert.ok(connection.text.length > pieces * piece.length);
    connection.close();
  });

  contractTest("a body of 10 MiB is taken, one byte more is not", async ({ gateway, port }) => {
    for (const bytes of [BODY_BYTES_MAX, BODY_BYTES_MAX + 1]) {
      const connection = await RawConnection.open(
        port,
        head("PUT", "/big", FORM, `Content-Length: ${bytes}`),
      );
      connection.send(Buffer.alloc(bytes, "v"));
      const request = await gateway.next();
      assert.equal(request.isBodyTooLarge, bytes > BODY_BYTES_MAX);
      assert.equal(request.body.length, bytes > BODY_BYTES_MAX ? 0 : bytes);
      answer(request, "{}");
      await connection.until("{}");
      connection.close();
    }
  });

  contractTest("a head of 600 KB is taken, one above 1 MiB is answered 431", async (served) => {
    const { gateway, port } = served;
    const long = await RawConnection.open(port, head("GET", "/", `X-Long: ${"a".repeat(600_000)}`));
    answer(await gateway.next(), "{}");
    await long.until("{}");
    long.close();
    const tooLong = await RawConnection.open(
      port,
      head("GET", "/", `X-Long: ${"a".repeat(1_100_000)}`),
    );
    assert.match(await tooLong.untilClosed(), /^HTTP\/1\.1 431 /);
  });

  contractTest(
    "what is no HTTP is answered with an error and closed",
    async ({ gateway, port }) => {
      const seen = gateway.requests.length;
      // uWebSockets.js treats any error in the first line as another version of HTTP.
      const firstLine = isUws ? /^HTTP\/1\.1 505 / : /^HTTP\/1\.1 400 /;
      const cases: [bytes: string, expected: RegExp][] = [
        ["\x00\x01\x02\xff\xfe\r\n\r\n", firstLine],
        [`\x16\x03\x01\x02\x00\x01${"\xaa".repeat(200)}`, firstLine],
        ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", /^HTTP\/1\.1 505 /],
        [head("GET", "/a b"), firstLine],
        [head("GET", "/a\x00b"), firstLine],
        [head("GET", "/a\x01b"), firstLine],
        [head("PUT", "/", "Content-Length: -1"), /^HTTP\/1\.1 400 /],
        [
          `${head("PUT", "/", "Content-Length: 1", "Transfer-Encoding: chunked")}zz\r\n`,
          /^HTTP\/1\.1 400 /,
        ],
        [`${head("PUT", "/", "Transfer-Encoding: chunked")}zz\r\n`, /^HTTP\/1\.1 400 /],
      ];
      for (const [bytes, expected] of cases) {
        const connection = await RawConnection.open(port, bytes);
        assert.match(await connection.untilClosed(), expected, JSON.stringify(bytes.slice(0, 40)));
      }
      assert.equal(gateway.requests.length, seen);
    },
  );

  contractTest("heads that never become complete are closed in time", async (served) => {
    const { gateway, port } = served;
    const seen = gateway.requests.length;
    // The node frontend responds with 400 at once; uWebSockets.js keeps waiting for a valid line.
    const cases = [
      "GET / HTTP/1.1\r\nHost: local",
      head("GET", "/", "no colon"),
      head("GET", "/", "Bad Name: x"),
      "GET / HTTP/1.1\r\n\r\n",
      ...(isUws ? [""] : []), // Without a byte a connection is idle.
    ];
    const connections = await Promise.all(cases.map((bytes) => RawConnection.open(port, bytes)));
    for (const connection of connections) {
      assert.match(await connection.untilClosed(IDLE_MS), isUws ? /^$/ : /^(HTTP\/1\.1 4|$)/);
    }
    assert.equal(gateway.requests.length, seen);
  });

  contractTest("bytes of a target that would not arrive truly are refused", async (served) => {
    const { gateway, port } = served;
    const seen = gateway.requests.length;
    const high = ["/v2/keys/\xff\xfe", "/v2/keys/a?prevValue=\xff"];
    for (const target of [...(isUws ? high : []), "/v2/keys/a\x7fb"]) {
      const connection = await RawConnection.open(port, head("GET", target));
      await connection.until(/^HTTP\/1\.1 400 /);
      connection.close();
    }
    assert.equal(gateway.requests.length, seen);
    const utf8 = await RawConnection.open(port, head("GET", "/v2/keys/\xc3\xa9"));
    // Decoded text, or percent-encoded bytes.
    assert.equal((await gateway.next()).path, isUws ? "/v2/keys/é" : "/v2/keys/%C3%A9");
    utf8.close();
  });

  contractTest(
    "HTTP/1.0: Node's frontend answers and closes, uWebSockets.js says 505",
    async (served) => {
      const { gateway, port } = served;
      const connection = await RawConnection.open(port, "GET /version HTTP/1.0\r\n\r\n");
      if (isUws) {
        assert.match(
          await connection.untilClosed(),
          /^HTTP\/1\.1 505 [\s\S]*Connection: close\r\n/,
        );
        return;
      }
      answer(await gateway.next(), "{}");
      assert.match(await connection.untilClosed(), /^HTTP\/1\.0 200 OK\r\n[\s\S]*\{\}$/);
    },
  );

  test(`${kind}: bodies in flight are bounded together`, async () => {
    const { frontend, gateway, port } = await serve(kind, { bodiesBytesMax: 1_000_000 });
    const part = Buffer.alloc(400_000, "v");
    const put = head("PUT", "/half", FORM, "Content-Length: 500000");
    const begun = await Promise.all([1, 2].map(() => RawConnection.open(port, put)));
    for (const connection of begun) connection.send(part);
    // Once this one has its response, all earlier input has been read.
    const between = await RawConnection.open(port, head("GET", "/between"));
    answer(await gateway.next(), "{}");
    await between.until("{}");
    between.close();
    const above = await RawConnection.open(port, put);
    above.send(part);
    await above.until(/^HTTP\/1\.1 500 [\s\S]*etcdserver: too many requests/);
    above.close();
    for (const connection of begun) connection.send(part.subarray(0, 100_000));
    for (const _ of begun) assert.equal((await gateway.next()).body.length, 500_000);
    // Their room is free again, as is that of clients that disconnect.
    for (let i = 0; i < 10; i++) {
      const leaving = await RawConnection.open(port, put);
      leaving.send(part);
      leaving.socket.end();
      await leaving.untilClosed();
    }
    const last = await RawConnection.open(port, put);
    last.send(part);
    last.send(part.subarray(0, 100_000));
    assert.equal((await gateway.next()).body.length, 500_000);
    last.close();
    for (const connection of begun) connection.close();
    frontend.stopListening();
    frontend.close();
  });

  test(`${kind}: a unix socket serves like a port`, async () => {
    const { frontend, gateway } = await serve(kind);
    const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
    const path = join(dir, "client.sock");
    await frontend.listenUnix(path);
    const socket = connect(path);
    socket.write(head("GET", "/v2/keys/unix"));
    const request = await gateway.next();
    assert.equal(request.path, "/v2/keys/unix");
    answer(request, "{}");
    const [bytes] = (await once(socket, "data")) as [Buffer];
    assert.match(bytes.toString(), /^HTTP\/1\.1 200 OK\r\n/);
    socket.destroy();
    frontend.stopListening();
    frontend.close();
    rmSync(dir, { recursive: true, force: true });
  });

  test(`${kind}: connections above the limit are closed; closed ones free their places`, async () => {
    const { frontend, gateway, port, connections } = await serve(kind, { connectionsMax: 3 });
    gateway.onRequest = (request) => answer(request, "{}");
    const open = await Promise.all([1, 2, 3].map(() => RawConnection.open(port)));
    const above = await RawConnection.open(port);
    assert.equal(await above.untilClosed(), "");
    assert.equal(connections.refused, 1);
    for (const connection of open) {
      connection.send(head("GET", "/"));
      await connection.until("{}");
    }
    open[0]?.close();
    for (;;) {
      // The frontend sees the close a moment later.
      const next = await RawConnection.open(port, head("GET", "/")).catch(() => undefined);
      if (next === undefined) continue;
      await next.until(/\{\}/).catch(() => undefined);
      next.close();
      if (next.text.includes("{}")) break;
    }
    for (const connection of open) connection.close();
    frontend.stopListening();
    frontend.close();
  });
}
