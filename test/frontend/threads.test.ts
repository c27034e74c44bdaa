import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { open, request, send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";

const RINGD = new URL("../../bin/ringd.js", import.meta.url).pathname;
const CLIENTS = 40;

async function ownPeerUrl(): Promise<string[]> {
  const [peerPort] = await freePorts(1);
  const url = `http://127.0.0.1:${peerPort}`;
  const flags = ["--listen-peer-urls", url, "--initial-advertise-peer-urls", url];
  return [...flags, "--initial-cluster", `default=${url}`];
}

/** Listening sockets of a port on 127.0.0.1, as Linux lists them. */
function listeners(port: number): number {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const LISTEN = "0A";
  return readFileSync("/proc/net/tcp", "utf8")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter((row) => row[1] === local && row[3] === LISTEN).length;
}

test("--frontend-threads 3 serves one port from three threads and stops cleanly", async () => {
  const member = await TestMember.create("ringd", ["--frontend-threads", "3"]);
  try {
    const { port } = member;
    assert.equal(listeners(port), 3);
    const puts = Array.from({ length: CLIENTS }, (_, i) =>
      send(port, "PUT", `/v2/keys/k${i}`, `value=${i}`),
    );
    for (const answer of await Promise.all(puts)) assert.equal(answer.status, 201);

    const watches = await Promise.all(
      Array.from({ length: CLIENTS }, () =>
        open(port, { method: "GET", path: "/v2/keys/k0?wait=true&stream=true" }),
      ),
    );
    await send(port, "PUT", "/v2/keys/k0", "value=seen");
    for (const watch of watches) {
      await watch.untilLines(1, 10_000);
      assert.match(watch.lines[0] ?? "", /"value":"seen"/);
    }

    const large = "v".repeat(50_000);
    for (let i = 0; i < 20; i++) await send(port, "PUT", `/v2/keys/large/${i}`, `value=${large}`);
    const listings = await Promise.all(
      Array.from({ length: CLIENTS }, () => send(port, "GET", "/v2/keys/large")),
    );
    for (const { body } of listings)
      assert.equal(JSON.parse(body.toString()).node.nodes.length, 20);

    // The metrics are the same on every thread.
    const started: string[] = [];
    for (let i = 0; i < CLIENTS / 2; i++) {
      const metrics = (await send(port, "GET", "/metrics")).body.toString();
      assert.match(metrics, /^ringd_ring_capacity_bytes\{ring="requests2"\}/m);
      started.push(/^process_start_time_seconds .*/m.exec(metrics)?.[0] ?? "");
      const level = await request(port, {
        method: "PUT",
        path: "/config/local/log",
        body: '{"Level":"INFO"}',
      });
      assert.equal(level.status, 204);
      assert.equal((await send(port, "GET", "/debug/nothing")).status, 404);
    }
    assert.equal(new Set(started).size, 1);

    assert.equal(await member.end("SIGTERM"), 0);
    for (const watch of watches) await watch.ended;
    assert.match(member.log, /stopped/);
    await member.start();
    assert.equal((await send(port, "GET", "/v2/keys/k39")).status, 200);

    // No other process can share the port.
    const url = `http://127.0.0.1:${port}`;
    const flags = ["--frontend-threads", "2", "--data-dir", `${member.dataDir}-2`];
    flags.push("--listen-client-urls", url, "--advertise-client-urls", url);
    flags.push(...(await ownPeerUrl()));
    const second = spawnSync(process.execPath, [RINGD, ...flags], {
      encoding: "utf8",
      timeout: 30_000,
    });
    assert.equal(second.status, 1, second.stderr);
    assert.match(second.stderr, /address already in use/);
  } finally {
    await member.destroy();
  }
});
