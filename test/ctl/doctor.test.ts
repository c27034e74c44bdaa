import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Client } from "#ringd/client/index.js";
import { FORMAT_LEVEL } from "#ringd/cluster/format.js";
import { examine, type Finding } from "#ringd/ctl/commands/doctor-checks.js";
import { gather, type MemberFacts } from "#ringd/ctl/commands/doctor-facts.js";
import { Metrics } from "#ringd/ctl/commands/metrics-text.js";
import { type ClusterMember, TestCluster } from "../support/cluster.js";
import { until } from "../support/until.js";
import { ringctl } from "./run.js";

const NOW_S = 1_800_000_000;
const DAY_S = 86_400;

/** Figures of a member that is well, in Prometheus' text format. */
function figures(id: number, more: readonly string[] = []): Metrics {
  const others = [1, 2, 3].filter((other) => other !== id);
  const buckets = (family: string, label: string, le: number) => [
    `${family}_bucket{${label}le="0.008"} ${le <= 0.008 ? 1000 : 0}`,
    `${family}_bucket{${label}le="${le > 0.008 ? le : 0.128}"} 1000`,
    `${family}_bucket{${label}le="+Inf"} 1000`,
  ];
  const lines = [
    `process_start_time_seconds ${NOW_S - DAY_S}`,
    "etcd_server_leader_changes_seen_total 2",
    `etcd_server_proposals_applied_total ${5000 + id}`,
    ...others.map((to) => `etcd_network_active_peers{Local="${id}",Remote="${to}"} 1`),
    ...others.flatMap((to) =>
      buckets("etcd_network_peer_round_trip_time_seconds", `To="${to}",`, 0.008),
    ),
    ...buckets("etcd_disk_wal_fsync_duration_seconds", "", 0.008),
    "ringd_wal_failed 0",
    `ringd_clock_offset_seconds 0.0${id}`,
    'ringd_version{ringd_version="0.4.0"} 1',
    `ringd_format_level ${FORMAT_LEVEL}`,
    "ringd_store_bytes 1048576",
    "ringd_store_quota_bytes 104857600",
    "ringd_store_full 0",
    "os_fd_used 50",
    "os_fd_limit 1000",
    `ringd_tls_certificate_expiry_timestamp_seconds{side="client"} ${NOW_S + 100 * DAY_S}`,
    'ringd_tls_certificate_expiry_timestamp_seconds{side="peer"} 0',
    ...more,
  ];
  return new Metrics(lines.join("\n"));
}

interface Wish {
  readonly more?: readonly string[];
  readonly facts?: Partial<MemberFacts>;
}

/** Findings about three members, of which the last is as wished. */
function about({ more, facts }: Wish): Map<string, Finding> {
  const all = [1, 2, 3].map((id): MemberFacts => {
    const isWished = id === 3;
    return {
      member: { id: `${id}`, name: `n${id}`, peerURLs: [], clientURLs: [] },
      label: `n${id}`,
      clientUrls: new Map([[`http://10.0.0.${id}:2379`, undefined]]),
      peerUrls: new Map([[`http://10.0.0.${id}:2380`, undefined]]),
      state: {
        ...{ isHealthy: true, failedChecks: "", leader: "1", tookMs: 1 },
        metrics: figures(id, isWished ? more : []),
      },
      ...(isWished ? facts : {}),
    };
  });
  return new Map(examine(all, NOW_S * 1000).map((finding) => [finding.check, finding]));
}

function shown(finding: Finding | undefined): string {
  return `${finding?.level} ${finding?.figures}`;
}

test("a cluster that is well passes every check, with figures", () => {
  const findings = about({});
  for (const [check, { level, advice }] of findings) {
    assert.deepEqual([check, level, advice], [check, "ok", ""]);
  }
  assert.deepEqual(
    Object.fromEntries([...findings].map(([name, { figures: text }]) => [name, text])),
    {
      members: "3 in the cluster",
      health: "3 healthy",
      leader: "n1",
      elections: "n1 saw 2 in 24.0 h, n2 saw 2 in 24.0 h, n3 saw 2 in 24.0 h",
      log: "n1 2 behind, n2 1 behind, n3 0 behind",
      "client-urls": "3 reachable",
      "peer-urls": "3 reachable",
      "round-trips":
        "n1 to n2 <= 8 ms, n1 to n3 <= 8 ms, n2 to n1 <= 8 ms, n2 to n3 <= 8 ms, n3 to n1 <= 8 ms, n3 to n2 <= 8 ms",
      disks: "n1 <= 8 ms, n2 <= 8 ms, n3 <= 8 ms",
      clocks: "0.020 s between members",
      versions: "ringd 0.4.0",
      formats: `format ${FORMAT_LEVEL}`,
      database: "n1 1.0 MiB of 100.0 MiB, n2 1.0 MiB of 100.0 MiB, n3 1.0 MiB of 100.0 MiB",
      "open-files": "n1 50 of 1000, n2 50 of 1000, n3 50 of 1000",
      certificates: "n1 (client) 100 days, n2 (client) 100 days, n3 (client) 100 days",
    },
  );
});

const EXPIRY = 'ringd_tls_certificate_expiry_timestamp_seconds{side="client"}';
const FSYNC = "etcd_disk_wal_fsync_duration_seconds_bucket";
const slowDisk = (le: string) => [
  `${FSYNC}{le="0.008"} 900`,
  `${FSYNC}{le="0.128"} 900`,
  `${FSYNC}{le="${le}"} 1000`,
];
const state = { isHealthy: true, failedChecks: "", leader: "1", tookMs: 1, metrics: figures(3) };

for (const [check, level, text, wish] of [
  [
    "elections",
    "warn",
    /n3 saw 200 in 24\.0 h/,
    { more: ["etcd_server_leader_changes_seen_total 200"] },
  ],
  [
    "log",
    "warn",
    /n3 4003 behind|n3 \d+ behind/,
    { more: ["etcd_server_proposals_applied_total 1000"] },
  ],
  ["disks", "warn", /n3 <= 256 ms/, { more: slowDisk("0.256") }],
  ["disks", "fail", /n3 <= 1020 ms/, { more: slowDisk("1.024") }],
  ["disks", "fail", /the log of n3 has failed/, { more: ["ringd_wal_failed 1"] }],
  [
    "clocks",
    "warn",
    /2\.490 s between members: n3 is ahead of n1/,
    { more: ["ringd_clock_offset_seconds 2.5"] },
  ],
  ["clocks", "fail", /n2 is ahead of n3/, { more: ["ringd_clock_offset_seconds -90"] }],
  [
    "versions",
    "warn",
    /n1 0\.4\.0, n2 0\.4\.0, n3 unknown/,
    { facts: { state: { ...state, metrics: new Metrics("x 1") } } },
  ],
  ["formats", "warn", /n3 format 2/, { more: ["ringd_format_level 2"] }],
  [
    "database",
    "warn",
    /n3 85\.0 MiB of 100\.0 MiB/,
    { more: [`ringd_store_bytes ${85 * 2 ** 20}`] },
  ],
  ["database", "fail", /n3 .*, full/, { more: ["ringd_store_full 1"] }],
  ["open-files", "warn", /n3 900 of 1000/, { more: ["os_fd_used 900"] }],
  ["certificates", "warn", /n3 \(client\) 9 days/, { more: [`${EXPIRY} ${NOW_S + 9.5 * DAY_S}`] }],
  ["certificates", "fail", /n3 \(client\) expired/, { more: [`${EXPIRY} ${NOW_S - 1}`] }],
  ["leader", "fail", /n1, none for n3/, { facts: { state: { ...state, leader: "" } } }],
  ["leader", "fail", /n1, n2/, { facts: { state: { ...state, leader: "2" } } }],
  [
    "health",
    "fail",
    /n3 is unhealthy \(no room for writes\)/,
    { facts: { state: { ...state, isHealthy: false } } },
  ],
  ["health", "fail", /n3 does not answer/, { facts: { state: undefined } }],
  [
    "access",
    "fail",
    /n3 refused \/metrics/,
    { facts: { state: { ...state, metrics: undefined } } },
  ],
  [
    "client-urls",
    "fail",
    /^http:\/\/x:1: why$/,
    { facts: { clientUrls: new Map([["http://x:1", "why"]]) } },
  ],
  [
    "members",
    "warn",
    /never started: 9/,
    { facts: { member: { id: "9", name: "", peerURLs: [], clientURLs: [] }, label: "9" } },
  ],
] as readonly (readonly [string, string, RegExp, Wish])[]) {
  test(`${check}: ${level} for ${text.source}`, () => {
    const found = about(wish).get(check);
    assert.equal(found?.level, level, shown(found));
    assert.match(found?.figures ?? "", text);
    assert.notEqual(found?.advice, "");
  });
}

test("a peer URL that is not reachable from here counts only if no member reaches it", () => {
  const peerUrls = new Map([["http://10.0.0.3:2380", "ECONNREFUSED"]]);
  assert.equal(about({ facts: { peerUrls } }).get("peer-urls")?.level, "ok");
  const member = { id: "4", name: "n4", peerURLs: [], clientURLs: [] };
  const alone = about({ facts: { member, peerUrls, state: undefined } }).get("peer-urls");
  assert.equal(shown(alone), "fail http://10.0.0.3:2380: ECONNREFUSED");
  const unstarted = { ...member, name: "" };
  const coming = about({ facts: { member: unstarted, peerUrls, state: undefined } });
  assert.equal(shown(coming.get("peer-urls")), "ok 2 reachable");
  assert.equal(coming.get("members")?.level, "warn");
  const cut = about({ more: ['etcd_network_active_peers{Local="3",Remote="1"} 0'] });
  assert.equal(shown(cut.get("peer-urls")), "fail n3 has no stream to n1");
});

let cluster: TestCluster;
before(async () => {
  cluster = await TestCluster.create({ kind: "ringd", size: 3, flags: ["--protect-status"] });
});
after(() => cluster.destroy());

/** Those that a busy machine may fail. */
const MEASURED = /^\w+ +(disks|round-trips|elections|leader|log) /;

async function run(...args: readonly string[]) {
  const urls = cluster.members.map(({ clientUrl }) => clientUrl).join(",");
  return await ringctl(["--endpoints", urls, ...args]);
}

function lines(out: string): string[] {
  return out
    .trimEnd()
    .split("\n")
    .filter((line) => !MEASURED.test(line));
}

test("an address with a zone, which members may have, is a finding", async () => {
  const url = "http://[fe80::1%25eth0]:2380";
  const member = { id: "1", name: "n1", peerURLs: [url], clientURLs: [] };
  const client = new Client({ endpoints: ["http://127.0.0.1:1"] });
  const [facts] = await gather(client, [member], { timeoutMs: 1000, answerMs: 1000 });
  assert.deepEqual(
    [...(facts?.peerUrls ?? [])],
    [[url, "is no URL that can be reached from here"]],
  );
  await client.close();
});

test("real members are examined", async () => {
  await until("the format rises", 30_000, async () => {
    const answers = await Promise.all(cluster.members.map((one) => one.ask("GET", "/metrics")));
    return answers.every((one) => one?.body.includes(`ringd_format_level ${FORMAT_LEVEL}\n`));
  });
  const { out, err } = await run("doctor");
  assert.equal(err, "");
  assert.equal(lines(out).length, 9, out);
  for (const line of lines(out)) assert.match(line, /^ok {4}\S/, out);
  for (const check of ["disks", "round-trips", "elections", "leader", "log"]) {
    assert.match(out, new RegExp(`^\\w+ +${check} +\\S`, "m"), out);
  }
  const json = JSON.parse((await run("-o", "json", "doctor")).out) as Finding[];
  const health = json.find(({ check }) => check === "health");
  assert.deepEqual(health, { check: "health", level: "ok", figures: "3 healthy", advice: "" });
});

test("a member that is down is named", async () => {
  const leader = await cluster.leader();
  const down = cluster.members.find((member) => member !== leader) as ClusterMember;
  await down.end("SIGKILL");
  const { code, out } = await run("doctor");
  assert.equal(code, 1, out);
  const text = `^fail +health +${down.name} does not answer; .* 2 of 2 votes needed are there`;
  assert.match(out, new RegExp(text, "m"), out);
  assert.match(out, new RegExp(`^fail +client-urls +${down.clientUrl}: .*refused`, "m"), out);
  const misuse = await run("doctor", "x");
  assert.deepEqual([misuse.code, misuse.err], [128, "Error: no arguments accepted\n"]);
  down.start();
  await cluster.untilHealthy();
});

test("without root's password it says that it needs one", async () => {
  const [member] = cluster.members as [ClusterMember];
  const options = { timeoutMs: 10_000 };
  const root = { user: "root", password: "pw" };
  await member.ask("PUT", "/v2/auth/users/root", { ...options, json: root });
  assert.equal((await member.ask("PUT", "/v2/auth/enable", options))?.status, 200);
  const denied = await run("doctor");
  const why =
    "Error: the list of members needs the role root: give its user with -u root:PASSWORD\n";
  assert.deepEqual(denied, { code: 1, out: "", err: why });
  // On a busy machine a password may take seconds.
  const { out } = await run(
    "-u",
    "root:pw",
    "--timeout",
    "20s",
    "--total-timeout",
    "20s",
    "doctor",
  );
  for (const line of lines(out)) assert.match(line, /^ok {4}\S/, out);
  const nobody = await ringctl(["--endpoints", "http://127.0.0.1:1", "doctor"]);
  assert.equal(nobody.code, 1);
  assert.match(nobody.err, /^Error: no endpoint lists the members: .*connection refused\n?$/);
});
