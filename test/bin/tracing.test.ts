import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { open, request, send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { type ReceivedSpan, TestCollector } from "../support/otlp.js";
import { freePorts } from "../support/ports.js";
import { until } from "../support/until.js";

const ENABLED = "--experimental-enable-distributed-tracing";
const flag = (name: string, value: string) => `--experimental-distributed-tracing-${name}=${value}`;
const TRACE = "0af7651916cd43dd8448eb211c80319c";
const CALLER = "b7ad6b7169203331";

/** A member whose spans leave within 50 ms. */
async function traced(flags: readonly string[]): Promise<TestMember> {
  return await startWith({ OTEL_BSP_SCHEDULE_DELAY: "50" }, [ENABLED, ...flags]);
}

async function startWith(
  variables: Readonly<Record<string, string>>,
  flags: readonly string[],
): Promise<TestMember> {
  Object.assign(process.env, variables);
  try {
    return await TestMember.create("ringd", flags);
  } finally {
    for (const name of Object.keys(variables)) delete process.env[name];
  }
}

async function spanOf(
  collector: TestCollector,
  isWanted: (span: ReceivedSpan) => boolean,
): Promise<ReceivedSpan> {
  let found: ReceivedSpan | undefined;
  await until("the span arrives", 10_000, async () => {
    found = collector.spans.find(isWanted);
    return found !== undefined;
  });
  assert.ok(found !== undefined);
  return found;
}

for (const kind of ["uws", "node"]) {
  test(`requests to a ${kind} frontend become spans below their callers'`, async () => {
    const collector = await TestCollector.start();
    const member = await traced([
      ...[flag("address", `127.0.0.1:${collector.port}`), flag("service-name", "store")],
      ...[flag("instance-id", "n1"), `--frontend=${kind}`],
    ]);
    try {
      const answer = await request(member.port, {
        method: "PUT",
        path: "/v2/keys/dir/k?ttl=100",
        headers: {
          "Content-Type": "application/x-www-form-urlencoded",
          traceparent: `00-${TRACE}-${CALLER}-01`,
          "X-Request-Id": "client-7",
        },
        body: "value=secret",
      });
      assert.equal(answer.status, 201);
      const span = await spanOf(collector, ({ name }) => name === "PUT /v2/keys");
      assert.deepEqual([span.traceId, span.parentId, span.kind], [TRACE, CALLER, 2]);
      assert.notEqual(span.spanId, CALLER);
      assert.match(String(span.attributes["ringd.request_id"]), /^0-\d+$/);
      delete span.attributes["ringd.request_id"];
      assert.deepEqual(span.attributes, {
        "http.request.method": "PUT",
        "url.path": "/v2/keys/dir/k",
        "http.route": "/v2/keys",
        "client.address": span.attributes["client.address"],
        "http.request.header.x-request-id": ["client-7"],
        "http.response.status_code": 201,
        "etcd.index": Number(answer.headers.get("x-etcd-index")),
        "http.response.body.size": answer.body.length,
      });
      assert.match(String(span.attributes["client.address"]), /127\.0\.0\.1$|:0001$/);
      assert.equal(span.resource["service.name"], "store");
      assert.equal(span.resource["service.instance.id"], "n1");
      assert.ok(!JSON.stringify(collector.spans).includes("secret"));
      // Callers that are not sampled, or malformed, and requests without one: none by default.
      for (const traceparent of [`00-${TRACE}-${CALLER}-00`, "00-zz-1-01", ""]) {
        const headers: Record<string, string> = traceparent === "" ? {} : { traceparent };
        await request(member.port, { method: "GET", path: "/v2/keys/dir/k", headers });
      }
      const headers = { traceparent: `00-${TRACE}-${CALLER}-01` };
      await request(member.port, { method: "GET", path: "/v2/keys/absent", headers });
      const last = await spanOf(collector, ({ name }) => name === "GET /v2/keys");
      assert.equal(last.attributes["http.response.status_code"], 404);
      assert.equal(last.status, 0, "only failures of the server are errors");
      assert.equal(collector.spans.length, 2);
    } finally {
      await member.destroy();
      collector.close();
    }
  });
}

test("with a sampling rate traces begin here; watches end with their headers", async () => {
  const collector = await TestCollector.start();
  const member = await traced([
    flag("address", `127.0.0.1:${collector.port}`),
    flag("sampling-rate", "1000000"),
  ]);
  try {
    const watch = await open(member.port, { method: "GET", path: "/v2/keys/w?wait=true" });
    const seen = await spanOf(collector, ({ attributes }) => attributes["etcd.watch"] === true);
    assert.equal(seen.parentId, "");
    assert.equal(seen.attributes["http.response.status_code"], 200);
    await send(member.port, "PUT", "/v2/keys/w", "value=1");
    await watch.ended;
    await request(member.port, { method: "GET", path: "/version" });
    await request(member.port, { method: "BREW", path: "/coffee" });
    await spanOf(collector, ({ name }) => name === "GET /version");
    const odd = await spanOf(collector, ({ name }) => name === "OTHER");
    assert.equal(odd.attributes["http.request.method"], "_OTHER");
    await member.end("SIGTERM");
    const last = collector.spans.filter(({ name }) => name === "PUT /v2/keys");
    assert.equal(last.length, 1);
  } finally {
    await member.destroy();
    collector.close();
  }
});

test("of a long head a span keeps a part", async () => {
  const collector = await TestCollector.start();
  const member = await traced([
    ...[flag("address", `127.0.0.1:${collector.port}`), "--frontend=node"],
  ]);
  try {
    const path = `/v2/keys/${"k".repeat(10_000)}`;
    const headers = {
      ...{ traceparent: `00-${TRACE}-${CALLER}-01`, tracestate: `a=${"b".repeat(600)}` },
      "X-Request-Id": "i".repeat(1000),
    };
    await request(member.port, { method: "GET", path, headers });
    const { attributes } = await spanOf(collector, ({ name }) => name === "GET /v2/keys");
    assert.equal(attributes["url.path"], path.slice(0, 1024));
    assert.deepEqual(attributes["http.request.header.x-request-id"], ["i".repeat(256)]);
  } finally {
    await member.destroy();
    collector.close();
  }
});

test("a collector that cannot be reached costs a line, and spans arrive once it can", async () => {
  const [port] = await freePorts(1);
  const member = await traced([
    ...[
      flag("address", `127.0.0.1:${port}`),
      flag("sampling-rate", "1000000"),
      "--frontend-threads=2",
    ],
  ]);
  let collector: TestCollector | undefined;
  try {
    const what = /cannot send traces to the collector/g;
    let sent = 0;
    await until("it is warned of", 30_000, async () => {
      await send(member.port, "PUT", `/v2/keys/k${sent++}`, "value=1");
      return what.test(member.log);
    });
    for (let i = 0; i < 100; i++) await send(member.port, "PUT", `/v2/keys/k${i}`, "value=1");
    // One for each thread.
    assert.ok((member.log.match(what)?.length ?? 0) <= 2);
    collector = await TestCollector.start(port);
    const { spans } = collector;
    await until("spans arrive", 60_000, async () => {
      await send(member.port, "GET", "/v2/keys/k0");
      return spans.length > 0;
    });
    await until("that is logged", 10_000, async () => {
      return member.log.includes("traces are sent to the collector again");
    });
    collector.close();
    assert.equal(await member.end("SIGTERM"), 0, "the end waits for nobody");
  } finally {
    await member.destroy();
    collector?.close();
  }
});

test("without tracing none of the SDK is loaded, in any thread", async () => {
  const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
  const seenBy = async (name: string, flags: readonly string[]) => {
    const file = join(dir, name);
    const code = `
      import Module from "node:module"; import { appendFileSync } from "node:fs";
      const load = Module._load;
      Module._load = function (name, ...rest) {
        if (/opentelemetry|grpc/.test(name)) appendFileSync(${JSON.stringify(file)}, name + "\\n");
        return load.call(this, name, ...rest);
      };`;
    const url = `data:text/javascript;base64,${Buffer.from(code).toString("base64")}`;
    const variables = { NODE_OPTIONS: `--import=${url}` };
    const member = await startWith(variables, [...flags, "--frontend-threads=2"]);
    await send(member.port, "PUT", "/v2/keys/k", "value=1");
    await member.destroy();
    return existsSync(file) ? readFileSync(file, "utf8") : "";
  };
  try {
    assert.equal(await seenBy("off", ["--metrics=extensive"]), "");
    assert.match(await seenBy("on", [ENABLED]), /@opentelemetry\/core/);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("without the optional dependencies one line says so, before anything is written", async () => {
  const hooks = `export async function resolve(name, context, next) {
    if (name.startsWith("@opentelemetry/")) throw new Error("Cannot find package");
    return next(name, context);
  }`;
  const code = `import { register } from "node:module";
    register("data:text/javascript;base64,${Buffer.from(hooks).toString("base64")}");`;
  const url = `data:text/javascript;base64,${Buffer.from(code).toString("base64")}`;
  const member = await TestMember.make("ringd", [ENABLED]);
  process.env.NODE_OPTIONS = `--import=${url}`;
  const child = member.launch();
  delete process.env.NODE_OPTIONS;
  const [exitCode] = await once(child, "close");
  assert.equal(exitCode, 1);
  assert.match(
    member.log,
    /^--experimental-enable-distributed-tracing needs ringd's optional dependencies.*$/m,
  );
  assert.ok(!existsSync(member.dataDir));
  await member.destroy();
});
