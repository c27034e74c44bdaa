import assert from "node:assert/strict";
import { test } from "node:test";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";

const SECONDS = 0.3;

interface CpuProfile {
  readonly nodes: readonly { readonly callFrame: { readonly functionName: string } }[];
  readonly samples: readonly number[];
}

interface HeapProfile {
  readonly head: { readonly selfSize: number; readonly children: readonly unknown[] };
}

async function text(port: number, path: string): Promise<[number, string]> {
  const { status, body } = await send(port, "GET", path);
  return [status, body.toString()];
}

test("--enable-pprof: profiles of every thread, one at a time, on the client URL", async () => {
  const member = await TestMember.create("ringd", ["--enable-pprof", "--frontend-threads", "2"]);
  const { port } = member;
  try {
    const [status, index] = await text(port, "/debug/pprof/");
    assert.equal(status, 200);
    assert.match(index, /threads: core, wal, peer, main, frontend1\n$/);
    for (const thread of ["core", "wal", "peer", "main", "frontend1"]) {
      const query = `?seconds=${SECONDS}&thread=${thread}`;
      const [cpuStatus, cpu] = await text(port, `/debug/pprof/profile${query}`);
      assert.equal(cpuStatus, 200, `${thread}: ${cpu}`);
      const { nodes, samples } = JSON.parse(cpu) as CpuProfile;
      assert.ok(
        nodes.some(({ callFrame }) => callFrame.functionName === "(root)"),
        thread,
      );
      assert.ok(samples.length > 0, thread);
      const [heapStatus, heap] = await text(port, `/debug/pprof/heap${query}`);
      assert.equal(heapStatus, 200, `${thread}: ${heap}`);
      assert.equal(typeof (JSON.parse(heap) as HeapProfile).head.selfSize, "number");
    }
    const both = ["profile", "heap"].map((kind) => text(port, `/debug/pprof/${kind}?seconds=2`));
    const statuses = (await Promise.all(both)).map(([code]) => code);
    assert.deepEqual(
      statuses.sort((a, b) => a - b),
      [200, 429],
    );
    const wrong = [
      ["/debug/pprof/allocs", /no profile "allocs": use profile or heap/],
      ["/debug/pprof/heap?seconds=0", /seconds=0: a number above 0, up to 300/],
      ["/debug/pprof/heap?seconds=x", /seconds=x/],
      ["/debug/pprof/heap?thread=pool", /thread=pool: one of core, wal, peer, main, frontend1/],
    ] as const;
    for (const [path, why] of wrong) {
      const [code, body] = await text(port, path);
      assert.equal(code, 400, path);
      assert.match(body, why);
    }
    assert.equal((await send(port, "PUT", "/debug/pprof/heap")).status, 405);
    assert.equal(await member.end("SIGTERM"), 0);
  } finally {
    await member.destroy();
  }
});

test("with a metrics listener profiles are served there alone, and without the flag nowhere", async () => {
  const ports = await freePorts(2);
  const urls = ports.map((port) => `http://127.0.0.1:${port}`);
  const [on, off] = await Promise.all([
    TestMember.create("ringd", ["--enable-pprof", "--listen-metrics-urls", String(urls[0])]),
    TestMember.create("ringd", ["--listen-metrics-urls", String(urls[1])]),
  ]);
  try {
    const path = `/debug/pprof/profile?seconds=${SECONDS}`;
    assert.equal((await text(ports[0] as number, path))[0], 200);
    assert.deepEqual(await text(on.port, path), [
      404,
      "profiles are served on --listen-metrics-urls\n",
    ]);
    for (const port of [off.port, ports[1] as number]) {
      const why = "profiling is off; start the member with --enable-pprof\n";
      assert.deepEqual(await text(port, path), [404, why]);
    }
  } finally {
    await Promise.all([on.destroy(), off.destroy()]);
  }
});
