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
