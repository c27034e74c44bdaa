import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, connect, createServer as createTcpServer } from "node:net";
import { test } from "node:test";
import { httpRegistry } from "#ringd/discovery/registry.js";

async function serve(
  t: { after(work: () => void): void },
  handle: (request: IncomingMessage, response: ServerResponse) => void,
) {
  const server = createServer(handle).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

const get = (url: string, timeoutMs = 5000) => ({ method: "GET", url, timeoutMs }) as const;

test("redirects are followed, also of a PUT with its form", async (t) => {
  const { url } = await serve(t, (request, response) => {
    if (request.url === "/a") response.writeHead(307, { Location: "/b?x=1" }).end();
    else {
      let body = "";
      request.on("data", (part) => {
        body += part;
      });
      request.on("end", () => {
        response.setHeader("X-Etcd-Index", "7");
        response.end(JSON.stringify({ path: request.url, method: request.method, body }));
      });
    }
  });
  const put = { method: "PUT", url: `${url}/a`, value: "n1=http://a:1", timeoutMs: 5000 } as const;
  const answer = await httpRegistry("").call(put);
  assert.deepEqual(answer, {
    status: 200,
    index: 7,
    body: { path: "/b?x=1", method: "PUT", body: "value=n1%3Dhttp%3A%2F%2Fa%3A1" },
  });
});

test("no connection, silence, an error of the server: to be repeated", async (t) => {
  const { url } = await serve(t, (request, response) => {
    if (request.url === "/500") response.writeHead(500).end("{}");
    else if (request.url === "/loop") response.writeHead(302, { Location: "/loop" }).end();
    else if (request.url === "/bad") response.writeHead(302, { Location: "http://a:b" }).end();
  });
  const registry = httpRegistry("");
  const unreachable = { name: "DiscoveryUnreachableError" };
  await assert.rejects(registry.call(get(`${url}/500`)), unreachable);
  await assert.rejects(registry.call(get(`${url}/loop`)), unreachable);
  await assert.rejects(registry.call(get(`${url}/bad`)), unreachable);
  await assert.rejects(registry.call(get(`${url}/silent`, 50)), /no response within 50 ms/);
  await assert.rejects(registry.call(get("http://127.0.0.1:1/t")), unreachable);
});

test("an HTTP proxy gets whole URLs, and its credentials", async (t) => {
  let seen: unknown;
  const { url } = await serve(t, (request, response) => {
    seen = [request.url, request.headers.host, request.headers["proxy-authorization"]];
    response.end("{}");
  });
  const proxy = url.replace("http://", "u:p%40@");
  await httpRegistry(proxy).call(get("http://disc.invalid/t?wait=true"));
  const basic = `Basic ${Buffer.from("u:p@").toString("base64")}`;
  assert.deepEqual(seen, ["http://disc.invalid/t?wait=true", "disc.invalid", basic]);
});

test("https goes through a proxy by CONNECT; a refusal is to be repeated", async (t) => {
  const { server, url } = await serve(t, () => undefined);
  const asked: (string | undefined)[] = [];
  // Not a TLS server: the handshake's first byte is what matters here.
  const target = createTcpServer((socket) => {
    socket.once("data", (bytes) => {
      asked.push(`handshake ${bytes[0]}`);
      socket.destroy();
    });
  }).listen(0, "127.0.0.1");
  await once(target, "listening");
  t.after(() => target.close());
  const { port } = target.address() as AddressInfo;
  server.on("connect", (request, socket) => {
    asked.push(request.url);
    if (asked.length > 2) {
      socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
      return;
    }
    const through = connect(port, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      socket.pipe(through).pipe(socket);
    });
    through.on("error", () => socket.destroy());
    socket.on("error", () => through.destroy());
  });
  const unreachable = { name: "DiscoveryUnreachableError" };
  await assert.rejects(httpRegistry(url).call(get("https://disc.invalid/t")), unreachable);
  assert.deepEqual(asked, ["disc.invalid:443", "handshake 22"]);
  await assert.rejects(
    httpRegistry(url).call(get("https://disc.invalid/t")),
    /answered CONNECT with 403/,
  );
});

test("a handshake through a proxy that takes too long is given up", {
  timeout: 20_000,
}, async (t) => {
  const { server, url } = await serve(t, () => undefined);
  const closed = new Promise<void>((resolve) => {
    server.on("connect", (_, socket) => {
      socket.on("error", () => undefined);
      socket.on("end", () => {
        socket.destroy();
        resolve();
      });
      socket.resume();
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
    });
  });
  await assert.rejects(
    httpRegistry(url).call(get("https://disc.invalid/t", 100)),
    /no response within 100 ms/,
  );
  await closed;
});
