import assert from "node:assert/strict";
import { test } from "node:test";
import type { Config } from "#ringd/config/config.js";
import { RaftMetrics } from "#ringd/member/metrics.js";
import { Reads } from "#ringd/member/reads.js";
import { SlowWarnings } from "#ringd/member/slow-warnings.js";
import { createMetricsMemory, MetricCells } from "#ringd/metrics/cells.js";
import { cellOf } from "#ringd/metrics/families.js";
import type { RaftStatus } from "#ringd/raft/raft.js";
import { Method } from "#ringd/v2/request.js";
import { OneMember } from "./one-member.js";

type Line = readonly [fields: Record<string, unknown>, text: string];

/** A member with these thresholds; each below 0 makes everything slow. */
function memberWith(slow: Config["slow"]): { member: OneMember; lines: (text: string) => Line[] } {
  const member = new OneMember({}, 65_536, 1, undefined, [], { slow });
  const lines = (text: string) => member.lines.filter((line) => line[1] === text) as Line[];
  return { member, lines };
}

test("a slow batch is logged in etcd's words, with its requests, and counted", () => {
  const { member, lines } = memberWith({ applyMs: -1, requestMs: Number.POSITIVE_INFINITY });
  const before = member.metric("slowApplies");
  member.lines.length = 0;
  const put = member.ask("put", "/v2/keys/d/k%C3%A9", "value=secret");
  member.until("it is written", () => put.status === 201);
  const line = lines("apply request took too long").find(([{ request }]) =>
    String(request).includes("/1/d"),
  );
  assert.ok(line !== undefined);
  const { took, proposal, ...fields } = line[0];
  assert.match(String(took), /^[\d.]+(µs|ms|s)$/);
  assert.match(String(proposal), /^[0-9a-f]{1,16}-[0-9a-f]+$/);
  assert.deepEqual(fields, {
    "expected-duration": "-1ms",
    prefix: "",
    request: 'method:"set" path:"/1/d/ké" recursive:false value_size:6',
    entries: 1,
    "first-index": fields["first-index"],
    "last-index": fields["first-index"],
  });
  assert.ok(!JSON.stringify(member.lines).includes("secret"), "values are nobody's business");
  assert.ok(member.metric("slowApplies") > before);
});

test("of a slow batch the line names what may take long, a recursive delete", () => {
  const { member, lines } = memberWith({ applyMs: -1, requestMs: Number.POSITIVE_INFINITY });
  const made = member.ask("put", "/v2/keys/d/k", "value=1");
  member.until("it is written", () => made.status === 201);
  member.lines.length = 0;
  const asked = [
    member.ask("put", "/v2/keys/a", "value=1"),
    member.ask("delete", "/v2/keys/d?recursive=true"),
    member.ask("put", "/v2/keys/b", "value=1"),
  ];
  member.until("all are done", () => asked.every(({ status }) => status > 0));
  const requests = lines("apply request took too long").map(([{ request }]) => request);
  assert.ok(requests.includes('method:"delete" path:"/1/d" recursive:true value_size:0'));
});

test("a read by quorum is logged with the number of its request; another read is not", () => {
  const { member, lines } = memberWith({ applyMs: -1, requestMs: Number.POSITIVE_INFINITY });
  member.lines.length = 0;
  const get = member.ask("get", "/v2/keys?quorum=true&recursive=true");
  const local = member.ask("get", "/v2/keys");
  member.until("both are read", () => get.status === 200 && local.status === 200);
  const reads = lines("apply request took too long").filter(([{ prefix }]) => prefix !== "");
  assert.equal(reads.length, 1);
  assert.equal(reads[0]?.[0].prefix, "read-only range ");
  assert.equal(reads[0]?.[0].request, 'method:"QGET" path:"/1" recursive:true');
  assert.match(String(reads[0]?.[0]["request-id"]), /^0-\d+$/);
});

test("a slow write is logged with its times, its sizes and both of its numbers", () => {
  const { member, lines } = memberWith({ applyMs: Number.POSITIVE_INFINITY, requestMs: -1 });
  member.lines.length = 0;
  const put = member.ask("put", "/v2/keys/k", "value=secret");
  member.until("it is written", () => put.status === 201);
  const [line, ...more] = lines("request stats");
  assert.ok(line !== undefined && more.length === 0);
  assert.equal(line[0]["expected-duration"], "-1ms");
  assert.equal(line[0]["request content"], 'method:"set" path:"/1/k" recursive:false value_size:6');
  assert.match(String(line[0]["start time"]), /^\d{4}-.*Z$/);
  assert.match(String(line[0]["time spent"]), /^(0|[\d.]+(µ|m)?)s$/);
  assert.match(String(line[0]["request-id"]), /^0-\d+$/);
  assert.match(String(line[0].proposal), /^[0-9a-f]+-[0-9a-f]+$/);
  assert.ok(Number(line[0]["request size"]) > 40);
  assert.deepEqual(lines("apply request took too long"), []);
});

test("when many are slow, each turn has one line, and the next one counts the others", () => {
  const lines: Line[] = [];
  const log = { warn: (...line: Line) => lines.push(line) };
  const metrics = new MetricCells(createMetricsMemory(1), 0);
  const limits = { applyMs: 100, requestMs: 300 };
  const slow = new SlowWarnings(limits, 1n, metrics, log as never);
  const read = (requestId: number, monoMs: number) => {
    const client = { frontend: 0, requestId, method: Method.get };
    slow.read(client, "/1/k", false, 200, { wallMs: 0, monoMs, clusterMs: 0 });
  };
  for (const [requestId, monoMs] of [
    [1, 5],
    [2, 5],
    [3, 5],
    [4, 6],
    [5, 7],
  ] as const) {
    read(requestId, monoMs);
  }
  assert.deepEqual(
    lines.map(([fields]) => [fields["request-id"], fields["also-slow"]]),
    [
      ["0-1", undefined],
      ["0-4", 2],
      ["0-5", undefined],
    ],
  );
  assert.equal(metrics.get(cellOf("slowApplies")), 5, "all are counted");
});

test("nothing is logged of what is fast enough", () => {
  const never = Number.POSITIVE_INFINITY;
  const { member } = memberWith({ applyMs: never, requestMs: never });
  member.lines.length = 0;
  const put = member.ask("put", "/v2/keys/k", "value=1");
  const get = member.ask("get", "/v2/keys/k?quorum=true");
  member.until("both are done", () => put.status === 201 && get.status > 0);
  assert.deepEqual(member.lines, []);
});

test("heartbeats that a leader sends late are logged in etcd's words", () => {
  const lines: Line[] = [];
  const log = { warn: (...line: Line) => lines.push(line) };
  const metrics = new MetricCells(createMetricsMemory(1), 0);
  const raft = new RaftMetrics(metrics, 100, log as never);
  const peers = [2n, 255n].map((id) => ({ id, match: 1, next: 2, state: "replicate" }));
  const status = {
    ...{ id: 1n, role: "leader", term: 1, vote: 1n, lead: 1n, commit: 1, lastIndex: 1, peers },
    conf: { voters: [1n, 2n, 255n], learners: [] },
  } as unknown as RaftStatus;
  raft.onTick(status, 100);
  raft.onTick(status, 300);
  assert.deepEqual(lines, []);
  raft.onTick(status, 850);
  const text =
    "leader failed to send out heartbeat on time; took too long, leader is overloaded likely from slow disk";
  assert.deepEqual(lines, [
    [
      {
        to: "2,ff",
        "heartbeat-interval": "100ms",
        "expected-duration": "200ms",
        "exceeded-duration": "350ms",
      },
      text,
    ],
  ]);
  assert.equal(metrics.get(cellOf("heartbeatSendFailures")), 2);
});

test("reads that wait for an index in vain are logged once a tick", () => {
  const lines: Line[] = [];
  const log = { warn: (...line: Line) => lines.push(line) };
  const metrics = new MetricCells(createMetricsMemory(1), 0);
  const raft = { readIndex: () => true } as never;
  const reads = new Reads(raft, { metrics, log: log as never, hasRoom: () => true });
  for (const isHealthCheck of [true, false, false]) {
    const read = { frontend: 0, startMs: 0, isHealthCheck, confirmed: assert.fail };
    reads.add({ ...read, failed: () => undefined });
  }
  reads.expire(500, 7000, () => "timed out");
  assert.deepEqual(lines, []);
  reads.expire(1000, 7000, () => "timed out");
  reads.expire(7000, 7000, () => "timed out");
  const text = "timed out waiting for read index response (local node might have slow network)";
  assert.deepEqual(lines, [
    [{ timeout: "1s", reads: 1 }, text],
    [{ timeout: "7s", reads: 2 }, text],
  ]);
  assert.equal(metrics.get(cellOf("slowReadIndexes")), 3);
});
