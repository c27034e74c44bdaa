/** How a flag's text is parsed. */
export type FlagKind = "string" | "int" | "uint" | "bool" | "urls" | "duration";

export interface Flag {
  readonly kind: FlagKind;
  /** The default, as text: the usage prints it. */
  readonly value: string;
  readonly help: string;
}

const flag = (kind: FlagKind, value: string, help: string): Flag => ({ kind, value, help });

/**
 * Every flag that has an effect, by section of the usage text.
 * Names and most defaults are etcd 3.4's.
 */
const FLAG_SECTIONS = {
  Member: {
    name: flag("string", "default", "Human-readable name of this member."),
    "data-dir": flag("string", "", "Data directory; default: <name>.etcd."),
    "wal-dir": flag("string", "", "Separate directory for the WAL."),
    "snapshot-count": flag(
      "uint",
      "100000",
      "Applied entries between snapshots; 0 means the default.",
    ),
    "heartbeat-interval": flag("uint", "100", "Heartbeat interval, in ms."),
    "election-timeout": flag("uint", "1000", "Election timeout, in ms."),
    "listen-peer-urls": flag("urls", "http://localhost:2380", "URLs to listen on for peers."),
    "listen-client-urls": flag(
      "urls",
      "http://localhost:2379,http://localhost:4001",
      "URLs to listen on for clients; the default's 4001 uses 'node', and is optional.",
    ),
    "max-snapshots": flag("uint", "5", "Snapshot files to keep; 0 keeps all."),
    "snapshot-interval": flag(
      "duration",
      "0",
      "Save a snapshot file this often, such as 1h; for ringctl snapshot restore. 0: never.",
    ),
    "snapshot-keep": flag("uint", "7", "Saved snapshot files to keep; 0 keeps all."),
    "snapshot-dir": flag(
      "string",
      "",
      "Directory for them, which exists; default: <data-dir>/snapshots, which is made.",
    ),
    "max-wals": flag("uint", "5", "WAL segments to keep; 0 keeps all."),
    cors: flag("string", "*", "Comma-separated list of origins allowed by CORS."),
    "event-history": flag("uint", "1000", "Events kept for waitIndex; at least 1000."),
    "quota-backend-bytes": flag(
      "int",
      "0",
      "Size limit of the store, in bytes; 0: 70% of its heap limit, negative: none.",
    ),
    "frontend-threads": flag(
      "string",
      "auto",
      "Threads that serve clients on each 'uws' port; 'auto': half of the cores, 1 to 3.",
    ),
    frontend: flag(
      "string",
      "uws",
      "KIND[,URL=KIND]...: 'uws' is fast; 'node' serves HTTP as completely as etcd, 1.0 too.",
    ),
  },
  Clustering: {
    "initial-advertise-peer-urls": flag(
      "urls",
      "http://localhost:2380",
      "Peer URLs that this member advertises to other members.",
    ),
    "initial-cluster": flag("string", "", "Initial members, as name=url,name=url."),
    "initial-cluster-state": flag("string", "new", "'new' or 'existing'."),
    "initial-cluster-token": flag("string", "etcd-cluster", "Hashed into the ids."),
    "advertise-client-urls": flag(
      "urls",
      "http://localhost:2379",
      "Client URLs that this member advertises to clients.",
    ),
    "strict-reconfig-check": flag(
      "bool",
      "true",
      "Reject membership changes that would lose quorum.",
    ),
    "force-new-cluster": flag("bool", "false", "Start a one-member cluster from existing data."),
    "pre-vote": flag("bool", "true", "Run a pre-vote before each election."),
    "initial-election-tick-advance": flag(
      "bool",
      "true",
      "After a start, shorten the wait for a leader once a majority is connected.",
    ),
    discovery: flag("string", "", "Discovery URL: a token at a discovery service."),
    "discovery-srv": flag("string", "", "DNS domain whose SRV records list the initial members."),
    "discovery-srv-name": flag("string", "", "Suffix of the DNS service name."),
    "discovery-fallback": flag("string", "proxy", "If the token is full: 'exit' or 'proxy'."),
    "discovery-proxy": flag("string", "", "HTTP proxy for the discovery service."),
    "enable-discovery-service": flag(
      "bool",
      "false",
      "Serve tokens to others: /new?size=N and below /TOKEN, as discovery.etcd.io did.",
    ),
    "enable-v2": flag("bool", "true", "Serve the v2 API; cannot be disabled."),
  },
  Proxy: {
    proxy: flag("string", "off", "'on' or 'readonly': forward requests to the members."),
    "proxy-failure-wait": flag(
      "uint",
      "5000",
      "Time that an endpoint stays in the failed state, in ms.",
    ),
    "proxy-refresh-interval": flag(
      "uint",
      "30000",
      "Interval between refreshes of the endpoints, in ms.",
    ),
    "proxy-dial-timeout": flag("uint", "1000", "Dial timeout, in ms."),
    "proxy-write-timeout": flag("uint", "5000", "Write timeout, in ms."),
    "proxy-read-timeout": flag("uint", "0", "Read timeout, in ms; ends watches. 0: none."),
  },
  Limits: {
    "max-connections": flag(
      "uint",
      "0",
      "Open client connections; 0: as many as the limit of open files allows.",
    ),
    "max-connections-per-address": flag(
      "uint",
      "0",
      "The same from one address (IPv6: one /64); 0: no limit.",
    ),
    "max-watches": flag("uint", "1000000", "Open watches."),
    "max-header-bytes": flag("uint", "1048576", "Request line and headers, 8192 to 1048576."),
    "max-body-bytes": flag("uint", "10485760", "Request body, 4096 to 10485760."),
    "max-key-bytes": flag("uint", "0", "Length of a key that is written; 0: no limit of its own."),
    "max-key-levels": flag("uint", "0", "Its number of levels; 0: no limit of its own."),
  },
  Security: {
    "host-whitelist": flag(
      "string",
      "*",
      "Comma-separated hosts that insecure requests may be for; '*': any.",
    ),
    "cert-file": flag("string", "", "Certificate for https client URLs, with its chain, PEM."),
    "key-file": flag("string", "", "Its key, PEM, not encrypted."),
    "client-cert-auth": flag("bool", "false", "Require certificates of clients."),
    "trusted-ca-file": flag("string", "", "CAs of clients' certificates; requires them, too."),
    "ca-file": flag("string", "", "Deprecated: --trusted-ca-file and --client-cert-auth."),
    "client-crl-file": flag("string", "", "Revoked client certificates, PEM or DER."),
    "client-cert-allowed-hostname": flag(
      "string",
      "",
      "Name that clients' certificates must have.",
    ),
    "auto-tls": flag("bool", "false", "Client TLS with a generated certificate."),
    "peer-cert-file": flag("string", "", "Certificate for TLS between members, PEM."),
    "peer-key-file": flag("string", "", "Its key, PEM, not encrypted."),
    "peer-client-cert-auth": flag("bool", "false", "Require certificates of other members."),
    "peer-trusted-ca-file": flag("string", "", "CAs of members' certificates; requires them, too."),
    "peer-ca-file": flag("string", "", "Deprecated: the two flags above."),
    "peer-crl-file": flag("string", "", "Revoked certificates of members, PEM or DER."),
    "peer-cert-allowed-cn": flag("string", "", "Common name that members' certificates must have."),
    "peer-cert-allowed-hostname": flag("string", "", "Name that members' certificates must have."),
    "experimental-peer-skip-client-san-verification": flag(
      "bool",
      "false",
      "Do not compare a member's certificate with the address it connects from.",
    ),
    "peer-auto-tls": flag("bool", "false", "TLS between members with generated certificates."),
    "cipher-suites": flag("string", "", "Go's names of the TLS 1.2 cipher suites to allow."),
    "tls-min-version": flag("string", "TLS1.2", "'TLS1.2' or 'TLS1.3'."),
    "tls-max-version": flag("string", "", "'TLS1.2' or 'TLS1.3'; the newest by default."),
    "bcrypt-cost": flag("uint", "10", "Cost of new password hashes: one more doubles the time."),
    "audit-log": flag(
      "string",
      "",
      "File, or 'stdout', for a JSON line per refused request, change of users or members, and snapshot.",
    ),
    "protect-status": flag(
      "bool",
      "false",
      "With auth enabled, ask for root on statistics, metrics, /debug and the list of members.",
    ),
  },
  "Distributed tracing": {
    "experimental-enable-distributed-tracing": flag(
      "bool",
      "false",
      "Send OpenTelemetry traces of client requests to a collector.",
    ),
    "experimental-distributed-tracing-address": flag(
      "string",
      "localhost:4317",
      "Address of the collector: OTLP by gRPC, without TLS.",
    ),
    "experimental-distributed-tracing-service-name": flag("string", "etcd", "Its service.name."),
    "experimental-distributed-tracing-instance-id": flag(
      "string",
      "",
      "Its service.instance.id; must be unique.",
    ),
    "experimental-distributed-tracing-sampling-rate": flag(
      "int",
      "0",
      "Traces begun here, of a million requests; those of sampled callers are sent always.",
    ),
  },
  Logging: {
    "log-level": flag("string", "info", "debug, info, warn, error, panic or fatal."),
    debug: flag("bool", "false", "Same as --log-level debug."),
    "log-package-levels": flag("string", "", "Levels by package; the lowest one applies to all."),
    "log-format": flag("string", "auto", "'json', 'pretty', or 'auto': pretty on a terminal."),
    "log-outputs": flag("string", "default", "stderr, stdout, systemd/journal, or files."),
    "log-output": flag("string", "default", "Deprecated: same as --log-outputs."),
    logger: flag("string", "zap", "'zap': JSON; 'capnslog' is accepted with a warning."),
  },
  "Profiling and other": {
    "listen-metrics-urls": flag("urls", "", "Additional URLs that serve /metrics and /health."),
    metrics: flag(
      "string",
      "basic",
      "'basic', or 'extensive': durations of all requests by method and status, too.",
    ),
    "experimental-warning-apply-duration": flag(
      "duration",
      "100ms",
      "Applying entries, or a read by quorum, is warned of if it takes longer.",
    ),
    "experimental-warning-unary-request-duration": flag(
      "duration",
      "300ms",
      "A write is warned of if it takes longer.",
    ),
    "enable-pprof": flag("bool", "false", "Serve profiles of its threads at /debug/pprof/."),
    "config-file": flag("string", "", "YAML file; other flags and variables are then ignored."),
    "unsafe-no-fsync": flag("bool", "false", "Unsafe: acknowledge writes before they are on disk."),
    version: flag("bool", "false", "Print the version and exit."),
    help: flag("bool", "false", "Print this text and exit."),
  },
} as const;

/** etcd 2.x's flags for 0.4 compatibility (its cluster.md); each sets one or two others. */
const LEGACY_ADDRESSES = {
  addr: flag("string", "", "Legacy: the advertised client address, ip:port."),
  "bind-addr": flag("string", "", "Legacy: the client address to listen on."),
  "peer-addr": flag("string", "", "Legacy: the advertised peer address."),
  "peer-bind-addr": flag("string", "", "Legacy: the peer address to listen on."),
} as const;

/** Rejected with an error text of their own. */
export const GONE: ReadonlySet<string> = new Set(["peers", "peers-file"]);

/** Flags of etcd 0.4 that 2.x and 3.x accept, with or without a value, and ignore. */
export const IGNORED_LEGACY: ReadonlySet<string> = new Set([
  "cluster-active-size",
  "cluster-remove-delay",
  "cluster-sync-interval",
  "config",
  "force",
  "max-result-buffer",
  "max-retry-attempts",
  "peer-heartbeat-interval",
  "peer-election-timeout",
  "retry-interval",
  "snapshot",
  "v",
  "vv",
]);

/** Flags of etcd 2.3 and 3.x without a counterpart in a v2 server: parsed, then ignored. */
export const IGNORED: ReadonlyMap<string, FlagKind> = new Map<string, FlagKind>([
  ["experimental-v3demo", "bool"],
  ["experimental-gRPC-addr", "string"],
  ["experimental-auto-compaction-retention", "string"],
  ["auto-compaction-retention", "string"],
  ["auto-compaction-mode", "string"],
  ["max-request-bytes", "uint"],
  ["max-txn-ops", "uint"],
  ["backend-batch-interval", "duration"],
  ["backend-batch-limit", "uint"],
  ["auth-token", "string"],
  ["auth-token-ttl", "uint"],
  ["grpc-keepalive-min-time", "duration"],
  ["grpc-keepalive-interval", "duration"],
  ["grpc-keepalive-timeout", "duration"],
  ["enable-grpc-gateway", "bool"],
  ["max-concurrent-streams", "uint"],
  ["experimental-enable-lease-checkpoint", "bool"],
  ["experimental-enable-lease-checkpoint-persist", "bool"],
  ["experimental-initial-corrupt-check", "bool"],
  ["experimental-corrupt-check-time", "duration"],
  ["experimental-compaction-batch-limit", "uint"],
  ["experimental-enable-v2v3", "string"],
  ["experimental-backend-bbolt-freelist-type", "string"],
  ["experimental-watch-progress-notify-interval", "duration"],
  ["socket-reuse-port", "bool"],
  ["socket-reuse-address", "bool"],
]);

/**
 * Variables without a flag. The first lets etcd start on other processors, as ringd always does.
 */
export const IGNORED_VARIABLES: ReadonlySet<string> = new Set([
  "ETCD_UNSUPPORTED_ARCH",
  "RINGD_TEST_FORMAT_LEVEL",
]);

export const FLAGS: Readonly<Record<string, Flag>> = {
  ...Object.assign({}, ...Object.values(FLAG_SECTIONS)),
  ...LEGACY_ADDRESSES,
};

/** The text of --help. */
export function usage(): string {
  const lines = [
    "Usage:",
    "",
    "  ringd [flags]",
    "    Start a member.",
    "",
    "  ringd gateway start [flags]",
    "    Forward TCP connections to members; see ringd gateway --help.",
    "",
  ];
  for (const [title, flags] of Object.entries(FLAG_SECTIONS)) {
    lines.push(`${title}:`);
    for (const [name, { value, help }] of Object.entries(flags)) {
      lines.push(`  --${name} '${value}'`, `    ${help}`);
    }
    lines.push("");
  }
  lines.push("These other etcd flags are accepted and have no effect:");
  for (const name of IGNORED.keys()) lines.push(`  --${name}`);
  lines.push("");
  lines.push(
    "Flags can also be set by the variables ETCD_<NAME> and RINGD_<NAME>; RINGD_ overrides ETCD_, the",
    "command line overrides both.",
  );
  return lines.join("\n");
}
