import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { TestCluster } from "../support/cluster.js";
import { TestMember } from "../support/member.js";
import { until } from "../support/until.js";
import { type Page, parseMetrics } from "./parse-metrics.js";

/** etcd's names that break the naming rules; no others may. */
const AS_IN_ETCD = [
  "etcd_disk_wal_write_bytes_total",
  "etcd_server_health_failures",
  "etcd_server_health_success",
  "etcd_server_learner_promote_successes",
  "etcd_server_pending_proposal_total",
  "etcd_server_proposals_applied_total",
  "etcd_server_proposals_committed_total",
  "etcd_server_snapshot_apply_in_progress_total",
  "etcd_network_snapshot_receive_failures",
  "etcd_network_snapshot_receive_inflights_total",
  "etcd_network_snapshot_receive_success",
  "etcd_network_snapshot_send_failures",
  "etcd_network_snapshot_send_inflights_total",
  "etcd_network_snapshot_send_success",
];

const hasPromtool = spawnSync("promtool", ["--version"]).status === 0;
if (!hasPromtool) process.stdout.write("# promtool is not installed: its checks are skipped\n");

async function scrape(url: string): Promise<Page> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const page = parseMetrics(text);
  checkPage(page);
  if (hasPromtool) {
    const { stderr, stdout } = spawnSync("promtool", ["check", "metrics"], { input: text });
    const complaints = `${stdout}${stderr}`.split("\n").filter((line) => {
      return line !== "" && !AS_IN_ETCD.includes(line.split(" ")[0] ?? "");
    });
    assert.deepEqual(complaints, []);
  }
  return page;
}

/** Rules of the format beyond its grammar. */
function checkPage({ values, types, helps }: Page): void {
  const last = new Map<string, number>();
  for (const [key, value] of values) {
    assert.ok(Number.isFinite(value), `${key} is a number`);
    const name = key.replace(/\{.*/, "");
    const family = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, "");
    assert.ok(types.has(family), `${name} has a type`);
    assert.ok((helps.get(family) ?? "").length > 0, `${name} has a help text`);
    if (types.get(family) === "counter") assert.ok(value >= 0, `${key} counts`);
    if (types.get(family) !== "histogram") continue;
    const labels = key
      .slice(name.length)
      .replace(/,?le="[^"]*"/, "")
      .replace("{,", "{");
    const series = family + (labels === "{}" ? "" : labels);
    if (name.endsWith("_bucket")) {
      assert.ok(value >= (last.get(series) ?? 0), `${key} is cumulative`);
      last.set(series, value);
    } else if (name.endsWith("_count")) assert.equal(last.get(series), value, `${key} is +Inf's`);
  }
}

async function load(url: string): Promise<void> {
  for (let n = 0; n < 50; n++) {
    const body = new URLSearchParams({ value: `${n}`, ...(n % 2 === 0 && { ttl: "100" }) });
    await fetch(`${url}/v2/keys/k${n % 7}`, { method: "PUT", body });
    await fetch(
      `${url}/v2/keys/k${n % 9}?quorum=${n % 2 === 0}`,
      n % 5 === 0 ? { method: "DELETE" } : {},
    );
  }
  await fetch(`${url}/health`);
}

for (const frontend of ["uws", "node"]) {
  test(`--frontend ${frontend}: metrics follow the format, on a new member and under load`, async () => {
    const member = await TestMember.create("ringd", [
      "--frontend",
      frontend,
      "--snapshot-count",
      "20",
    ]);
    try {
      // The first scrape is before any measurement.
      for (let n = 0; n < 3; n++) await scrape(member.clientUrl);
      await load(member.clientUrl);
      await scrape(member.clientUrl);
    } finally {
      await member.destroy();
    }
  });
}

test("leaders and followers: the format; followers also count send failures", async () => {
  const cluster = await TestCluster.create({ kind: "ringd", size: 3 });
  try {
    await cluster.untilHealthy();
    const leader = await cluster.leader();
    const [lost, other] = cluster.members.filter((member) => member !== leader);
    assert(lost !== undefined && other !== undefined);
    await load(other.clientUrl);
    const lostId = await lost.id();
    for (const member of cluster.members) await scrape(member.clientUrl);
    await lost.end("SIGKILL");
    const key = `etcd_network_peer_sent_failures_total{To="${lostId}"}`;
    for (const member of [leader, other]) {
      await until(
        "failures that are counted",
        20_000,
        async () => ((await scrape(member.clientUrl)).values.get(key) ?? 0) > 2,
      );
    }
  } finally {
    await cluster.destroy();
  }
});
