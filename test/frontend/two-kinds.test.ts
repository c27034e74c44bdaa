import assert from "node:assert/strict";
import { test } from "node:test";
import { readConfig } from "#ringd/config/config.js";
import type { Frontend } from "#ringd/frontend/frontend.js";
import { ListenError } from "#ringd/frontend/listen-error.js";
import { listen } from "#ringd/frontend/server.js";
import type { Logger } from "#ringd/log/logger.js";
import { open, send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";
import { RawConnection } from "./raw.js";

test("one member serves both kinds, each on its URL, with shared watches and metrics", async () => {
  const [oldPort] = (await freePorts(1)) as [number];
  const old = `http://127.0.0.1:${oldPort}`;
  const member = await TestMember.make("ringd");
  const flags = ["--frontend-threads", "2", "--frontend", `uws,${old}=node`];
  await member.start([...flags, "--listen-client-urls", `${member.clientUrl},${old}`]);
  try {
    const { port } = member;
    const probe = "GET /health HTTP/1.0\n\n";
    const refused = await RawConnection.open(port, probe.replaceAll("\n", "\r\n"));
    assert.match(await refused.untilClosed(), /^HTTP\/1\.1 505 /);
    const served = await RawConnection.open(oldPort, probe);
    served.socket.end();
    assert.match(await served.untilClosed(), /^HTTP\/1\.0 200 [\s\S]*\{"health":"true"\}$/);

    const ports = [port, oldPort, port, oldPort, port, oldPort];
    const path = "/v2/keys/seen?wait=true&stream=true";
    const watches = await Promise.all(ports.map((at) => open(at, { method: "GET", path })));
    const once = await RawConnection.open(oldPort, "GET /v2/keys/seen?wait=true HTTP/1.0\r\n\r\n");
    await once.until("\r\n\r\n");
    await send(oldPort, "PUT", "/v2/keys/seen", "value=1");
    await send(port, "PUT", "/v2/keys/seen", "value=2");
    for (const watch of watches) await watch.untilLines(2, 10_000);
    const seen = watches.map(({ lines }) => lines.map((line) => JSON.parse(line)));
    for (const events of seen) assert.deepEqual(events, seen[0]); // `uws` may insert a blank.
    assert.match(await once.untilClosed(), /\r\n\r\n\{"action":"set",[^\n]*"value":"1"[^\n]*\n$/);

    const figures = await send(oldPort, "GET", "/metrics");
    const open7 = /^ringd_frontend_connections(?:\{[^}]*\})? (\d+)$/m.exec(figures.body.toString());
    assert.ok(Number(open7?.[1]) >= 7, open7?.[0] ?? "no such figure");
    assert.equal(await member.end("SIGTERM"), 0);
    for (const watch of watches) await watch.ended;
  } finally {
    await member.destroy();
  }
});

/** A frontend whose ports are in use, except those in `free`. */
function busy(free: readonly number[], seen: string[], kind: string): Frontend {
  return {
    listen: (host, port) => {
      seen.push(`${kind} ${host}:${port}`);
      if (free.includes(port)) return Promise.resolve(port);
      return Promise.reject(new ListenError(`${host}:${port}`, "address already in use"));
    },
    listenUnix: () => Promise.resolve(),
    stopListening: () => undefined,
    close: () => undefined,
  };
}

async function listenWith(argv: readonly string[], free: readonly number[]) {
  const request = readConfig(argv, {});
  assert.ok(request.kind === "run");
  const seen: string[] = [];
  const warnings: string[] = [];
  const uws = busy(free, seen, "uws");
  const node = busy(free, seen, "node");
  const log = { info: () => undefined, warn: (text: string) => warnings.push(text) };
  const made = {
    all: [uws, node],
    shared: uws,
    of: (kind: string) => (kind === "uws" ? uws : node),
  };
  const { endpoints } = await listen(made, request.config, log as unknown as Logger);
  return { seen, warnings, endpoints };
}

test("the default port 4001 in use is a warning, 2379 an error", async () => {
  const { seen, warnings, endpoints } = await listenWith([], [2379]);
  assert.deepEqual(seen, ["uws 127.0.0.1:2379", "node 127.0.0.1:4001"]);
  assert.deepEqual(
    endpoints,
    [{ host: "127.0.0.1", port: 2379 }],
    "other threads share 2379 alone",
  );
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? "", /^Cannot listen on localhost:4001: address already in use/);
  await assert.rejects(listenWith([], [4001]), /Cannot listen on localhost:2379/);

  const both = "http://localhost:2379,http://localhost:4001";
  const asked = ["--listen-client-urls", both, "--advertise-client-urls", "http://localhost:2379"];
  await assert.rejects(listenWith(asked, [2379]), /Cannot listen on localhost:4001/);
});
