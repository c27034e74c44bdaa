import assert from "node:assert/strict";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { createMetricsMemory, MetricCells } from "#ringd/metrics/cells.js";
import { cellOf, FAMILIES, httpFailedCell } from "#ringd/metrics/families.js";
import type { Family } from "#ringd/metrics/family.js";
import { MetricsRegistry, type MetricsSample } from "#ringd/metrics/registry.js";
import { parseMetrics } from "./parse-metrics.js";

const SAMPLE: MetricsSample = {
  memberId: "8ddab73534be950c",
  serverVersion: "3.4.23",
  ringdVersion: "1.2.3",
  clusterVersion: "3.4.0",
  rings: [{ ring: "requests", usedBytes: 96, capacityBytes: 4096 }],
  openFiles: 21,
  openFilesMax: 1024,
};

test("the page shows the sum over all threads", async () => {
  const memory = createMetricsMemory(3);
  const parts = [0, 1, 2].map((part) => new MetricCells(memory, part));
  for (const [i, part] of parts.entries()) {
    part.add(cellOf("httpReceived", "PUT"), i + 1);
    part.add(cellOf("frontendInFlight"), 5);
    part.add(cellOf("frontendInFlight"), -2);
    part.add(httpFailedCell("GET", 404), 1);
    part.add(httpFailedCell("GET", 418), 1);
    part.observe(cellOf("httpDuration", "QGET"), 0.0005);
    part.observe(cellOf("httpDuration", "QGET"), 0.0006);
    part.observe(cellOf("httpDuration", "QGET"), 0.0006);
    part.observe(cellOf("httpDuration", "QGET"), 100);
  }
  parts[1]?.set(cellOf("hasLeader"), 1);
  parts[1]?.set(cellOf("proposalsApplied"), 41);
  parts[1]?.set(cellOf("proposalsApplied"), 42);
  const { values, types, helps } = parseMetrics(
    await new MetricsRegistry(memory, () => SAMPLE, true).render(),
  );

  const shown: readonly (readonly [string, number | undefined])[] = [
    ['etcd_http_received_total{method="PUT"}', 6],
    ['etcd_http_received_total{method="GET"}', undefined],
    ["ringd_frontend_in_flight", 9],
    ['etcd_http_failed_total{method="GET",code="404"}', 3],
    ['etcd_http_failed_total{method="GET",code="500"}', 3],
    ['etcd_http_successful_duration_seconds_bucket{method="QGET",le="0.0005"}', 3],
    ['etcd_http_successful_duration_seconds_bucket{method="QGET",le="0.001"}', 9],
    ['etcd_http_successful_duration_seconds_bucket{method="QGET",le="2.048"}', 9],
    ['etcd_http_successful_duration_seconds_bucket{method="QGET",le="+Inf"}', 12],
    ['etcd_http_successful_duration_seconds_count{method="QGET"}', 12],
    ['etcd_http_successful_duration_second_count{method="QGET"}', 12],
    ['etcd_http_successful_duration_seconds_count{method="GET"}', undefined],
    ["etcd_disk_wal_fsync_duration_seconds_count", 0],
    ['etcd_disk_wal_fsync_duration_seconds_bucket{le="8.192"}', 0],
    ["etcd_server_has_leader", 1],
    ["etcd_server_is_leader", 0],
    ["etcd_server_proposals_applied_total", 42],
    ['etcd_server_id{server_id="8ddab73534be950c"}', 1],
    ['etcd_server_version{server_version="3.4.23"}', 1],
    ['etcd_cluster_version{cluster_version="3.4"}', 1],
    ['ringd_ring_used_bytes{ring="requests"}', 96],
    ['ringd_ring_capacity_bytes{ring="requests"}', 4096],
  ];
  for (const [key, value] of shown) assert.equal(values.get(key), value, key);
  const sum = values.get('etcd_http_successful_duration_seconds_sum{method="QGET"}') ?? 0;
  assert.ok(Math.abs(sum - 3 * (0.0005 + 2 * 0.0006 + 100)) < 1e-9);
  for (const name of ["process_open_fds", "process_max_fds", "process_resident_memory_bytes"]) {
    assert.ok((values.get(name) ?? 0) > 0, name);
  }
  assert.equal(types.get("etcd_http_successful_duration_seconds"), "histogram");
  for (const family of Object.values(FAMILIES) as Family[]) {
    for (const name of [family.name, ...(family.aliases ?? [])]) {
      assert.equal(types.get(name), family.kind, name);
      assert.equal(helps.get(name), family.help, name);
    }
  }
});

test("every name is unique and follows Prometheus's rules, bounds ascend", () => {
  const families = Object.values(FAMILIES) as Family[];
  const names = families.flatMap((family) => [family.name, ...(family.aliases ?? [])]);
  assert.equal(new Set(names).size, names.length);
  for (const family of families) {
    assert.equal(family.kind === "histogram", family.bounds !== undefined, family.name);
    const bounds = family.bounds ?? [];
    assert.deepEqual(
      bounds,
      [...bounds].sort((a, b) => a - b),
    );
  }
});

test("unknown values show no series, and wrong cells are our bug", async () => {
  const memory = createMetricsMemory(1);
  const unknown = { ...SAMPLE, memberId: "", clusterVersion: "", rings: [] };
  const { values } = parseMetrics(await new MetricsRegistry(memory, () => unknown).render());
  const shown = [...values.keys()].filter((key) =>
    /server_id|etcd_cluster_version|ring_used/.test(key),
  );
  assert.deepEqual(shown, []);
  assert.throws(() => cellOf("httpReceived", "BREW"));
  assert.throws(() => cellOf("httpReceived"));
  assert.throws(() => new MetricCells(memory, 1));
  assert.throws(() => new MetricCells(memory, 0).observe(cellOf("hasLeader"), 1));
});

test("counts of concurrent threads are all there", async () => {
  const memory = createMetricsMemory(3);
  const cell = cellOf("storeWrites", "set");
  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    import(workerData.url).then(({ MetricCells }) => {
      const cells = new MetricCells(workerData.memory, workerData.part);
      for (let i = 0; i < 100000; i++) cells.add(workerData.cell, 1);
      parentPort.postMessage("done");
    });`;
  const url = import.meta.resolve("#ringd/metrics/cells.js");
  const workers = [0, 1, 2].map(
    (part) => new Worker(code, { eval: true, workerData: { url, memory, part, cell } }),
  );
  await Promise.all(
    workers.map((worker) => {
      return new Promise((resolve, reject) =>
        worker.once("message", resolve).once("error", reject),
      );
    }),
  );
  await Promise.all(workers.map((worker) => worker.terminate()));
  const { values } = parseMetrics(await new MetricsRegistry(memory, () => SAMPLE).render());
  assert.equal(values.get('etcd_debugging_store_writes_total{action="set"}'), 300_000);
  assert.equal(values.get('etcd_store_writes_total{action="set"}'), 300_000);
});
