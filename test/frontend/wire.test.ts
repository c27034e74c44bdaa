import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";
import {
  answer,
  answerHead,
  chunkOf,
  type FrontendKind,
  PLAIN_KINDS,
  type Served,
  serve,
} from "./harness.js";
import { head, RawConnection } from "./raw.js";
import { StrictReader } from "./strict-reader.js";

const WATCH = head("GET", "/v2/keys/?wait=true&stream=true");
const EVENTS = [1, 2, 3].map(
  (n) => `{"action":"set","node":{"value":"${n}","createdIndex":${n}}}\n`,
);

function wireTest(name: string, run: (served: Served, kind: FrontendKind) => Promise<void>): void {
  for (const kind of PLAIN_KINDS) {
    test(`${kind}: ${name}`, async () => {
      const served = await serve(kind);
      try {
        await run(served, kind);
      } finally {
        served.frontend.stopListening();
        served.frontend.close();
      }
    });
  }
}

wireTest(
  "a strict reader takes watches, and the connection lives on",
  async ({ gateway, port }) => {
    const reader = await StrictReader.open(port);
    for (let round = 0; round < 3; round++) {
      reader.send(WATCH);
      const { exchange } = await gateway.next();
      exchange.open(answerHead(), Buffer.alloc(0));
      const { status, length } = await reader.head();
      assert.equal(status, 200);
      assert.equal(length, undefined);
      for (const [i, event] of EVENTS.entries()) {
        assert.equal(reader.unread, "", "nothing before the event");
        exchange.chunk(chunkOf(event), i === 2);
        assert.equal(`${await reader.chunk()}`, event);
      }
      assert.equal(await reader.chunk(), undefined);
      reader.send(head("PUT", "/v2/keys/a", "Content-Length: 0"));
      answer(await gateway.next(), "{}", 201);
      assert.equal((await reader.answer()).status, 201);
    }
    reader.send(WATCH);
    const { exchange } = await gateway.next();
    exchange.open(answerHead(), Buffer.alloc(0));
    exchange.chunk(chunkOf(""), true);
    assert.deepEqual((await reader.answer()).chunks, []);
    reader.close();
  },
);

wireTest("a watch that alone has one event is the core's bytes", async ({ gateway, port }) => {
  const connection = await RawConnection.open(port, head("GET", "/v2/keys/a?wait=true"));
  const { exchange } = await gateway.next();
  exchange.open(answerHead(), Buffer.alloc(0));
  await connection.until("\r\n\r\n");
  connection.text = "";
  const [event = ""] = EVENTS;
  exchange.chunk(chunkOf(event), true);
  await connection.until("\r\n0\r\n\r\n");
  assert.equal(connection.text, `${event.length.toString(16)}\r\n${event}\r\n0\r\n\r\n`);
  connection.close();
});

test("uws: connections that end without a request are counted, others are not", async () => {
  const served = await serve("uws");
  const { gateway, port, frontend, unserved } = served;
  const silent = await RawConnection.open(port);
  silent.close();
  await gateway.until(() => unserved.length === 1, "the first");
  const old = await RawConnection.open(port, "GET /health HTTP/1.0\r\n\r\n");
  await old.untilClosed();
  await gateway.until(() => unserved.length === 2, "the second");
  for (const method of ["GET", "HEAD", "PUT"]) {
    const connection = await RawConnection.open(port, head(method, "/a", "Content-Length: 0"));
    answer(await gateway.next(), "12345");
    await connection.until("\r\n\r\n");
    connection.close();
  }
  const watching = await RawConnection.open(port, WATCH);
  (await gateway.next()).exchange.open(answerHead(), Buffer.alloc(0));
  await watching.until("\r\n\r\n");
  watching.close();
  await gateway.until(() => served.connections.open === 0, "the closes");
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(unserved, ["unknown", "unknown"]);
  frontend.stopListening();
  frontend.close();
});

const GO_READER = `package main
import ("io"; "net/http"; "os")
func main() {
	answer, err := http.Get(os.Args[1])
	if err != nil { panic(err) }
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil { panic(err) }
}
`;
const scratch = mkdtempSync(join(tmpdir(), "ringd-readers-"));
const goReader = join(scratch, "reader.go");
writeFileSync(goReader, GO_READER);
after(() => rmSync(scratch, { recursive: true }));

const READERS: Readonly<Record<string, (url: string) => readonly string[]>> = {
  curl: (url) => ["-sN", "--raw", url],
  python3: (url) => [
    "-c",
    "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())",
    url,
  ],
  go: (url) => ["run", goReader, url],
  busybox: (url) => ["wget", "-q", "-O", "-", url],
};

for (const [program, args] of Object.entries(READERS)) {
  const isThere = spawnSync(program, ["--help"]).error === undefined;
  const options = { skip: isThere ? false : `needs ${program}` };
  test(`${program} reads a stream of both frontends`, options, async () => {
    for (const kind of PLAIN_KINDS) {
      const { gateway, port, frontend } = await serve(kind);
      const url = `http://127.0.0.1:${port}/v2/keys/?wait=true&stream=true`;
      const run = promisify(execFile)(program, args(url));
      gateway.onRequest = ({ exchange }) => {
        exchange.open(answerHead(), Buffer.alloc(0));
        for (const [i, event] of EVENTS.entries()) exchange.chunk(chunkOf(event), i === 2);
      };
      const { stdout } = await run;
      const text = program === "curl" ? stdout.replace(/^[0-9a-f]+\r\n|^\r\n/gm, "") : stdout;
      const lines = text.trim().split("\n");
      // urllib and busybox want the connection closed.
      const blank = kind === "uws" && !["curl", "go"].includes(program) ? ": " : ":";
      const wanted = EVENTS.map((e) => e.replace(/:(?=\d+\}\}\n)/, blank));
      assert.equal(`${lines.join("\n")}\n`, wanted.join(""), kind);
      if (program === "curl") assert.match(stdout, /\n\r\n0\r\n\r\n$/);
      frontend.stopListening();
      frontend.close();
    }
  });
}

const LENGTH = "Content-Length: 7";
const CHUNKED = "Transfer-Encoding: chunked";
const UNCLEAR: readonly (readonly [string, readonly string[]])[] = [
  ["PUT", [LENGTH, "Content-Length: 60"]],
  ["PUT", ["content-length: 60", LENGTH]],
  ["POST", [LENGTH, "Content-Length: 0"]],
  ["PUT", [LENGTH, CHUNKED]],
  ["PUT", [CHUNKED, LENGTH]],
  ["PUT", [CHUNKED, CHUNKED]],
  ["PUT", ["Transfer-Encoding: gzip, chunked"]],
  ["PUT", ["Transfer-Encoding: identity"]],
  ["GET", [LENGTH, "Content-Length: 60"]],
  ["DELETE", [LENGTH, "Content-Length: 60"]],
];

for (const [method, lines] of UNCLEAR) {
  for (const more of ["", head("PUT", "/v2/keys/smuggled", "Content-Length: 0")]) {
    test(`uws: ${method} with ${lines.join(" and ")}${more && ", and more"} is closed and not applied`, async () => {
      const { gateway, port, frontend } = await serve("uws");
      gateway.onRequest = (request) => answer(request, "{}");
      const body = lines.some((line) => line.includes("chunked"))
        ? "7\r\nvalue=1\r\n0\r\n\r\n"
        : "value=1";
      const connection = await RawConnection.open(
        port,
        head(method, "/v2/keys/a", ...lines) + body + more,
      );
      assert.doesNotMatch(await connection.untilClosed(), /200 OK/);
      assert.deepEqual(gateway.requests, []);
      frontend.stopListening();
      frontend.close();
    });
  }
}

test("uws: two lengths are answered 400; plain chunked bodies are served", async () => {
  const { gateway, port, frontend } = await serve("uws");
  gateway.onRequest = (request) => answer(request, request.body.toString());
  const refused = await RawConnection.open(
    port,
    `${head("PUT", "/v2/keys/a", LENGTH, "Content-Length: 9")}value=1`,
  );
  assert.match(await refused.untilClosed(), /^HTTP\/1\.1 400 Bad Request\r\n/);
  const chunked = `${head("PUT", "/v2/keys/a", "Transfer-Encoding: Chunked")}5\r\nvalue\r\n0A\r\n=123456789\r\n000\r\n\r\n`;
  const whole = await RawConnection.open(port, chunked);
  assert.match(await whole.untilClosed(), /\r\nConnection: close\r\n.*value=123456789$/s);
  const pieces = await RawConnection.open(port, chunked.slice(0, chunked.indexOf("\n")));
  for (const byte of chunked.slice(chunked.indexOf("\n"))) {
    pieces.send(byte);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await pieces.until(/value=123456789$/);
  pieces.close();
  frontend.stopListening();
  frontend.close();
});

const NEXT = head("PUT", "/v2/keys/smuggled", "Content-Length: 7");
const REST = `${NEXT}value=2`;

/** Chunks that the library misreads: what it leaves must not become a request. */
const MISREAD: Readonly<Record<string, string>> = {
  "an early end in the trailers": `7\r\nvalue=1\r\n0\r\n${REST}\r\n`,
  "an extension": `7;a=b\r\nvalue=1\r\n0\r\n\r\n${REST}`,
  "an extension that looks like digits": `1;0000000000\r\nv\r\n0\r\n\r\n${REST}`,
  "LF alone": `7\nvalue=1\n0\n\n${REST}`,
  "no line end after the data": `7\r\nvalue=1XX0\r\n\r\n${REST}`,
  "the end of another chunked body": `7\r\nvalue=1\r\n0\r\n\r\n${REST}`,
};

const CHUNKED_METHODS = ["PUT", "GET", "DELETE", "PATCH", "HEAD"];
const FIRSTS = Object.entries(MISREAD).flatMap(([name, body]) =>
  CHUNKED_METHODS.map((method) => [method, name, body] as const),
);

for (const [method, name, body] of FIRSTS) {
  test(`uws: no request follows a chunked body of ${method}: ${name}`, async () => {
    const { gateway, port, frontend } = await serve("uws");
    gateway.onRequest = (request) => answer(request, "{}");
    const first = head(method, "/v2/keys/a", CHUNKED);
    const connection = await RawConnection.open(port, first);
    // Byte by byte, so that the response may leave before what follows arrives.
    for (const byte of body) {
      connection.send(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    connection.socket.end();
    await connection.untilClosed();
    assert.ok(!gateway.requests.some(({ path }) => path.includes("smuggled")));
    frontend.stopListening();
    frontend.close();
  });
}

test("uws: any response to a chunked body closes, large ones and those without a body, too", async () => {
  const { gateway, port, frontend } = await serve("uws");
  const sent = `${head("PUT", "/v2/keys/a", CHUNKED)}7\r\nvalue=1\r\n0\r\n\r\n`;
  for (const bytes of [0, 11_000, 12_000, 12_001, 300_000]) {
    gateway.onRequest = (request) => answer(request, "x".repeat(bytes));
    const connection = await RawConnection.open(port, sent);
    const text = await connection.untilClosed();
    assert.match(text, /^HTTP\/1\.1 200 OK\r\n.*\r\nConnection: close\r\n/s);
    assert.equal(text.split("x").length - 1, bytes);
  }
  for (const method of ["GET", "DELETE", "PATCH"]) {
    gateway.onRequest = (request) => answer(request, "ignored");
    const connection = await RawConnection.open(port, sent.replace("PUT", method));
    assert.match(await connection.untilClosed(), /^HTTP\/1\.1 200 OK\r\n.*\r\nignored$/s);
  }
  gateway.onRequest = (request) => {
    request.exchange.open(answerHead(), Buffer.from("one "));
    request.exchange.chunk(chunkOf("two"), true);
  };
  const listing = await RawConnection.open(port, sent.replace("PUT", "GET"));
  assert.match(await listing.untilClosed(), /one [\s\S]*two[\s\S]*0\r\n\r\n$/);
  gateway.onRequest = (request) => {
    request.exchange.open(answerHead(), Buffer.alloc(0));
    request.exchange.chunk(chunkOf('{"action":"set","node":{"createdIndex":7}}\n'), true);
  };
  const watch = sent.replace("PUT /v2/keys/a", "GET /v2/keys/a?wait=true");
  const watching = await RawConnection.open(port, watch);
  assert.match(await watching.untilClosed(), /"createdIndex": ?[\s\S]*7[\s\S]*0\r\n\r\n$/);
  gateway.onRequest = (request) => answer(request, "", 204);
  const none = await RawConnection.open(port, sent);
  assert.match(await none.untilClosed(), /^HTTP\/1\.1 204 No Content\r\n/);
  frontend.stopListening();
  frontend.close();
});
