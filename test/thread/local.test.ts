import assert from "node:assert/strict";
import { test } from "node:test";
import { readConfig } from "#ringd/config/config.js";
import { CORE_PART, createTopology } from "#ringd/messages/topology.js";
import { MetricCells } from "#ringd/metrics/cells.js";
import { idCellOf } from "#ringd/metrics/families.js";
import { packVersion, unpackVersion } from "#ringd/metrics/version-id.js";
import { debugVarsHandler } from "#ringd/thread/local.js";
import { Method } from "#ringd/v2/request.js";

const RING_BYTES = 4096;

test("a version is passed to another thread as a number", () => {
  for (const version of ["", "3.4.0", "0.0.1", "9999.0.9999"]) {
    assert.equal(unpackVersion(packVersion(version)), version);
  }
  for (const version of ["3", "3.4", "a.b.c", "3.4.0-rc", "3.4.00000", "99999.1.1"]) {
    assert.equal(packVersion(version), 0n, version);
  }
});

test("etcd_cluster_version is the agreed version, and absent before", async () => {
  const request = readConfig(["--data-dir", "/nowhere"], {});
  assert.ok(request.kind === "run");
  const { config } = request;
  const topology = createTopology(config, {
    ...{ requests: RING_BYTES, responses: RING_BYTES, append: RING_BYTES },
    ...{ durable: RING_BYTES, jobs: RING_BYTES, outcomes: RING_BYTES, peer: RING_BYTES },
  });
  const handle = debugVarsHandler(config, topology, "1");
  const shown = async () => {
    const answer = await handle({
      method: Method.get,
      path: "/metrics",
      query: "",
      body: undefined,
    });
    const lines = String(answer?.body).split("\n");
    return lines.filter((line) => line.startsWith("etcd_cluster_version"));
  };
  assert.deepEqual(await shown(), []);
  const core = new MetricCells(topology.metrics, CORE_PART);
  core.setId(idCellOf("clusterVersion"), packVersion("3.5.0"));
  assert.deepEqual(await shown(), ['etcd_cluster_version{cluster_version="3.5"} 1']);
});
