import assert from "node:assert/strict";
import { test } from "node:test";
import { FAMILIES } from "#ringd/metrics/families.js";
import type { Family } from "#ringd/metrics/family.js";
import { TestCluster } from "../support/cluster.js";
import { TestMember } from "../support/member.js";
import { until } from "../support/until.js";
import { type Page, parseMetrics } from "./parse-metrics.js";

async function scrape(url: string): Promise<Page> {
  const page = await (await fetch(`${url}/metrics`)).text();
  return parseMetrics(page);
}

interface RaftVars {
  readonly id: string;
  readonly term: number;
  readonly vote: string;
  readonly lead: string;
  readonly commit: number;
  readonly applied: number;
  readonly raftState: string;
  readonly progress: Readonly<Record<string, { match: number; next: number; state: string }>>;
}

async function raftVars(url: string): Promise<RaftVars> {
  const vars = (await (await fetch(`${url}/debug/vars`)).json()) as { "raft.status": RaftVars };
  return vars["raft.status"];
}

function value(page: Page, key: string): number {
  return page.values.get(key) ?? 0;
}

/** Families queried by etcd's dashboards and alerts, besides FAMILIES. */
const OTHERS: Readonly<Record<string, string>> = {
  etcd_server_id: "gauge",
  etcd_server_version: "gauge",
  etcd_cluster_version: "gauge",
  os_fd_used: "gauge",
  os_fd_limit: "gauge",
  process_cpu_seconds_total: "counter",
  process_max_fds: "gauge",
  process_open_fds: "gauge",
  process_resident_memory_bytes: "gauge",
  process_start_time_seconds: "gauge",
  process_virtual_memory_bytes: "gauge",
  ringd_ring_used_bytes: "gauge",
  ringd_ring_capacity_bytes: "gauge",
};

/** Counted by the requests below only. */
const EXACT: Readonly<Record<string, number>> = {
  'etcd_debugging_store_writes_total{action="set"}': 41,
  'etcd_debugging_store_writes_total{action="update"}': 1,
  'etcd_debugging_store_writes_total{action="create"}': 1,
  'etcd_debugging_store_writes_total{action="compareAndSwap"}': 1,
  'etcd_debugging_store_writes_failed_total{action="compareAndSwap"}': 1,
  'etcd_debugging_store_writes_total{action="compareAndDelete"}': 1,
  'etcd_debugging_store_writes_total{action="delete"}': 1,
  'etcd_debugging_store_reads_total{action="get"}': 2,
  'etcd_debugging_store_reads_total{action="getRecursive"}': 1,
  'etcd_debugging_store_reads_failed_total{action="get"}': 1,
  'etcd_http_received_total{method="QGET"}': 1,
  'etcd_http_received_total{method="GET"}': 3,
  'etcd_http_failed_total{method="GET",code="404"}': 1,
  etcd_debugging_store_watch_requests_total: 1,
  etcd_server_health_success: 1,
  etcd_server_proposals_failed_total: 0,
};

/** Counted also by other work. */
const MOVING = [
  "etcd_disk_wal_fsync_duration_seconds_count",
  "etcd_disk_wal_write_bytes_total",
  "etcd_wal_last_index_saved",
  "etcd_snap_fsync_duration_seconds_count",
  "etcd_server_proposals_committed_total",
  "etcd_server_proposals_applied_total",
  "etcd_server_proposal_durations_seconds_count",
  "ringd_wal_batch_bytes_count",
  "ringd_wal_batch_records_count",
  "ringd_wal_fsync_duration_seconds_count",
  "ringd_core_batch_requests_count",
  "ringd_apply_batch_entries_count",
  "ringd_apply_batch_duration_seconds_count",
  'ringd_wakeups_total{thread="main"}',
  'ringd_wakeups_total{thread="core"}',
  'ringd_wakeups_total{thread="wal"}',
];

test("all of a member's metrics exist and move with its work", async () => {
  const member = await TestMember.create("ringd", ["--snapshot-count", "20"]);
  try {
    const { clientUrl } = member;
    const call = async (method: string, path: string, body?: string) => {
      const headers = { "Content-Type": "application/x-www-form-urlencoded" };
      const answer = await fetch(`${clientUrl}${path}`, { method, body: body ?? null, headers });
      await answer.text();
    };
    const before = await scrape(clientUrl);
    for (let i = 0; i < 40; i++) await call("PUT", `/v2/keys/set${i % 3}`, "value=1");
    await call("PUT", "/v2/keys/set1?prevExist=true", "value=2");
    await call("PUT", "/v2/keys/set1?prevValue=2", "value=3");
    await call("PUT", "/v2/keys/set1?prevValue=2", "value=3");
    await call("POST", "/v2/keys/queue", "value=1");
    await call("GET", "/v2/keys/set1");
    await call("GET", "/v2/keys/absent");
    await call("GET", "/v2/keys/set1?quorum=true");
    await call("GET", "/v2/keys/?recursive=true");
    await call("DELETE", "/v2/keys/set2?prevValue=1");
    await call("DELETE", "/v2/keys/set1");
    await call("PUT", "/v2/keys/short", "value=1&ttl=1");
    await call("GET", "/health");
    const watch = new AbortController();
    const watching = await fetch(`${clientUrl}/v2/keys/watched?wait=true&stream=true`, {
      signal: watch.signal,
    });

    let page = before;
    const grown = (key: string) => value(page, key) - value(before, key);
    const snapshots = "etcd_debugging_snap_save_total_duration_seconds_count";
    await until("it expires a key and saves a snapshot", 20_000, async () => {
      page = await scrape(clientUrl);
      return grown("etcd_debugging_store_expires_total") === 1 && grown(snapshots) >= 1;
    });
    for (const family of Object.values(FAMILIES) as Family[]) {
      if (family.isExtensive) continue;
      for (const name of [family.name, ...(family.aliases ?? [])]) {
        assert.equal(page.types.get(name), family.kind, name);
        assert.ok((page.helps.get(name) ?? "").length > 0, name);
      }
    }
    for (const [name, type] of Object.entries(OTHERS)) {
      assert.equal(page.types.get(name), type, name);
      assert.ok((page.helps.get(name) ?? "").length > 0, name);
    }
    for (const [key, n] of Object.entries(EXACT)) assert.equal(grown(key), n, key);
    for (const key of MOVING) assert.ok(grown(key) > 0, key);
    assert.ok(value(page, "ringd_wal_batch_bytes_sum") > 40 * 20);
    assert.equal(value(page, "etcd_server_has_leader"), 1);
    assert.equal(value(page, "etcd_server_is_leader"), 1);
    assert.equal(value(page, "etcd_server_is_learner"), 0);
    assert.equal(value(page, "etcd_debugging_store_watchers"), 1);
    assert.equal(value(page, "ringd_frontend_in_flight"), 1);
    assert.equal(value(page, "ringd_raft_role"), 2);
    assert.ok(value(page, "ringd_frontend_connections") >= 2);
    assert.ok(value(page, "os_fd_used") > 10);
    watch.abort();
    await watching.text().catch(() => undefined);
    await until("the watch is gone", 10_000, async () => {
      page = await scrape(clientUrl);
      const isIdle = value(page, "ringd_frontend_in_flight") === 0;
      return isIdle && value(page, "etcd_debugging_store_watchers") === 0;
    });
  } finally {
    await member.destroy();
  }
});

test("metrics of each peer, and raft's state, on all members of a cluster", async () => {
  const cluster = await TestCluster.create({ kind: "ringd", size: 3 });
  try {
    const leader = await cluster.leader();
    const leaderId = await leader.id();
    const ids = await Promise.all(cluster.members.map((member) => member.id()));
    await leader.ask("PUT", "/v2/keys/a?value=1");
    for (const member of cluster.members) {
      const id = await member.id();
      const others = ids.filter((other) => other !== id);
      const remotes = [...others, leaderId].filter((other) => other !== id);
      await until(`${member.name} counts what it sends and receives`, 20_000, async () => {
        const page = await scrape(member.clientUrl);
        const isMeasured = others.every(
          (to) => value(page, `etcd_network_peer_round_trip_time_seconds_count{To="${to}"}`) > 0,
        );
        const isHeard = remotes.every((from) => {
          const isSent = value(page, `etcd_network_peer_sent_bytes_total{To="${from}"}`) > 0;
          const isDirect = id === leaderId || from === leaderId;
          const received = value(page, `etcd_network_peer_received_bytes_total{From="${from}"}`);
          return isSent && (!isDirect || received > 0);
        });
        return isMeasured && isHeard;
      });
      const page = await scrape(member.clientUrl);
      for (const other of others) {
        const names = [`{Remote="${other}",Local="${id}"}`];
        for (const labels of names) {
          assert.equal(page.values.get(`etcd_network_active_peers${labels}`), 1);
          assert.equal(page.values.get(`etcd_network_known_peers${labels}`), 1);
        }
        const match = page.values.get(`ringd_raft_peer_match_index{To="${other}"}`);
        assert.equal(match !== undefined, id === leaderId, "only the leader knows");
      }
      assert.equal(value(page, "etcd_server_has_leader"), 1);
      assert.equal(value(page, "etcd_server_is_leader"), id === leaderId ? 1 : 0);
      const vars = await raftVars(member.clientUrl);
      assert.equal(vars.id, id);
      assert.equal(vars.lead, leaderId);
      assert.equal(vars.raftState, id === leaderId ? "StateLeader" : "StateFollower");
      assert.ok(vars.term > 0 && vars.commit > 0 && vars.applied > 0);
      assert.equal(vars.term, value(page, "ringd_raft_term"));
      const known = Object.keys(vars.progress);
      assert.deepEqual(known.sort(), id === leaderId ? [...ids].sort() : []);
    }
    const victim = cluster.members.find((member) => member !== leader);
    assert.ok(victim !== undefined);
    const gone = await victim.id();
    await victim.end("SIGKILL");
    await until("the leader misses the member that died", 20_000, async () => {
      const page = await scrape(leader.clientUrl);
      const labels = `{Remote="${gone}",Local="${leaderId}"}`;
      const isMissed = page.values.get(`etcd_network_active_peers${labels}`) === 0;
      const isCounted = value(page, `etcd_network_disconnected_peers_total${labels}`) >= 1;
      const isUnsent = value(page, `etcd_network_peer_sent_failures_total{To="${gone}"}`) > 0;
      return isMissed && isCounted && isUnsent;
    });
  } finally {
    await cluster.destroy();
  }
});
