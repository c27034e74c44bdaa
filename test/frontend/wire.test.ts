import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";
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
import { StrictReader } from "./strict-reader.js";

const WATCH = head("GET", "/v2/keys/?wait=true&stream=true");
const EVENTS = [1, 2, 3].map(
  (n) => `{"action":"set","node":{"value":"${n}","createdIndex":${n}}}\n`,
);

function wireTest(name: string, run: (served: Served, kind: FrontendKind) => Promise<void>): void {
  for (const kind of KINDS) {
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
  async ({ gateway, port }, kind) => {
    const reader = await StrictReader.open(port);
    for (let round = 0; round < 3; round++) {
      reader.send(WATCH);
      const { exchange } = await gateway.next();
      exchange.open(answerHead(), Buffer.alloc(0));
      const { status, length } = await reader.head();
      assert.equal(status, 200);
      assert.equal(length, undefined);
      for (const [i, event] of EVENTS.entries()) {
        const zero = kind === "uws" && i === 0 ? "0" : "";
        assert.equal(reader.unread, zero, "nothing else before the event");
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

wireTest("a watch that alone has one event is the core's bytes", async (served, kind) => {
  const { gateway, port } = served;
  const connection = await RawConnection.open(port, head("GET", "/v2/keys/a?wait=true"));
  const { exchange } = await gateway.next();
  exchange.open(answerHead(), Buffer.alloc(0));
  const zero = kind === "uws" ? "0" : ""; // Of the size; it is sent with the headers.
  await connection.until(`\r\n\r\n${zero}`);
  const opened = connection.text;
  const [event = ""] = EVENTS;
  exchange.chunk(chunkOf(event), true);
  await connection.until("\r\n0\r\n\r\n");
  const size = event.length.toString(16);
  assert.equal(connection.text, `${opened}${size}\r\n${event}\r\n0\r\n\r\n`);
  assert.match(opened, new RegExp(`\r\n\r\n${zero}$`));
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
    "import http.client as h, sys; c = h.HTTPConnection(sys.argv[1].split('/')[2]); c.request('GET', sys.argv[1][sys.argv[1].index('/v2'):]); sys.stdout.write(c.getresponse().read().decode())",
    url,
  ],
  go: (url) => ["run", goReader, url],
  busybox: (url) => ["wget", "-q", "-O", "-", url],
};

/** Sent by some readers by default; a proxy in between removes it. */
const CLOSE = "Connection: close\r\n";

async function proxyWithoutClose(port: number): Promise<Server> {
  const server = createServer((client) => {
    const member = connect(port, "127.0.0.1");
    client.on("data", (bytes) =>
      member.write(bytes.toString("latin1").replace(CLOSE, ""), "latin1"),
    );
    client.on("error", () => member.destroy()).on("close", () => member.destroy());
    member.on("error", () => client.destroy()).pipe(client);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

for (const [program, args] of Object.entries(READERS)) {
  const isThere = spawnSync(program, ["--help"]).error === undefined;
  const options = { skip: isThere ? false : `needs ${program}` };
  test(`${program} reads a stream of both frontends`, options, async () => {
    for (const kind of KINDS) {
      const { gateway, port, frontend } = await serve(kind);
      const proxy = await proxyWithoutClose(port);
      gateway.onRequest = ({ exchange }) => {
        exchange.open(answerHead(), Buffer.alloc(0));
        for (const [i, event] of EVENTS.entries()) exchange.chunk(chunkOf(event), i === 2);
      };
      const proxyPort = (proxy.address() as AddressInfo).port;
      for (const at of [port, proxyPort]) {
        const url = `http://127.0.0.1:${at}/v2/keys/?wait=true&stream=true`;
        const { stdout } = await promisify(execFile)(program, args(url));
        const text = program === "curl" ? stdout.replace(/^[0-9a-f]+\r\n|^\r\n/gm, "") : stdout;
        // Busybox requests "Connection: close".
        const blank = kind === "uws" && program === "busybox" && at === port ? ": " : ":";
        const wanted = EVENTS.map((e) => e.replace(/:(?=\d+\}\}\n)/, blank));
        assert.equal(text.trimEnd(), wanted.join("").trimEnd(), kind);
        if (program !== "curl") continue;
        assert.match(stdout, kind === "uws" ? /^03/ : /^3/);
        assert.match(stdout, /\n\r\n0\r\n\r\n$/);
      }
      proxy.close();
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

test("uws: two lengths get a 400; plain chunked bodies are served", async () => {
  const { gateway, port, frontend } = await serve("uws");
  gateway.onRequest = (request) => answer(request, request.body.toString());
  const refused = await RawConnection.open(
    port,
    `${head("PUT", "/v2/keys/a", LENGTH, "Content-Length: 9")}value=1`,
  );
  assert.match(await refused.untilClosed(), /^HTTP\/1\.1 400 Bad Request\r\n/);
  const chunked = `${head("PUT", "/v2/keys/a", "Transfer-Encoding: Chunked")}5\r\nvalue\r\n0A\r\n=123456789\r\n000\r\n\r\n`;
  const whole = await RawConnection.open(port, chunked);
  await whole.until(/value=123456789$/);
  whole.text = "";
  for (const byte of chunked) {
    whole.send(byte);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await whole.until(/value=123456789$/);
  whole.close();
  frontend.stopListening();
  frontend.close();
});
