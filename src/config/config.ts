import { FORMAT_LEVEL } from "../cluster/format.js";
import { ConfigError, cannotVerify } from "./config-error.js";
import { type DiscoveryConfig, readDiscovery } from "./discovery.js";
import { FlagReader } from "./flag-reader.js";
import { FLAGS } from "./flags.js";
import { type ClientFrontends, readFrontends } from "./frontends.js";
import { initialClusterText } from "./initial-cluster.js";
import { type ObservabilityConfig, readObservability } from "./observability.js";
import { type ProxyConfig, readProxy } from "./proxy.js";
import { readSavedSnapshots, type SavedSnapshotsConfig } from "./saved-snapshots.js";
import { type Environment, readSources } from "./sources.js";
import { readTlsFlags, type TlsConfig } from "./tls.js";
import { unavailableWarning } from "./unsupported.js";
import { checkBindUrls, type ListenUrl, parseUrls, withoutRepeats } from "./urls.js";

export interface LogConfig {
  readonly level: LogLevel;
  readonly format: "auto" | "json" | "pretty";
  readonly outputs: readonly string[];
  /** The flag that set `outputs`. */
  readonly outputsFlag?: string;
}

export type LogLevel = "debug" | "info" | "warn" | "error" | "fatal";

/** Limits of what clients may send and hold. 0 is none where a minimum is not checked. */
export interface ClientLimits {
  /** Beside the limit of open files. */
  readonly connectionsMax: number;
  readonly connectionsPerAddressMax: number;
  readonly headBytesMax: number;
  readonly bodyBytesMax: number;
  readonly watchesMax: number;
  /** Of keys in PUT and POST. */
  readonly keyBytesMax: number;
  readonly keyLevelsMax: number;
}

/** A member's checked configuration: plain data, so it can be passed to worker threads. */
export interface Config extends ClientFrontends, TlsConfig, ObservabilityConfig {
  readonly name: string;
  readonly dataDir: string;
  /** "": inside the data directory. */
  readonly walDir: string;
  readonly snapshotCount: number;
  /**
   * Log entries before the snapshot kept in memory for peers that lag slightly. No flag sets it.
   */
  readonly catchUpEntries: number;
  readonly heartbeatMs: number;
  readonly electionMs: number;
  readonly listenPeerUrls: readonly ListenUrl[];
  readonly listenClientUrls: readonly ListenUrl[];
  /** Additional URLs for /metrics and /health. */
  readonly listenMetricsUrls: readonly ListenUrl[];
  readonly advertiseClientUrls: readonly string[];
  readonly initialAdvertisePeerUrls: readonly string[];
  /** Unparsed: only a first start reads it, so a mistake in it must not stop a restart. */
  readonly initialCluster: string;
  readonly initialClusterState: "new" | "existing";
  readonly initialClusterToken: string;
  /** Like initialCluster, only of a first start. */
  readonly discovery: DiscoveryConfig;
  readonly proxy: ProxyConfig;
  /** Serve tokens to others. */
  readonly discoveryService: boolean;
  /** 0 keeps all. */
  readonly maxSnapshots: number;
  readonly maxWals: number;
  readonly savedSnapshots: SavedSnapshotsConfig;
  readonly corsOrigins: readonly string[];
  /** Hosts that insecure requests may be for; "*": any. */
  readonly hostWhitelist: readonly string[];
  readonly clientLimits: ClientLimits;
  readonly strictReconfigCheck: boolean;
  readonly forceNewCluster: boolean;
  readonly preVote: boolean;
  readonly initialElectionTickAdvance: boolean;
  readonly eventHistoryMax: number;
  /** Quota of the store; 0: a share of the heap limit; negative: none. */
  readonly quotaBytes: number;
  readonly enablePprof: boolean;
  readonly bcryptCost: number;
  /** "" for none, "stdout", or a file. */
  readonly auditLog: string;
  readonly protectStatus: boolean;
  readonly unsafeNoFsync: boolean;
  /** The newest format level this build supports. Only tests lower it, to get an older member. */
  readonly formatLevel: number;
  readonly log: LogConfig;
  readonly warnings: readonly string[];
  readonly argv: readonly string[];
}

/** The parsed command line. */
export type Request =
  | { readonly kind: "run"; readonly config: Config }
  | { readonly kind: "version" }
  | { readonly kind: "help" };

/** For tests: peers and data see a build that supports no newer level. */
const FORMAT_LEVEL_VARIABLE = "RINGD_TEST_FORMAT_LEVEL";
const ELECTION_MS_MAX = 50_000;
const CATCH_UP_ENTRIES = 5000; // As etcd's.
const EVENT_HISTORY_MIN = 1000;
const EVENT_HISTORY_MAX = 10_000_000;
const HEAD_BYTES_MIN = 8192;
const HEAD_BYTES_MAX = 1024 * 1024;
const BODY_BYTES_MIN = 4096;
const BODY_BYTES_MAX = 10 * 1024 * 1024;
const V2_ANYWAY = "--enable-v2=false has no effect: the v2 API cannot be disabled";
const BCRYPT_COST_MIN = 4;
const BCRYPT_COST_MAX = 31;
const BCRYPT_COST_DEFAULT = 10;
const BCRYPT_COST_INVALID = "use default bcrypt cost instead of the invalid given cost";
const LOG_LEVELS: Readonly<Record<string, LogLevel>> = {
  debug: "debug",
  info: "info",
  notice: "info",
  warn: "warn",
  warning: "warn",
  error: "error",
  dpanic: "fatal",
  panic: "fatal",
  critical: "fatal",
  fatal: "fatal",
};

/**
 * Builds a checked configuration from command line and environment, by etcd's rules
 * (etcdmain/config.go, embed/config.go).
 *
 * @param cores that this process may use
 * @throws ConfigError
 */
export function readConfig(argv: readonly string[], environment: Environment, cores = 1): Request {
  const given = readSources(argv, environment);
  const read = new FlagReader(given);
  if (read.bool("help")) return { kind: "help" };
  if (read.bool("version")) return { kind: "version" };
  read.checkAll();
  checkBootstrapFlags(read);
  const config = buildConfig(read, given.warnings, argv, cores);
  const level = Number(environment[FORMAT_LEVEL_VARIABLE] ?? config.formatLevel);
  return { kind: "run", config: { ...config, formatLevel: level } };
}

function buildConfig(
  read: FlagReader,
  warnings: readonly string[],
  argv: readonly string[],
  cores: number,
): Config {
  const name = read.string("name");
  const addresses = readAddresses(read);
  const heartbeatMs = read.uint("heartbeat-interval");
  const electionMs = read.uint("election-timeout");
  checkTimes(heartbeatMs, electionMs);
  const { initialAdvertisePeerUrls: peerUrls } = addresses;
  // Without --name, a first start fails with etcd's error: no member of that name.
  const alone = initialClusterText([{ name: name || "default", peerUrls }]);
  const dataDir = read.string("data-dir") || `${name}.etcd`;
  const tlsWarnings: string[] = [];
  const tls = readTlsFlags(read, addresses, dataDir, tlsWarnings);
  const initialCluster = read.string("initial-cluster") || alone;
  return {
    name,
    dataDir,
    walDir: read.string("wal-dir"),
    snapshotCount: read.uint("snapshot-count") || Number(FLAGS["snapshot-count"]?.value),
    catchUpEntries: CATCH_UP_ENTRIES,
    heartbeatMs,
    electionMs,
    ...addresses,
    ...tls,
    initialCluster,
    initialClusterState: read.oneOf("initial-cluster-state", ["new", "existing"]),
    initialClusterToken: read.string("initial-cluster-token"),
    discovery: readDiscovery(read),
    proxy: readProxy(read),
    discoveryService: read.bool("enable-discovery-service"),
    maxSnapshots: read.uint("max-snapshots"),
    maxWals: read.uint("max-wals"),
    savedSnapshots: readSavedSnapshots(read, dataDir),
    corsOrigins: items(read.string("cors")),
    hostWhitelist: items(read.string("host-whitelist")),
    clientLimits: readClientLimits(read),
    strictReconfigCheck: read.bool("strict-reconfig-check"),
    forceNewCluster: read.bool("force-new-cluster"),
    preVote: read.bool("pre-vote"),
    initialElectionTickAdvance: read.bool("initial-election-tick-advance"),
    eventHistoryMax: between(read, "event-history", EVENT_HISTORY_MIN, EVENT_HISTORY_MAX),
    quotaBytes: read.int("quota-backend-bytes"),
    ...readFrontends(read, addresses.listenClientUrls, !namesClientUrls(read), cores),
    ...readObservability(read),
    enablePprof: read.bool("enable-pprof"),
    bcryptCost: bcryptCost(read),
    auditLog: read.string("audit-log"),
    protectStatus: read.bool("protect-status"),
    unsafeNoFsync: read.bool("unsafe-no-fsync"),
    formatLevel: FORMAT_LEVEL,
    log: readLog(read),
    warnings: allWarnings(read, [...warnings, ...tlsWarnings]),
    argv,
  };
}

function readClientLimits(read: FlagReader): ClientLimits {
  return {
    connectionsMax: read.uint("max-connections"),
    connectionsPerAddressMax: read.uint("max-connections-per-address"),
    headBytesMax: between(read, "max-header-bytes", HEAD_BYTES_MIN, HEAD_BYTES_MAX),
    bodyBytesMax: between(read, "max-body-bytes", BODY_BYTES_MIN, BODY_BYTES_MAX),
    watchesMax: read.uint("max-watches"),
    keyBytesMax: read.uint("max-key-bytes"),
    keyLevelsMax: read.uint("max-key-levels"),
  };
}

function readLog(read: FlagReader): LogConfig {
  const outputsFlag = read.isGiven("log-outputs") ? "log-outputs" : "log-output";
  const outputs = read
    .string(outputsFlag)
    .split(",")
    .map((output) => output.trim());
  if (outputs.includes("default") && outputs.length > 1) {
    throw cannotVerify('multi logoutput for "default" is not supported yet');
  }
  return {
    level: logLevel(read),
    format: read.oneOf("log-format", ["auto", "json", "pretty"]),
    outputs,
    outputsFlag,
  };
}

function allWarnings(read: FlagReader, warnings: readonly string[]): string[] {
  const all = [...warnings];
  const unavailable = unavailableWarning(read);
  if (unavailable !== undefined) all.push(unavailable);
  if (!read.bool("enable-v2")) all.push(V2_ANYWAY);
  if (read.uint("bcrypt-cost") !== bcryptCost(read)) all.push(BCRYPT_COST_INVALID);
  return all;
}

/** As in etcd, an invalid one does not end the start. */
function bcryptCost(read: FlagReader): number {
  const cost = read.uint("bcrypt-cost");
  return cost < BCRYPT_COST_MIN || cost > BCRYPT_COST_MAX ? BCRYPT_COST_DEFAULT : cost;
}

/** At most one flag may say where the initial members come from. */
function checkBootstrapFlags(read: FlagReader): void {
  const sources = ["initial-cluster", "discovery", "discovery-srv"];
  if (sources.filter((flag) => read.string(flag) !== "").length <= 1) return;
  throw cannotVerify(
    'multiple discovery or bootstrap flags are set. Choose one of "initial-cluster", "discovery" or "discovery-srv"',
  );
}

function checkTimes(heartbeatMs: number, electionMs: number): void {
  if (heartbeatMs === 0) throw cannotVerify("--heartbeat-interval must be >0 (set to 0ms)");
  if (electionMs === 0) throw cannotVerify("--election-timeout must be >0 (set to 0ms)");
  if (5 * heartbeatMs > electionMs) {
    throw cannotVerify(
      `--election-timeout[${electionMs}ms] should be at least as 5 times as --heartbeat-interval[${heartbeatMs}ms]`,
    );
  }
  if (electionMs > ELECTION_MS_MAX) {
    throw cannotVerify(
      `--election-timeout[${electionMs}ms] is too long, and should be set less than ${ELECTION_MS_MAX}ms`,
    );
  }
}

type Addresses = Pick<
  Config,
  | "listenPeerUrls"
  | "listenClientUrls"
  | "listenMetricsUrls"
  | "advertiseClientUrls"
  | "initialAdvertisePeerUrls"
>;

/** URL flags, or the 0.4 addresses that stand for them in etcd 2.x. */
function readAddresses(read: FlagReader): Addresses {
  const client = readPair(read, "listen-client-urls", "advertise-client-urls", "");
  const peer = readPair(read, "listen-peer-urls", "initial-advertise-peer-urls", "peer-");
  if (
    // As in etcd, a file may leave it to the default.
    !read.isFromFile &&
    read.isGiven("listen-client-urls") &&
    !read.isGiven("advertise-client-urls") &&
    !read.isGiven("addr") &&
    !mayBeProxy(read)
  ) {
    throw cannotVerify(
      "--advertise-client-urls is required when --listen-client-urls is set explicitly",
    );
  }
  const metrics = read.urls("listen-metrics-urls");
  for (const urls of [peer.listen, client.listen, metrics]) checkBindUrls(urls);
  checkHosts("initial-advertise-peer-urls", peer.advertised);
  checkHosts("advertise-client-urls", client.advertised);
  return {
    listenClientUrls: withoutRepeats(client.listen),
    listenMetricsUrls: metrics,
    advertiseClientUrls: client.advertised.map((url) => url.text),
    listenPeerUrls: peer.listen,
    initialAdvertisePeerUrls: peer.advertised.map((url) => url.text),
  };
}

/** As in etcd, a process that may become a proxy need not advertise itself. */
function mayBeProxy(read: FlagReader): boolean {
  if (read.string("proxy") !== "off") return true;
  return read.string("discovery") !== "" && read.string("discovery-fallback") === "proxy";
}

/** Whether any source sets the client URLs to listen on. */
function namesClientUrls(read: FlagReader): boolean {
  const flags = ["listen-client-urls", "bind-addr", "addr"];
  return flags.some((flag) => read.string(flag) !== "" && read.isGiven(flag));
}

/** Advertised URLs need a host. */
function checkHosts(flag: string, urls: readonly ListenUrl[]): void {
  const wrong = urls.find((url) => url.host === "");
  if (wrong === undefined) return;
  const all = urls.map(({ text }) => text).join(",");
  throw cannotVerify(
    `--${flag} "${all}" must be "host:port" (unexpected empty host (${wrong.text}))`,
  );
}

function readPair(
  read: FlagReader,
  listenFlag: string,
  advertiseFlag: string,
  legacyPrefix: string,
): { listen: ListenUrl[]; advertised: ListenUrl[] } {
  const hasPair = read.string(`${legacyPrefix}cert-file`) !== "";
  const scheme = hasPair ? "https" : "http";
  const addr = read.string(`${legacyPrefix}addr`);
  const bind = read.string(`${legacyPrefix}bind-addr`);
  if (addr !== "" && read.isGiven(advertiseFlag)) {
    throw cannotVerify(`--${legacyPrefix}addr and --${advertiseFlag} exclude each other`);
  }
  if (bind !== "" && read.isGiven(listenFlag)) {
    throw cannotVerify(`--${legacyPrefix}bind-addr and --${listenFlag} exclude each other`);
  }
  const parse = (flag: string, url: string) =>
    parseUrls(url, (why) => read.invalid(`${legacyPrefix}${flag}`, why));
  const advertised = addr === "" ? read.urls(advertiseFlag) : parse("addr", `${scheme}://${addr}`);
  if (bind !== "") return { listen: parse("bind-addr", `${scheme}://${bind}`), advertised };
  if (addr === "" || read.isGiven(listenFlag)) return { listen: read.urls(listenFlag), advertised };
  const port = advertised[0]?.port ?? 0;
  return { listen: parse("addr", `${scheme}://[::]:${port}`), advertised };
}

function between(read: FlagReader, flag: string, min: number, max: number): number {
  const value = read.uint(flag);
  if (value < min || value > max) {
    throw cannotVerify(`--${flag} is ${value}, and must be between ${min} and ${max}`);
  }
  return value;
}

function logLevel(read: FlagReader): LogLevel {
  if (read.bool("debug")) return "debug";
  const names = [read.string("log-level")];
  if (!read.isGiven("log-level")) {
    for (const item of items(read.string("log-package-levels"))) {
      names.push(item.slice(item.indexOf("=") + 1));
    }
  }
  const levels = names.map((text) => LOG_LEVELS[text.toLowerCase()]);
  if (levels.includes(undefined)) {
    throw new ConfigError(`invalid log level in "${names.join(",")}"`, 1);
  }
  const order = Object.values(LOG_LEVELS);
  return (levels as LogLevel[]).reduce((a, b) => (order.indexOf(a) <= order.indexOf(b) ? a : b));
}

function items(text: string): string[] {
  return text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
}
