import assert from "node:assert/strict";
import { test } from "node:test";
import { request, send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";

for (const frontend of ["uws", "node"] as const) {
  test(`${frontend}: --listen-metrics-urls serve /metrics and /health, and nothing else`, async () => {
    const ports = await freePorts(2);
    const urls = ports.map((port) => `http://127.0.0.1:${port}`).join(",");
    const args = ["--frontend", frontend, "--listen-metrics-urls", urls];
    const member = await TestMember.create("ringd", args);
    try {
      assert.match(member.log, /serving metrics on http:\/\/127\.0\.0\.1:\d+/);
      for (const port of ports) {
        const health = await send(port, "GET", "/health");
        assert.equal(health.status, 200);
        assert.equal(health.body.toString(), '{"health":"true"}');
        const metrics = await send(port, "GET", "/metrics");
        assert.equal(metrics.status, 200);
        assert.match(metrics.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
        assert.match(metrics.body.toString(), /^etcd_server_has_leader 1$/m);
        for (const path of ["/health", "/metrics"]) {
          const { status, body } = await request(port, { method: "HEAD", path });
          const own = await request(member.port, { method: "HEAD", path });
          assert.deepEqual({ status, bytes: body.length }, { status: own.status, bytes: 0 });
        }
        for (const path of [
          "/",
          "/v2/keys/",
          "/v2/members",
          "/version",
          "/metrics/",
          "/debug/vars",
        ]) {
          const { status, body } = await send(port, "GET", path);
          assert.equal(status, 404, path);
          assert.equal(body.toString(), "404 page not found\n");
        }
        const written = await send(port, "PUT", "/v2/keys/a", "value=1");
        assert.equal(written.status, 404);
      }
      assert.equal((await send(member.port, "GET", "/v2/keys/a")).status, 404);
      assert.equal(await member.end("SIGTERM"), 0);
    } finally {
      await member.destroy();
    }
  });
}
