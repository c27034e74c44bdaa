import assert from "node:assert/strict";
import { test } from "node:test";
import { type Config, readConfig } from "#ringd/config/config.js";

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

test("several members, joining and --force-new-cluster are taken", () => {
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
  test(`refused: ${argv.join(" ")}`, () => {
    assert.throws(() => readConfig(argv, {}), { message: text, exitCode });
  });
}

test("the command line wins over RINGD_ over ETCD_ variables; an empty one is none", () => {
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

test("unknown variables are warned about, those of etcd that are no flags are not", () => {
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
