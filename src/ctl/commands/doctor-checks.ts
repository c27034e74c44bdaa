import { FORMAT_LEVEL, readBy } from "../../cluster/format.js";
import type { MemberFacts, MemberState } from "./doctor-facts.js";
import { type Metrics, quantileBetween } from "./metrics-text.js";

export type Level = "ok" | "warn" | "fail";

/** The outcome of one check. */
export interface Finding {
  readonly check: string;
  readonly level: Level;
  /** What was found. */
  readonly figures: string;
  /** What to do; "" if nothing. */
  readonly advice: string;
}

/** A member's figure from which on a check warns, and from which on it fails. */
export interface Bounds {
  readonly warn: number;
  readonly fail: number;
}

/** TTLs follow the cluster's clock; certificates and logs do not. Seconds. */
const CLOCKS: Bounds = { warn: 1, fail: 60 };
/** Etcd asks for 10 ms. Heartbeats come every 100 ms, and wait for no disk, but votes do. */
const FSYNC: Bounds = { warn: 0.016, fail: 0.512 };
/** The p99 of fewer says little. */
const FSYNCS_MIN = 100;
/** An election timeout is a second by default, and should be ten round trips. */
const ROUND_TRIP: Bounds = { warn: 0.1, fail: 0.4 };
/** Changes of the leader in an hour, if there were more than that many at all. */
const LEADERS: Bounds = { warn: 4, fail: Number.POSITIVE_INFINITY };
/** Shares of what there is. */
const STORE: Bounds = { warn: 0.8, fail: 0.95 };
const FILES: Bounds = { warn: 0.8, fail: 0.95 };
/** Days left of a certificate. */
const CERTIFICATE: Bounds = { warn: 30, fail: 0 };
/** Entries of the log that a member has not applied yet, behind another. */
const LAG: Bounds = { warn: 1000, fail: 100_000 };

const HOUR_S = 3600;
const DAY_S = 24 * HOUR_S;

/** One finding for each check. @param nowMs wall clock of this machine */
export function examine(all: readonly MemberFacts[], nowMs: number): readonly Finding[] {
  return [
    members(all),
    health(all),
    leader(all),
    leaderChanges(all, nowMs / 1000),
    lag(all),
    clientUrls(all),
    peerUrls(all),
    roundTrips(all),
    disks(all),
    clocks(all),
    versions(all),
    formats(all),
    database(all),
    descriptors(all),
    certificates(all, nowMs / 1000),
    access(all),
  ].filter((finding) => finding !== undefined);
}

type Live = MemberFacts & { readonly state: MemberState };
type Measured = { readonly label: string; readonly metrics: Metrics };

function live(all: readonly MemberFacts[]): Live[] {
  return all.filter((facts): facts is Live => facts.state !== undefined);
}

function measured(all: readonly MemberFacts[]): Measured[] {
  return live(all).flatMap(({ label, state: { metrics } }) =>
    metrics === undefined ? [] : [{ label, metrics }],
  );
}

function judge(value: number, { warn, fail }: Bounds): Level {
  if (value >= fail) return "fail";
  return value >= warn ? "warn" : "ok";
}

function worst(levels: readonly Level[]): Level {
  return levels.includes("fail") ? "fail" : levels.includes("warn") ? "warn" : "ok";
}

/** A figure of each member, judged by itself. */
interface Figure {
  readonly text: string;
  readonly level: Level;
}

/** @returns undefined if no member has the figure */
function finding(check: string, figures: readonly Figure[], advice: string): Finding | undefined {
  if (figures.length === 0) return undefined;
  const level = worst(figures.map((one) => one.level));
  const text = figures.map((one) => one.text).join(", ");
  return { check, level, figures: text, advice: level === "ok" ? "" : advice };
}

function members(all: readonly MemberFacts[]): Finding {
  const unstarted = all.filter(({ member }) => member.name === "");
  const learners = all.filter(({ member }) => member.isLearner);
  const counts = [`${all.length} in the cluster`];
  if (learners.length > 0) counts.push(`${learners.length} of them learners`);
  if (unstarted.length > 0) counts.push(`never started: ${names(unstarted)}`);
  const even = (all.length - learners.length) % 2 === 0 && all.length > 1;
  const advice = unstarted.length > 0 ? "start it, or remove it with ringctl member remove ID" : "";
  if (even) counts.push("an even number of votes survives no more failures than one less");
  const level = unstarted.length > 0 ? "warn" : "ok";
  return { check: "members", level, figures: counts.join(", "), advice };
}

function health(all: readonly MemberFacts[]): Finding {
  const started = all.filter(({ member }) => member.name !== "");
  const voters = started.filter(({ member }) => !member.isLearner);
  const down = started.filter(({ state }) => state === undefined);
  const ill = live(started).filter(({ state }) => !state.isHealthy);
  if (down.length + ill.length === 0) {
    return { check: "health", level: "ok", figures: `${started.length} healthy`, advice: "" };
  }
  const why = ill.map(
    ({ label, state }) => `${label} is unhealthy (${state.failedChecks || "no room for writes"})`,
  );
  const votes = voters.filter(({ state }) => state?.isHealthy).length;
  const needed = Math.floor(voters.length / 2) + 1;
  const room =
    votes > needed
      ? "writes go on"
      : votes === needed
        ? "writes go on, and one more failure ends them"
        : "no write can be carried out";
  const figures = [...down.map(({ label }) => `${label} does not answer`), ...why].join(", ");
  const advice = `restart what is down and read its log: ${votes} of ${needed} votes needed are there, ${room}`;
  return { check: "health", level: "fail", figures, advice };
}

function leader(all: readonly MemberFacts[]): Finding | undefined {
  const views = new Map<string, string[]>();
  for (const { label, state } of live(all)) {
    if (state.leader === undefined) continue;
    views.set(state.leader, [...(views.get(state.leader) ?? []), label]);
  }
  if (views.size === 0) return undefined;
  const name = (id: string) => all.find(({ member }) => member.id === id)?.label ?? id;
  const texts = [...views].map(([id, labels]) =>
    id === "" ? `none for ${labels.join(" and ")}` : name(id),
  );
  const isAgreed = views.size === 1 && !views.has("");
  return {
    check: "leader",
    level: isAgreed ? "ok" : "fail",
    figures: texts.join(", "),
    advice: isAgreed ? "" : "see whether peer ports are reachable, and ask again after an election",
  };
}

function leaderChanges(all: readonly MemberFacts[], nowS: number): Finding | undefined {
  const figures = measured(all).flatMap(({ label, metrics }): Figure[] => {
    const changes = metrics.sum("etcd_server_leader_changes_seen_total");
    const startS = metrics.sum("process_start_time_seconds");
    if (changes === undefined || startS === undefined) return [];
    const hours = Math.max((nowS - startS) / HOUR_S, 0);
    const isOften = changes > LEADERS.warn && changes / Math.max(hours, 1 / 60) > LEADERS.warn;
    const text = `${label} saw ${changes} in ${hours.toFixed(1)} h`;
    return [{ text, level: isOften ? "warn" : "ok" }];
  });
  return finding(
    "elections",
    figures,
    "look at round trips, disks and CPU; raise --election-timeout on slow networks",
  );
}

function lag(all: readonly MemberFacts[]): Finding | undefined {
  const applied = measured(all).flatMap(({ label, metrics }) => {
    const index = metrics.sum("etcd_server_proposals_applied_total");
    return index === undefined ? [] : [{ label, index }];
  });
  const first = Math.max(...applied.map(({ index }) => index));
  const figures = applied.map(({ label, index }): Figure => {
    return { text: `${label} ${first - index} behind`, level: judge(first - index, LAG) };
  });
  const advice = "the member is starting, or slower than the writes: look at its disk and CPU";
  return finding("log", figures, advice);
}

function clientUrls(all: readonly MemberFacts[]): Finding {
  const urls = all.flatMap((facts) => [...facts.clientUrls].map(([url, why]) => ({ url, why })));
  const bad = urls.filter(({ why }) => why !== undefined);
  if (bad.length === 0) {
    return { check: "client-urls", level: "ok", figures: `${urls.length} reachable`, advice: "" };
  }
  const figures = bad.map(({ url, why }) => `${url}: ${why}`).join(", ");
  const advice = "advertise URLs that clients can reach (--advertise-client-urls), and restart";
  return { check: "client-urls", level: "fail", figures, advice };
}

/**
 * A URL is reachable if it is from here, or another member has a stream to it. Those of members
 * that were never started are not expected to be.
 */
function peerUrls(all: readonly MemberFacts[]): Finding {
  const streams = all.flatMap(({ state }) => [
    ...(state?.metrics?.byLabel("etcd_network_active_peers", "Remote") ?? []),
  ]);
  const isReached = (id: string) => streams.some(([remote, count]) => remote === id && count > 0);
  const started = all.filter(({ member }) => member.name !== "");
  const urls = started.flatMap(({ member, peerUrls: found }) =>
    [...found].map(([url, why]) => ({ url, why, id: member.id })),
  );
  const bad = urls.filter(({ why, id }) => why !== undefined && !isReached(id));
  const cut = missingStreams(all);
  if (bad.length + cut.length === 0) {
    return { check: "peer-urls", level: "ok", figures: `${urls.length} reachable`, advice: "" };
  }
  const figures = [...bad.map(({ url, why }) => `${url}: ${why}`), ...cut].join(", ");
  const advice =
    "open the peer ports between all members; change a URL with ringctl member update ID URL";
  return { check: "peer-urls", level: "fail", figures, advice };
}

/** Between members that both answer us. */
function missingStreams(all: readonly MemberFacts[]): string[] {
  const alive = live(all);
  return alive.flatMap(({ label, member, state: { metrics } }) => {
    const active = metrics?.byLabel("etcd_network_active_peers", "Remote");
    if (active === undefined) return [];
    return alive
      .filter((other) => other.member.id !== member.id && !(active.get(other.member.id) ?? 0))
      .map((other) => `${label} has no stream to ${other.label}`);
  });
}

function roundTrips(all: readonly MemberFacts[]): Finding | undefined {
  const name = (id: string) => all.find(({ member }) => member.id === id)?.label ?? id;
  const figures = measured(all).flatMap(({ label, metrics }): Figure[] => {
    const peers = metrics.bucketsBy("etcd_network_peer_round_trip_time_seconds", "To");
    return [...peers].flatMap(([id, buckets]): Figure[] => {
      const seconds = quantileBetween(new Map(), buckets, 0.99);
      if (seconds === undefined || !all.some(({ member }) => member.id === id)) return [];
      const text = `${label} to ${name(id)} ${bound(seconds)}`;
      return [{ text, level: judge(seconds, ROUND_TRIP) }];
    });
  });
  return finding(
    "round-trips",
    figures,
    "p99 since the start: set --election-timeout to ten round trips on all members, or move them closer",
  );
}

function disks(all: readonly MemberFacts[]): Finding | undefined {
  const figures = measured(all).flatMap(({ label, metrics }): Figure[] => {
    if ((metrics.sum("ringd_wal_failed") ?? 0) > 0) {
      return [{ text: `the log of ${label} has failed`, level: "fail" }];
    }
    const buckets = metrics.buckets("etcd_disk_wal_fsync_duration_seconds");
    const seconds = quantileBetween(new Map(), buckets, 0.99);
    if (seconds === undefined) return [];
    const isFew = (buckets.get(Infinity) ?? 0) < FSYNCS_MIN;
    const level = isFew ? "ok" : judge(seconds, FSYNC);
    return [{ text: `${label} ${bound(seconds)}`, level }];
  });
  return finding(
    "disks",
    figures,
    "p99 of fsync since the start should be 10 ms or less: put --wal-dir on a faster disk that is its own; restart a member whose log has failed once its disk is repaired",
  );
}

function clocks(all: readonly MemberFacts[]): Finding | undefined {
  const offsets = measured(all).flatMap(({ label, metrics }) => {
    const seconds = metrics.sum("ringd_clock_offset_seconds");
    return seconds === undefined ? [] : [{ label, seconds }];
  });
  if (offsets.length === 0) return undefined;
  const sorted = offsets.sort((a, b) => a.seconds - b.seconds);
  const [slow, fast] = [sorted[0], sorted.at(-1)];
  const difference = (fast?.seconds ?? 0) - (slow?.seconds ?? 0);
  const level = judge(difference, CLOCKS);
  const shown = `${difference.toFixed(3)} s between members`;
  return {
    check: "clocks",
    level,
    figures: level === "ok" ? shown : `${shown}: ${fast?.label} is ahead of ${slow?.label}`,
    advice: level === "ok" ? "" : "run NTP on all machines; TTLs are not affected meanwhile",
  };
}

function versions(all: readonly MemberFacts[]): Finding | undefined {
  const found = measured(all).map(({ label, metrics }) => {
    const [version = "unknown"] = metrics.byLabel("ringd_version", "ringd_version").keys();
    return { label, version };
  });
  if (found.length === 0) return undefined;
  const isMixed = new Set(found.map(({ version }) => version)).size > 1;
  const [first] = found;
  return {
    check: "versions",
    level: isMixed ? "warn" : "ok",
    figures: isMixed
      ? found.map(({ label, version }) => `${label} ${version}`).join(", ")
      : `ringd ${first?.version}`,
    advice: isMixed ? "upgrade the others, member by member" : "",
  };
}

function formats(all: readonly MemberFacts[]): Finding | undefined {
  const found = measured(all).map(({ label, metrics }) => {
    return { label, level: metrics.sum("ringd_format_level") ?? 0 };
  });
  if (found.length === 0) return undefined;
  const lowest = Math.min(...found.map(({ level }) => level));
  const highest = Math.max(...found.map(({ level }) => level));
  const isNewest = lowest >= FORMAT_LEVEL;
  const figures =
    lowest === highest
      ? `format ${lowest}`
      : found.map(({ label, level }) => `${label} format ${level}`).join(", ");
  const advice = `format ${FORMAT_LEVEL} follows once all members, unstarted ones too, are connected and run ringd ${readBy(FORMAT_LEVEL)} or later`;
  return {
    check: "formats",
    level: isNewest ? "ok" : "warn",
    figures,
    advice: isNewest ? "" : advice,
  };
}

function database(all: readonly MemberFacts[]): Finding | undefined {
  const figures = measured(all).flatMap(({ label, metrics }): Figure[] => {
    const bytes = metrics.sum("ringd_store_bytes");
    const quota = metrics.sum("ringd_store_quota_bytes") ?? 0;
    if (bytes === undefined || quota <= 0) return [];
    const isFull = (metrics.sum("ringd_store_full") ?? 0) > 0;
    const text = `${label} ${mib(bytes)} of ${mib(quota)}${isFull ? ", full" : ""}`;
    return [{ text, level: isFull ? "fail" : judge(bytes / quota, STORE) }];
  });
  return finding("database", figures, "delete keys, or raise --quota-backend-bytes and memory");
}

function descriptors(all: readonly MemberFacts[]): Finding | undefined {
  const figures = measured(all).flatMap(({ label, metrics }): Figure[] => {
    const used = metrics.sum("os_fd_used");
    const limit = metrics.sum("os_fd_limit") ?? 0;
    if (used === undefined || limit <= 0) return [];
    return [{ text: `${label} ${used} of ${limit}`, level: judge(used / limit, FILES) }];
  });
  return finding(
    "open-files",
    figures,
    "raise the limit (ulimit -n, LimitNOFILE=), or lower --max-connections",
  );
}

function certificates(all: readonly MemberFacts[], nowS: number): Finding | undefined {
  const figures = measured(all).flatMap(({ label, metrics }): Figure[] =>
    [...metrics.byLabel("ringd_tls_certificate_expiry_timestamp_seconds", "side")].flatMap(
      ([side, endS]): Figure[] => {
        if (endS <= 0) return [];
        const days = (endS - nowS) / DAY_S;
        const level = days < CERTIFICATE.fail ? "fail" : days < CERTIFICATE.warn ? "warn" : "ok";
        const text = `${label} (${side}) ${days < 0 ? "expired" : `${Math.floor(days)} days`}`;
        return [{ text, level }];
      },
    ),
  );
  return finding(
    "certificates",
    figures,
    "replace the files: members read them again by themselves",
  );
}

function access(all: readonly MemberFacts[]): Finding | undefined {
  const denied = live(all).filter(({ state }) => state.metrics === undefined);
  if (denied.length === 0) return undefined;
  return {
    check: "access",
    level: "fail",
    figures: `${names(denied)} refused /metrics, so most checks left them out`,
    advice: "the members run with --protect-status: give root's password with -u root:PASSWORD",
  };
}

function names(some: readonly MemberFacts[]): string {
  return some.map(({ label }) => label).join(" and ");
}

/** The upper bound of a histogram's bucket. */
function bound(seconds: number): string {
  if (seconds === Number.POSITIVE_INFINITY) return "> 3 s";
  return `<= ${Number((seconds * 1000).toPrecision(3))} ms`;
}

function mib(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
