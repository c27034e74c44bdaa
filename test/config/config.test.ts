import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type Config, readConfig } from "#ringd/config/config.js";
import { ConfigError } from "#ringd/config/config-error.js";

function configOf(...argv: string[]): Config {
  const request = readConfig(argv, {});
  assert.equal(request.kind, "run");
  return (request as { config: Config }).config;
}

test("without --initial-cluster a member is alone, with the URLs it advertises", () => {
  assert.equal(configOf().initialCluster, "default=http://localhost:2380");
  const urls = ["--initial-advertise-peer-urls", "http://b:1,http://a:1", "--name", "x"];
  assert.equal(configOf(...urls).initialCluster, "x=http://a:1,x=http://b:1");
});

test("several members, joining and --force-new-cluster are accepted", () => {
  const cluster = "n1=http://a:1,n2=http://b:1";
  const config = configOf(
    ...["--name", "n1", "--initial-cluster", cluster, "--initial-cluster-state", "existing"],
    ...["--initial-cluster-token", "t", "--force-new-cluster"],
  );
  assert.equal(config.initialCluster, cluster);
  assert.equal(config.initialClusterState, "existing");
  assert.equal(config.initialClusterToken, "t");
  assert.equal(config.forceNewCluster, true);
});

/** Texts of etcd 3.4.23. */
const REFUSED: readonly (readonly [argv: readonly string[], exitCode: number, text: string])[] = [
  [
    ["--initial-cluster", "a=http://a:1", "--discovery", "http://d:1/t"],
    1,
    `error verifying flags, multiple discovery or bootstrap flags are set. Choose one of "initial-cluster", "discovery" or "discovery-srv". See 'ringd --help'.`,
  ],
  [
    ["--discovery-srv", "example.com", "--discovery", "http://d:1/t"],
    1,
    `error verifying flags, multiple discovery or bootstrap flags are set. Choose one of "initial-cluster", "discovery" or "discovery-srv". See 'ringd --help'.`,
  ],
  [
    ["--initial-advertise-peer-urls", "http://:2380"],
    1,
    `error verifying flags, --initial-advertise-peer-urls "http://:2380" must be "host:port" (unexpected empty host (http://:2380)). See 'ringd --help'.`,
  ],
  [
    ["--advertise-client-urls", "http://a:1,http://:2379"],
    1,
    `error verifying flags, --advertise-client-urls "http://:2379,http://a:1" must be "host:port" (unexpected empty host (http://:2379)). See 'ringd --help'.`,
  ],
  [
    ["--initial-cluster-state", "foo"],
    2,
    'invalid value "foo" for flag -initial-cluster-state: it is one of new, existing',
  ],
];

for (const [argv, exitCode, text] of REFUSED) {
  test(`rejected: ${argv.join(" ")}`, () => {
    assert.throws(() => readConfig(argv, {}), { message: text, exitCode });
  });
}

test("the command line overrides RINGD_, which overrides ETCD_ variables; empty ones are ignored", () => {
  const environment = {
    ETCD_NAME: "etcd",
    RINGD_NAME: "ringd",
    ETCD_DATA_DIR: "from-etcd",
    RINGD_DATA_DIR: "",
    ETCD_WAL_DIR: "from-etcd",
  };
  const request = readConfig(["--wal-dir", "given"], environment);
  assert.ok(request.kind === "run");
  const { name, dataDir, walDir, warnings } = request.config;
  assert.deepEqual(
    { name, dataDir, walDir },
    { name: "ringd", dataDir: "from-etcd", walDir: "given" },
  );
  assert.deepEqual(warnings, []);
});

test("unknown variables cause a warning, etcd's variables without a flag do not", () => {
  const environment = {
    ETCD_UNSUPPORTED_ARCH: "arm64",
    ETCD_VER: "v3.4.23",
    ETCDCTL_API: "2",
    PATH: "/",
  };
  const request = readConfig([], environment);
  assert.ok(request.kind === "run");
  assert.deepEqual(request.config.warnings, ["unrecognized environment variable ETCD_VER=v3.4.23"]);
});

/** The error of a start; undefined if it is accepted. */
function refusalOf(
  argv: readonly string[],
  environment: Record<string, string> = {},
): { exitCode: number; message: string } | undefined {
  try {
    readConfig(argv, environment);
    return undefined;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const { exitCode, message } = error;
    return { exitCode, message };
  }
}

test("an invalid value is rejected with its source: flag, variable, or key of the file", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = join(dir, "ringd.yml");
  writeFileSync(file, "heartbeat-interval: abc\n");
  assert.deepEqual(refusalOf(["--heartbeat-interval=abc"], { ETCD_HEARTBEAT_INTERVAL: "x" }), {
    exitCode: 2,
    message: 'invalid value "abc" for flag -heartbeat-interval: parse error',
  });
  assert.deepEqual(refusalOf([], { ETCD_HEARTBEAT_INTERVAL: "x" }), {
    exitCode: 1,
    message: `error verifying flags, invalid value "x" for ETCD_HEARTBEAT_INTERVAL: parse error. See 'ringd --help'.`,
  });
  assert.deepEqual(refusalOf([], { RINGD_FORCE_NEW_CLUSTER: "yes" }), {
    exitCode: 1,
    message: `error verifying flags, invalid value "yes" for RINGD_FORCE_NEW_CLUSTER: parse error. See 'ringd --help'.`,
  });
  assert.match(
    refusalOf([], { ETCD_LISTEN_PEER_URLS: "http://a" })?.message ?? "",
    /^error verifying flags, invalid value "http:\/\/a" for ETCD_LISTEN_PEER_URLS: URL address/,
  );
  assert.deepEqual(refusalOf(["--config-file", file], { ETCD_HEARTBEAT_INTERVAL: "x" }), {
    exitCode: 1,
    message: `error verifying flags, invalid value "abc" for heartbeat-interval in ${file}: parse error. See 'ringd --help'.`,
  });
});

test("a file may listen without advertising, flags may not", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = join(dir, "ringd.yml");
  writeFileSync(file, "listen-client-urls: http://127.0.0.1:1\n");
  const { listenClientUrls, advertiseClientUrls } = configOf("--config-file", file);
  assert.deepEqual(
    listenClientUrls.map(({ text }) => text),
    ["http://127.0.0.1:1"],
  );
  assert.deepEqual(advertiseClientUrls, ["http://localhost:2379"]);
  assert.equal(refusalOf(["--listen-client-urls=http://127.0.0.1:1"])?.exitCode, 1);
});

test("etcd's flags without a use in a v2 server are accepted, but not with an invalid value", () => {
  const argv = ["--max-concurrent-streams=5", "--grpc-keepalive-interval", "1s"];
  const { warnings } = configOf(...argv);
  assert.deepEqual(warnings, [
    "flags accepted but not available: --max-concurrent-streams, --grpc-keepalive-interval",
  ]);
  assert.match(configOf("--enable-v2=false").warnings[0] ?? "", /^--enable-v2=false has no effect/);
  assert.equal(refusalOf(["--enable-v2=x"])?.exitCode, 2);
  assert.deepEqual(configOf("--log-output=stdout").log.outputs, ["stdout"]);
  assert.deepEqual(refusalOf(["--max-txn-ops=x"]), {
    exitCode: 2,
    message: 'invalid value "x" for flag -max-txn-ops: parse error',
  });
  assert.deepEqual(refusalOf(["--enable-grpc-gateway=maybe"]), {
    exitCode: 2,
    message: 'invalid boolean value "maybe" for flag -enable-grpc-gateway: parse error',
  });
  for (const argument of ["---x", "--=x", "-=", "---"]) {
    assert.deepEqual(refusalOf([argument]), {
      exitCode: 2,
      message: `bad flag syntax: ${argument}`,
    });
  }
});

test("ETCD_VERSION, an image's version, does not request the version", () => {
  assert.equal(readConfig([], { ETCD_VERSION: "1", RINGD_HELP: "true" }).kind, "run");
  assert.equal(readConfig(["--version"], {}).kind, "version");
});

test("a member without a name is not in any initial cluster", () => {
  assert.equal(configOf("--name=").initialCluster, "default=http://localhost:2380");
});

test("a frontend for each client URL; the first kind applies to the rest", (t) => {
  const urls = "http://127.0.0.1:1,http://127.0.0.1:2,unix://localhost:3";
  const listen = ["--listen-client-urls", urls, "--advertise-client-urls", "http://a:1"];
  assert.deepEqual(configOf(...listen).frontendKinds, {
    "http://127.0.0.1:1": "uws",
    "http://127.0.0.1:2": "uws",
    "unix://localhost:3": "uws",
  });
  const mixed = "node, http://127.0.0.1:2=uws ,unix://localhost:3=node";
  const kinds = {
    "http://127.0.0.1:1": "node",
    "http://127.0.0.1:2": "uws",
    "unix://localhost:3": "node",
  };
  assert.deepEqual(configOf(...listen, "--frontend", mixed).frontendKinds, kinds);
  const fromVariable = readConfig(listen, { RINGD_FRONTEND: mixed });
  assert.ok(fromVariable.kind === "run");
  assert.deepEqual(fromVariable.config.frontendKinds, kinds);

  const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = join(dir, "ringd.yml");
  writeFileSync(file, `listen-client-urls: ${urls}\nfrontend: ${mixed}\n`);
  assert.deepEqual(configOf("--config-file", file).frontendKinds, kinds);
  writeFileSync(file, `listen-client-urls: ${urls}\nfrontend: [${mixed}]\n`);
  assert.deepEqual(configOf("--config-file", file).frontendKinds, kinds);

  assert.deepEqual(refusalOf([...listen, "--frontend", "uws,http://0.0.0.0:2=node"]), {
    exitCode: 1,
    message:
      "error verifying flags, --frontend names http://0.0.0.0:2, which is not one of the client URLs: " +
      "http://127.0.0.1:1, http://127.0.0.1:2, unix://localhost:3. See 'ringd --help'.",
  });
  for (const [text, why] of [
    ["fast", '"fast" is not one of uws, node'],
    ["", '"" is not one of uws, node'],
    ["uws,http://127.0.0.1:2", '"http://127.0.0.1:2" is not a URL=KIND'],
    ["uws,http://127.0.0.1:2=fast", '"fast" is not one of uws, node'],
    ["uws,http://127.0.0.1:2=node,http://127.0.0.1:2=uws", "http://127.0.0.1:2 is named twice"],
  ] as const) {
    const message = `invalid value "${text}" for flag -frontend: ${why}`;
    assert.deepEqual(refusalOf([...listen, `--frontend=${text}`]), { exitCode: 2, message });
  }
  const threads = [...listen, "--frontend-threads=2", "--frontend"];
  assert.equal(refusalOf([...threads, "node,http://127.0.0.1:2=uws"]), undefined);
  assert.equal(refusalOf([...threads, "node"])?.exitCode, 1);
});

test("--frontend-threads: auto is half of the cores, at most three, where uws serves", () => {
  const threads = (cores: number, ...flags: readonly string[]) => {
    const request = readConfig(["--name=a", ...flags], {}, cores);
    assert.equal(request.kind, "run");
    return request.config.frontendThreads;
  };
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6, 64].map((cores) => threads(cores)),
    [1, 1, 1, 2, 2, 3, 3],
  );
  assert.equal(threads(8, "--frontend=node"), 1);
  assert.equal(threads(2, "--frontend-threads=5"), 5);
  for (const [text, exitCode] of [
    ["many", 2],
    ["", 2],
    ["-1", 2],
    ["0", 1],
    ["65", 1],
  ] as const) {
    assert.equal(refusalOf([`--frontend-threads=${text}`])?.exitCode, exitCode, text);
  }
});

test("by default, clients of the old port are served as well", () => {
  const { listenClientUrls, advertiseClientUrls, frontendKinds, optionalClientUrl } = configOf();
  assert.deepEqual(
    listenClientUrls.map(({ text }) => text),
    ["http://localhost:2379", "http://localhost:4001"],
  );
  assert.deepEqual(advertiseClientUrls, ["http://localhost:2379"]);
  assert.deepEqual(frontendKinds, {
    "http://localhost:2379": "uws",
    "http://localhost:4001": "node",
  });
  assert.equal(optionalClientUrl, "http://localhost:4001");
  const fast = configOf("--frontend=node,http://localhost:4001=uws").frontendKinds;
  assert.deepEqual(fast, { "http://localhost:2379": "node", "http://localhost:4001": "uws" });
  for (const argv of [
    ["--listen-client-urls=http://localhost:4001", "--advertise-client-urls=http://a:1"],
    ["--bind-addr=localhost:4001"],
    ["--addr=localhost:4001"],
  ]) {
    const said = configOf(...argv);
    assert.equal(said.optionalClientUrl, "", argv[0]);
    assert.deepEqual(Object.values(said.frontendKinds), ["uws"]);
  }
});

test("a proxy's times are no longer than a timer can be", () => {
  const times = ["refresh-interval", "dial-timeout", "write-timeout", "read-timeout"];
  const { proxy } = configOf(...times.map((name) => `--proxy-${name}=3000000000`));
  assert.equal(proxy.refreshIntervalMs, 2 ** 31 - 1);
  assert.equal(proxy.dialTimeoutMs, 2 ** 31 - 1);
  assert.equal(proxy.writeTimeoutMs, 2 ** 31 - 1);
  assert.equal(proxy.readTimeoutMs, 2 ** 31 - 1);
});

test("a bcrypt cost out of range is warned of in etcd's words, and 10 is used", () => {
  for (const [argument, cost, warnings] of [
    ["--bcrypt-cost=4", 4, []],
    ["--bcrypt-cost=31", 31, []],
    ["--bcrypt-cost=3", 10, ["use default bcrypt cost instead of the invalid given cost"]],
    ["--bcrypt-cost=32", 10, ["use default bcrypt cost instead of the invalid given cost"]],
  ] as const) {
    const config = configOf(argument);
    assert.equal(config.bcryptCost, cost);
    assert.deepEqual(config.warnings, warnings);
  }
});

test("saved snapshots: the command line, a variable, a file", () => {
  const of = (argv: readonly string[], environment: Record<string, string> = {}) => {
    const request = readConfig(["--data-dir", "/d", ...argv], environment);
    assert.equal(request.kind, "run");
    return request.kind === "run" ? request.config.savedSnapshots : undefined;
  };
  const none = { intervalMs: 0, keep: 7, dir: "/d/snapshots", makesDir: true };
  assert.deepEqual(of([]), none);
  assert.deepEqual(of(["--snapshot-interval", "1h30m", "--snapshot-keep=0"]), {
    ...none,
    ...{ intervalMs: 5_400_000, keep: 0 },
  });
  const variables = { RINGD_SNAPSHOT_INTERVAL: "2s", ETCD_SNAPSHOT_DIR: "/mnt/x" };
  assert.deepEqual(of([], variables), {
    intervalMs: 2000,
    keep: 7,
    dir: "/mnt/x",
    makesDir: false,
  });
  const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
  const file = join(dir, "ringd.yml");
  writeFileSync(file, "data-dir: /d\nsnapshot-interval: 24h\nsnapshot-keep: 3\nsnapshot-dir: /s\n");
  assert.deepEqual(of(["--config-file", file]), {
    ...{ intervalMs: 86_400_000, keep: 3, dir: "/s", makesDir: false },
  });
  rmSync(dir, { recursive: true });
});
