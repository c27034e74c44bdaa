import assert from "node:assert/strict";
import { test } from "node:test";
import { createMetricsMemory, MetricCells } from "#ringd/metrics/cells.js";
import { PEER_SLOTS } from "#ringd/metrics/families.js";
import { PeerTable } from "#ringd/metrics/peer-table.js";
import { MetricsRegistry } from "#ringd/metrics/registry.js";
import { parseMetrics } from "./parse-metrics.js";

function table() {
  const memory = createMetricsMemory(2);
  const registry = new MetricsRegistry(memory, () => ({
    ...{
      memberId: "a",
      serverVersion: "3.4.23",
      ringdVersion: "1.2.3",
      clusterVersion: "3.4.0",
      rings: [],
    },
    ...{ openFiles: -1, openFilesMax: -1 },
  }));
  return {
    links: new PeerTable(new MetricCells(memory, 1), "links"),
    scrape: async () => parseMetrics(await registry.render()).values,
  };
}

const LARGEST = 2n ** 64n - 1n;
const sentTo = (id: string) => `etcd_network_peer_sent_bytes_total{To="${id}"}`;

test("a peer has its own series, under its whole id, from the start", async () => {
  const { links, scrape } = table();
  links.take(LARGEST).add("sentBytes", 5);
  links.take(LARGEST).add("sentBytes", 5);
  links.take(1n);
  links.of(LARGEST).observe("roundTrip", 0.0003);
  const values = await scrape();
  assert.equal(values.get(sentTo("ffffffffffffffff")), 10);
  assert.equal(values.get(sentTo("1")), 0);
  assert.equal(values.get('etcd_network_active_peers{Remote="1",Local="a"}'), 0);
  const rtt = "etcd_network_peer_round_trip_time_seconds";
  assert.equal(values.get(`${rtt}_bucket{To="ffffffffffffffff",le="0.0002"}`), 0);
  assert.equal(values.get(`${rtt}_bucket{To="ffffffffffffffff",le="0.0004"}`), 1);
  assert.equal(values.get(`${rtt}_count{To="1"}`), 0);
  assert.equal(values.has("os_fd_used"), false);
});

test("a released slot is empty for the next peer, even if the last one still counts", async () => {
  const { links, scrape } = table();
  const before = links.take(7n);
  before.add("sentBytes", 3);
  before.observe("roundTrip", 1);
  links.release(7n);
  links.take(8n);
  before.add("sentBytes", 4);
  links.of(7n).add("sentBytes", 4);
  const values = await scrape();
  assert.equal(values.has(sentTo("7")), false);
  assert.equal(values.get(sentTo("8")), 0);
  assert.equal(values.get('etcd_network_peer_round_trip_time_seconds_sum{To="8"}'), 0);
});

test("peers beyond the last slot are not shown", async () => {
  const { links, scrape } = table();
  for (let id = 1; id <= PEER_SLOTS + 3; id++) links.take(BigInt(id)).add("sentBytes", id);
  const values = await scrape();
  const shown = [...values.keys()].filter((key) => key.startsWith("etcd_network_peer_sent_bytes"));
  assert.equal(shown.length, PEER_SLOTS);
  assert.equal(values.get(sentTo(PEER_SLOTS.toString(16))), PEER_SLOTS);
});
