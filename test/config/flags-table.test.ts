import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { readConfig } from "#ringd/config/config.js";
import { ConfigError } from "#ringd/config/config-error.js";
import { FLAGS, usage } from "#ringd/config/flags.js";

/**
 * Every flag of `etcd --help`, of 3.4 and 2.3, with a value that requests something: it works, is
 * named in the warning, or is rejected.
 */
const TABLE: Readonly<Record<"works" | "warned", readonly string[]>> = {
  works: [
    "name=x",
    "data-dir=d",
    "wal-dir=w",
    "snapshot-count=5",
    "heartbeat-interval=50",
    "election-timeout=2000",
    "initial-election-tick-advance=false",
    "listen-peer-urls=http://127.0.0.1:1",
    "listen-client-urls=http://127.0.0.1:1",
    "listen-metrics-urls=http://127.0.0.1:1",
    "max-snapshots=1",
    "max-wals=1",
    "cors=http://a:1",
    "host-whitelist=a",
    "initial-advertise-peer-urls=http://127.0.0.1:1",
    "initial-cluster=default=http://127.0.0.1:1",
    "initial-cluster-state=existing",
    "initial-cluster-token=t",
    "advertise-client-urls=http://127.0.0.1:1",
    "strict-reconfig-check=false",
    "pre-vote=false",
    "enable-v2=true",
    "enable-discovery-service=true",
    "force-new-cluster=true",
    "metrics=basic",
    "metrics=extensive",
    "experimental-warning-apply-duration=1s",
    "experimental-warning-unary-request-duration=1s",
    "experimental-enable-distributed-tracing=true",
    "experimental-distributed-tracing-address=a:1",
    "experimental-distributed-tracing-service-name=a",
    "experimental-distributed-tracing-instance-id=a",
    "experimental-distributed-tracing-sampling-rate=1",
    "logger=zap",
    "log-outputs=stderr",
    "log-output=stderr",
    "log-level=debug",
    "log-package-levels=raft=DEBUG",
    "debug=true",
    "discovery=http://a:1/t",
    "discovery-fallback=exit",
    "discovery-srv=a",
    "discovery-srv-name=a",
    "discovery-proxy=http://a:1",
    "proxy=off",
    "proxy=readonly",
    "proxy=on",
    "proxy-read-timeout=1",
    "proxy-write-timeout=1",
    "proxy-dial-timeout=1",
    "proxy-refresh-interval=1",
    "proxy-failure-wait=1",
    "unsafe-no-fsync=true",
    "enable-pprof=true",
    "trusted-ca-file=c",
    "client-crl-file=c",
    "client-cert-allowed-hostname=h",
    "auto-tls=true",
    "peer-trusted-ca-file=c",
    "peer-ca-file=c",
    "peer-crl-file=c",
    "peer-cert-allowed-cn=a",
    "peer-cert-allowed-hostname=a",
    "peer-auto-tls=true",
    "experimental-peer-skip-client-san-verification=true",
    "cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "tls-min-version=TLS1.3",
    "tls-max-version=TLS1.2",
    "bcrypt-cost=5",
    // Flags of 0.4 that 2.3 still takes.
    "addr=127.0.0.1:1",
    "bind-addr=127.0.0.1:1",
    "peer-addr=127.0.0.1:1",
    "peer-bind-addr=127.0.0.1:1",
  ],
  warned: [
    "backend-batch-interval=1s",
    "backend-batch-limit=1",
    "max-txn-ops=1",
    "max-request-bytes=1",
    "max-concurrent-streams=1",
    "grpc-keepalive-min-time=1s",
    "grpc-keepalive-interval=1h1m",
    "grpc-keepalive-timeout=20s",
    "auto-compaction-retention=1",
    "auto-compaction-mode=revision",
    "auth-token=jwt",
    "auth-token-ttl=5",
    "logger=capnslog",
    "experimental-initial-corrupt-check=true",
    "experimental-corrupt-check-time=1m",
    "experimental-enable-v2v3=/a",
    "experimental-backend-bbolt-freelist-type=map",
    "experimental-enable-lease-checkpoint=true",
    "experimental-compaction-batch-limit=1",
    "experimental-watch-progress-notify-interval=5s",
    "experimental-v3demo=true",
    "experimental-gRPC-addr=127.0.0.1:1",
    "experimental-auto-compaction-retention=1",
  ],
};
/** Required beside listen flags. */
const BESIDE = ["--advertise-client-urls", "http://127.0.0.1:1"];

function outcomeOf(argv: readonly string[], environment: Record<string, string> = {}): string {
  try {
    const request = readConfig(argv, environment);
    assert.ok(request.kind === "run");
    const lines = request.config.warnings.filter((line) => line.startsWith("flags accepted but"));
    assert.ok(lines.length <= 1);
    return lines[0] ?? "";
  } catch (error) {
    if (error instanceof ConfigError) return `refused: ${error.message}`;
    throw error;
  }
}

const nameOf = (item: string) => item.slice(0, item.indexOf("="));
const textOf = (item: string) => item.slice(item.indexOf("=") + 1);

function check(kind: keyof typeof TABLE, item: string, outcome: string): void {
  if (kind === "works") assert.equal(outcome, "", item);
  else {
    const named = outcome.replace("flags accepted but not available: --", "").split("=")[0];
    assert.equal(named, nameOf(item), `${item}: ${outcome}`);
  }
}

for (const kind of ["works", "warned"] as const) {
  test(`${kind}: as a flag, a variable, a key of the file`, (t) => {
    const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
    t.after(() => rmSync(dir, { recursive: true }));
    for (const item of TABLE[kind]) {
      const beside = /^(addr|advertise-client)/.test(item) ? [] : BESIDE;
      check(kind, item, outcomeOf([...beside, `--${item}`]));
      const variable = nameOf(item).toUpperCase().replaceAll("-", "_");
      check(kind, item, outcomeOf(beside, { [`ETCD_${variable}`]: textOf(item) }));
      const file = join(dir, "ringd.yml");
      writeFileSync(file, `${nameOf(item)}: ${JSON.stringify(textOf(item))}\n`);
      check(kind, item, outcomeOf(["--config-file", file]));
    }
  });
}

test("all that is asked for in vain stands in one line", () => {
  const argv = ["--auth-token=jwt", "--max-txn-ops=1", "--enable-grpc-gateway=false"];
  assert.equal(
    outcomeOf(argv, { ETCD_AUTH_TOKEN: "jwt" }),
    "flags accepted but not available: --auth-token, --max-txn-ops",
  );
});

test("TLS settings and unknown keys of a file are named", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = join(dir, "ringd.yml");
  writeFileSync(
    file,
    "peer-transport-security:\n  trusted-ca-file: c\n  shape: round\ncolour: red\ntoString: x\nlog-outputs: [stderr, stdout]\n",
  );
  const request = readConfig(["--config-file", file], {});
  assert.ok(request.kind === "run");
  assert.deepEqual(request.config.warnings, [
    `unrecognized keys in ${file}: colour, toString, peer-transport-security.shape`,
  ]);
  assert.equal(request.config.peerTls?.trustedCaFile, "c");
  assert.deepEqual(request.config.log.outputs, ["stderr", "stdout"]);
});

/** Exit codes of etcd 3.4.23. */
const BAD_VALUES: readonly (readonly [flag: string, exitCode: number])[] = [
  ["proxy-failure-wait=x", 2],
  ["proxy=foo", 2],
  ["discovery-fallback=foo", 2],
  ["experimental-corrupt-check-time=foo", 2],
  ["grpc-keepalive-timeout=20", 2],
  ["max-snapshots=-1", 2],
  ["heartbeat-interval=1.5", 2],
  ["enable-pprof=maybe", 2],
  ["experimental-warning-apply-duration=5", 2],
  ["experimental-warning-unary-request-duration=x", 2],
  ["experimental-distributed-tracing-sampling-rate=x", 2],
  ["logger=foo", 1],
  ["log-outputs=default,stderr", 1],
];

test("invalid values exit with etcd's code, also for flags without effect", () => {
  for (const [flag, exitCode] of BAD_VALUES) {
    assert.throws(() => readConfig([`--${flag}`], {}), { name: "ConfigError", exitCode }, flag);
  }
});

test("--help says whether each flag is available", () => {
  const text = usage();
  for (const name of TABLE.warned.map(nameOf)) {
    if (/^logger/.test(name)) continue; // Depends on the value.
    const list = text.slice(text.indexOf("These other etcd flags"));
    assert.ok(list.includes(`  --${name}\n`), name);
  }
  assert.match(text, /--snapshot-count .*\n(?!.*Not available)/);
});

test("every flag that SECURITY names exists", () => {
  const file = new URL("../../../.github/SECURITY.md", import.meta.url);
  const names = [...readFileSync(file, "utf8").matchAll(/--([a-z][a-z-]+)/g)].map(
    ([, name = ""]) => name,
  );
  assert.ok(names.length > 10);
  for (const name of names) assert.ok(Object.hasOwn(FLAGS, name), name);
});
