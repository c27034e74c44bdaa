import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, connect, createServer as createTcpServer } from "node:net";
import { type TestContext, test } from "node:test";
import { BodyRoom } from "#ringd/frontend/body-room.js";
import { Endpoints } from "#ringd/proxy/endpoints.js";
import { Forwarder } from "#ringd/proxy/forwarder.js";
import { ProxyMetrics } from "#ringd/proxy/metrics.js";
import { ProxyServer } from "#ringd/proxy/server.js";
import { Upstream } from "#ringd/proxy/upstream.js";
import { open, request, send } from "../support/http.js";
import { until } from "../support/until.js";

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void;

/** A member of the test's own. */
async function fakeMember(t: TestContext, handle: Handler) {
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("latin1");
    request.on("data", (part) => {
      body += part;
    });
    request.on("end", () => handle(request, response, body));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

interface Options {
  readonly isReadonly?: boolean;
  readonly corsOrigins?: readonly string[];
  readonly bodyRoom?: BodyRoom;
  readonly times?: Partial<ConstructorParameters<typeof Upstream>[0]>;
}

async function makeProxy(t: TestContext, urls: readonly string[], options: Options = {}) {
  const quiet = { info: () => undefined, warn: () => undefined };
  const endpoints = new Endpoints(60_000, quiet);
  endpoints.replace(urls);
  const upstream = new Upstream({
    ...{ dialTimeoutMs: 1000, writeTimeoutMs: 5000, readTimeoutMs: 0 },
    ...options.times,
  });
  const metrics = new ProxyMetrics();
  const server = new ProxyServer({
    forwarder: new Forwarder({ endpoints, upstream, log: quiet, metrics }),
    ...{ endpoints, metrics, isReadonly: options.isReadonly ?? false },
    corsOrigins: options.corsOrigins ?? [],
    connectionsMax: 1000,
    ...(options.bodyRoom === undefined ? {} : { bodyRoom: options.bodyRoom }),
  });
  const port = await server.listen("127.0.0.1", 0, "alone");
  t.after(() => {
    server.stopListening();
    server.close();
    upstream.close();
  });
  return { port, endpoints, metrics };
}

test("a request arrives as it was sent, its response as it was answered", async (t) => {
  const seen: unknown[] = [];
  const { url } = await fakeMember(t, ({ method, url: target, headers }, response, body) => {
    const { authorization, host, connection } = headers;
    seen.push([method, target, body, authorization, host, headers["x-forwarded-for"], connection]);
    response.writeHead(201, "Made", ["X-Etcd-Index", "7", "x-a", "1", "X-A", "2"]);
    response.end("done");
  });
  const { port } = await makeProxy(t, [url]);
  const answer = await request(port, {
    ...{ method: "PUT", path: "/v2/keys/%2f?a=%20&b", body: "value=x" },
    headers: { Authorization: "Basic cm9vdDpw", "X-Forwarded-For": "10.0.0.1", "X-Hop": "1" },
  });
  assert.deepEqual(seen[0], [
    ...["PUT", "/v2/keys/%2f?a=%20&b", "value=x", "Basic cm9vdDpw", `127.0.0.1:${port}`],
    ...["10.0.0.1, 127.0.0.1", "keep-alive"],
  ]);
  assert.equal(answer.status, 201);
  assert.equal(answer.body.toString(), "done");
  assert.equal(answer.headers.get("x-etcd-index"), "7");
});

test("without endpoints 503, without a response 502, a member's own errors as they are", async (t) => {
  const { url } = await fakeMember(t, (_, response) => response.writeHead(500).end("mine"));
  const none = await makeProxy(t, []);
  const zero = await send(none.port, "GET", "/v2/keys/");
  assert.equal(zero.status, 503);
  assert.equal(zero.body.toString(), '{"message":"httpproxy: zero endpoints currently available"}');
  const dead = await makeProxy(t, ["http://127.0.0.1:1", "http://127.0.0.1:2"]);
  const failed = await send(dead.port, "GET", "/v2/keys/");
  assert.equal(failed.status, 502);
  const text = '{"message":"httpproxy: unable to get response from 2 endpoint(s)"}';
  assert.equal(failed.body.toString(), text);
  assert.equal((await send(dead.port, "GET", "/v2/keys/")).status, 503, "both are left alone");
  const bad = await makeProxy(t, [url]);
  const own = await send(bad.port, "GET", "/v2/keys/");
  assert.deepEqual([own.status, own.body.toString()], [500, "mine"]);
  const page = (await send(dead.port, "GET", "/metrics")).body.toString();
  assert.match(page, /etcd_proxy_dropped_total\{[^}]*failed_sending_request[^}]*\} 2\n/);
  assert.match(page, /etcd_proxy_requests_total\{method="GET"\} 2\n/);
});

test("a dead endpoint is passed over; a write that may have arrived is not sent twice", async (t) => {
  let calls = 0;
  const breaking = await fakeMember(t, (request) => {
    calls++;
    request.socket.destroy();
  });
  const good = await fakeMember(t, (_, response) => response.end("good"));
  for (const [method, form, status] of [
    ["GET", undefined, 200],
    ["PUT", "value=x", 200],
    ["PUT", "value=x&prevExist=false", 502],
    ["POST", "value=x", 502],
    ["DELETE", undefined, 502],
  ] as const) {
    // The order is drawn: repeat until the breaking one came first.
    for (calls = 0; calls === 0; ) {
      const { port } = await makeProxy(t, [breaking.url, good.url]);
      const answer = await send(port, method, "/v2/keys/a", form);
      if (calls > 0) assert.equal(answer.status, status, `${method} ${form}`);
    }
    assert.equal(calls, 1);
  }
  const { port } = await makeProxy(t, ["http://127.0.0.1:1", good.url]);
  assert.equal((await send(port, "POST", "/v2/keys/a", "value=x")).status, 200);
});

test("headers of a watch come before its event; the client's end is the member's", async (t) => {
  let watch: ServerResponse | undefined;
  const { url } = await fakeMember(t, (_, response) => {
    watch = response;
    response.writeHead(200, { "X-Etcd-Index": "3" });
    response.flushHeaders();
  });
  const { port } = await makeProxy(t, [url]);
  const stream = await open(port, { method: "GET", path: "/v2/keys/a?wait=true&stream=true" });
  assert.equal(stream.headers.get("x-etcd-index"), "3");
  watch?.write('{"a":1}\n');
  await stream.untilLines(1, 5000);
  assert.deepEqual(stream.lines, ['{"a":1}']);
  const gone = once(watch as ServerResponse, "close");
  stream.close();
  await gone;
});

test("half a response ends as such", async (t) => {
  const { url } = await fakeMember(t, (_, response) => {
    response.write("half");
    setImmediate(() => response.destroy());
  });
  const { port } = await makeProxy(t, [url]);
  const stream = await open(port, { method: "GET", path: "/v2/keys/a" });
  await stream.ended;
  assert.equal(stream.isComplete, false);
});

test("what a client does not read stops the member", async (t) => {
  const part = Buffer.alloc(65_536);
  let sent = 0;
  const { url } = await fakeMember(t, (_, response) => {
    const more = () => {
      while (sent < 2 ** 30) {
        sent += part.length;
        if (!response.write(part)) {
          response.once("drain", more);
          return;
        }
      }
    };
    more();
  });
  const { port } = await makeProxy(t, [url]);
  const socket = connect(port, "127.0.0.1");
  socket.write("GET /v2/keys/a HTTP/1.1\r\nHost: x\r\n\r\n");
  socket.pause();
  let before = -1;
  await until(
    "the member is stopped",
    20_000,
    () => {
      const isStopped = sent > 0 && sent === before;
      before = sent;
      return isStopped;
    },
    300,
  );
  // The kernel's buffers of two connections, and two of Node's.
  assert.ok(sent < 64 * 2 ** 20, `${sent} bytes were taken`);
  socket.destroy();
});

test("readonly: 501 for all but GET; config and CORS are the proxy's own", async (t) => {
  const { url } = await fakeMember(t, (_, response) => {
    response.writeHead(200, ["Access-Control-Allow-Origin", "*", "X-B", "1"]).end("x");
  });
  const readonly = await makeProxy(t, [url], { isReadonly: true });
  for (const method of ["PUT", "POST", "DELETE", "HEAD", "OPTIONS"]) {
    const answer = await send(readonly.port, method, "/v2/keys/a");
    assert.deepEqual([answer.status, answer.body.length], [501, 0], method);
  }
  assert.equal((await send(readonly.port, "GET", "/v2/keys/a")).status, 200);

  const { port } = await makeProxy(t, [url], { corsOrigins: ["http://web"] });
  const config = await send(port, "GET", "/v2/config/local/proxy");
  assert.equal(config.body.toString(), `{"endpoints":["${url}"]}\n`);
  const put = await send(port, "PUT", "/v2/config/local/proxy");
  assert.deepEqual([put.status, put.headers.get("allow")], [405, "GET"]);
  const origin = { Origin: "http://web" };
  const cors = await request(port, { method: "GET", path: "/v2/keys/a", headers: origin });
  assert.equal(cors.headers.get("access-control-allow-origin"), "http://web");
  assert.equal(cors.headers.get("x-b"), "1");
  const options = await request(port, { method: "OPTIONS", path: "/", headers: origin });
  assert.deepEqual([options.status, options.body.length], [200, 0]);
});

test("a read timeout ends a watch; a body that every member rejects is cut short", async (t) => {
  let bytes = 0;
  const { url } = await fakeMember(t, (request, response, body) => {
    bytes = body.length;
    if (request.method === "PUT") response.end("ok");
    else response.writeHead(200).flushHeaders();
  });
  const { port } = await makeProxy(t, [url], { times: { readTimeoutMs: 100 } });
  const watch = await open(port, { method: "GET", path: "/v2/keys/a?wait=true" });
  await watch.ended;
  assert.equal(watch.isComplete, false);
  const large = Buffer.alloc(11 * 1024 * 1024, "x");
  const answer = await request(port, { method: "PUT", path: "/v2/keys/a", body: large });
  assert.equal(answer.status, 200);
  assert.equal(bytes, 10 * 1024 * 1024 + 1);
});

test("bodies take up room until they are answered, and give it back however they end", async (t) => {
  const waiting: ServerResponse[] = [];
  const { url } = await fakeMember(t, (_, response) => waiting.push(response));
  const room = new BodyRoom(1000);
  const { port } = await makeProxy(t, [url], { bodyRoom: room });
  const put = (bytes: number) => send(port, "PUT", "/v2/keys/a", `value=${"x".repeat(bytes)}`);
  const first = put(600);
  await until("the member has it", 5000, () => waiting.length === 1);
  const second = await put(600);
  assert.equal(second.status, 500);
  assert.match(second.body.toString(), /"errorCode":300,.*too many requests/);
  waiting.shift()?.end("done");
  assert.equal((await first).status, 200);
  // Half a body, and no more.
  const socket = connect(port, "127.0.0.1");
  socket.write(
    `PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n${"x".repeat(800)}`,
  );
  await until("it takes up room", 5000, () => {
    const isFree = room.take(500);
    if (isFree) room.give(500);
    return !isFree;
  });
  socket.destroy();
  await until("its room is free again", 5000, () => {
    const isFree = room.take(1000);
    if (isFree) room.give(1000);
    return isFree;
  });
});

test("a large body without room is read to its end: its connection serves the next request", async (t) => {
  const { url } = await fakeMember(t, (_, response) => response.end("next"));
  const { port } = await makeProxy(t, [url], { bodyRoom: new BodyRoom(1000) });
  const socket = connect(port, "127.0.0.1");
  t.after(() => socket.destroy());
  const large = "x".repeat(3_000_000);
  const put = `PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: ${large.length}\r\n\r\n`;
  socket.write(`${put}${large}GET /v2/keys/b HTTP/1.1\r\nHost: x\r\n\r\n`);
  let answers = "";
  socket.on("data", (bytes) => {
    answers += bytes;
  });
  await until("both are answered", 5000, () => answers.includes("next"));
  assert.match(answers, /^HTTP\/1.1 500 .*too many requests.*HTTP\/1.1 200 /s);
});

test("a member that does not speak HTTP, or stops in the middle of a head: 502", async (t) => {
  for (const text of ["SSH-2.0-x\r\n", "HTTP/1.1 200 OK\r\nX-A: 1\r\n", "HTTP/1.1 2"]) {
    const server = createTcpServer((socket) => {
      socket.on("error", () => undefined);
      socket.once("data", () => socket.end(text));
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    t.after(() => server.close());
    const { port } = await makeProxy(t, [
      `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ]);
    assert.equal((await send(port, "GET", "/v2/keys/a")).status, 502, text);
  }
});
