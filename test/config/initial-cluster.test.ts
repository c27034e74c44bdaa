import assert from "node:assert/strict";
import { test } from "node:test";
import { isCompatible, readRemoteMembers } from "#ringd/bootstrap/remote-members.js";
import { foundingPlan, StartPlanError } from "#ringd/bootstrap/start-plan.js";
import { initialClusterText, parseInitialCluster } from "#ringd/config/initial-cluster.js";
import { sha1 } from "../cluster/one-member.js";
import { Prng } from "../support/prng.js";

test("blanks and empty items are ignored, names may repeat, URLs are sorted", () => {
  const parsed = parseInitialCluster(" n2=HTTP://b:1 ,, n1 = http://c:1,n2=http://a:1,");
  assert.equal(parsed.kind, "members");
  if (parsed.kind !== "members") return;
  assert.deepEqual(parsed.members, [
    { name: "n2", peerUrls: ["http://a:1", "http://b:1"] },
    { name: "n1", peerUrls: ["http://c:1"] },
  ]);
  const text = initialClusterText(parsed.members);
  assert.equal(text, "n1=http://c:1,n2=http://a:1,n2=http://b:1");
  assert.deepEqual(parseInitialCluster(""), { kind: "members", members: [] });
  assert.deepEqual(parseInitialCluster("n1=http://a:1/x"), {
    kind: "invalid",
    message: "URL must not contain a path: http://a:1/x",
  });
});

test("ids that collide, or are 0, are rejected", () => {
  const members = [
    { name: "a", peerUrls: ["http://a:1"] },
    { name: "b", peerUrls: ["http://b:1"] },
  ];
  const plan = (byte: number) => () =>
    foundingPlan(members, "a", "t", () => Buffer.alloc(20, byte));
  assert.throws(plan(1), new StartPlanError("member exists with identical ID 101010101010101"));
  assert.throws(plan(0), new StartPlanError("cannot use 0 as member id"));
  assert.equal(foundingPlan(members, "b", "t", sha1).members.length, 2);
});

test("another member's response is used only if it is complete", () => {
  const good = '[{"id":18446744073709551615,"name":"\\"id\\":5","peerURLs":["http://a:1"]}]';
  assert.deepEqual(readRemoteMembers(good, "00AB"), {
    kind: "cluster",
    cluster: {
      clusterId: 0xabn,
      members: [
        {
          ...{ id: 2n ** 64n - 1n, name: '"id":5', peerUrls: ["http://a:1"] },
          ...{ clientUrls: [], isLearner: false },
        },
      ],
    },
  });
  const bad: readonly (readonly [string, string])[] = [
    [good, ""],
    [good, "0"],
    [good, "x"],
    ["", "1"],
    ["null", "1"],
    ['{"id":1}', "1"],
    ["[null]", "1"],
    ["[{}]", "1"],
    ['[{"id":0}]', "1"],
    ['[{"id":18446744073709551616}]', "1"],
    ['[{"id":-1}]', "1"],
    ['[{"id":1.5}]', "1"],
    ['[{"id":1,"name":1}]', "1"],
    ['[{"id":1,"peerURLs":[1]}]', "1"],
    ['[{"id":1,"clientURLs":{}}]', "1"],
    ['[{"id":1},{"id":1}]', "1"],
  ];
  for (const [body, clusterId] of bad) {
    assert.equal(readRemoteMembers(body, clusterId).kind, "unusable", `${body} ${clusterId}`);
  }
  const seed = Number(process.env.SEED ?? 31);
  const prng = new Prng(seed);
  for (let round = 0; round < 5000; round++) {
    const bytes = Buffer.from(good);
    bytes[prng.below(bytes.length)] = prng.below(128);
    const { kind } = readRemoteMembers(bytes.toString("latin1"), "ab");
    assert.match(kind, /^(cluster|unusable)$/, `SEED=${seed} round ${round}`);
  }
});

test("a cluster version must be known and within range", () => {
  for (const versions of [["3.4.0"], ["3.0.0", ""], ["not_decided", "3.4.0"], ["3.3.0", "3.4.0"]]) {
    assert.ok(isCompatible(versions), versions.join());
  }
  for (const versions of [[], [""], ["not_decided"], ["3.5.0"], ["2.3.0"], ["3.4.0", "4.0.0"]]) {
    assert.ok(!isCompatible(versions), versions.join());
  }
});
