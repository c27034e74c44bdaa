import assert from "node:assert/strict";
import { test } from "node:test";
import { confChangeCommands, publishAttributesCommand } from "#ringd/cluster/commands.js";
import { clusterId, formatId, memberId, parseId } from "#ringd/cluster/ids.js";
import { Membership } from "#ringd/cluster/membership.js";
import { CommandOp } from "#ringd/store/command.js";
import { Node } from "#ringd/store/node.js";
import {
  bootstrapCommands,
  CLIENT_URL,
  eventOf,
  MEMBER_ID,
  oneMember,
  PEER_URL,
  sha1,
} from "./one-member.js";

test("bootstrap takes the first three indexes with etcd's paths and values", () => {
  assert.deepEqual(
    bootstrapCommands().map(({ op, path, value }) => [op, path, value]),
    [
      [
        CommandOp.create,
        "/0/members/8ddab73534be950c/raftAttributes",
        `{"peerURLs":["${PEER_URL}"]}`,
      ],
      [
        CommandOp.set,
        "/0/members/8ddab73534be950c/attributes",
        `{"name":"default","clientURLs":["${CLIENT_URL}"]}`,
      ],
      [CommandOp.set, "/0/version", "3.4.0"],
    ],
  );
});

test("the membership follows the events of its commands", () => {
  const membership = oneMember();
  assert.deepEqual(membership.members(), [
    {
      id: MEMBER_ID,
      name: "default",
      peerUrls: [PEER_URL],
      clientUrls: [CLIENT_URL],
      isLearner: false,
    },
  ]);
  assert.equal(membership.version, "3.4.0");

  let index = 3;
  const feed = (commands: readonly Parameters<typeof eventOf>[0][]) => {
    for (const command of commands) membership.apply(eventOf(command, ++index));
  };
  feed(confChangeCommands({ kind: "add", id: 0x1fn, peerUrls: ["http://b:1", "http://a:1"] }, 8));
  assert.deepEqual(
    membership.members().map((member) => member.id),
    [0x1fn, MEMBER_ID],
    "sorted by number, not by text",
  );
  assert.equal(membership.member(0x1fn)?.name, "");
  feed([publishAttributesCommand(0x1fn, "größer <&>", ["http://127.0.0.1:1"], 8)]);
  feed(confChangeCommands({ kind: "update", id: 0x1fn, peerUrls: ["http://c:1"] }, 8));
  assert.deepEqual(membership.member(0x1fn), {
    id: 0x1fn,
    name: "größer <&>",
    peerUrls: ["http://c:1"],
    clientUrls: ["http://127.0.0.1:1"],
    isLearner: false,
  });
  assert.deepEqual(membership.clientUrls(), ["http://127.0.0.1:1", CLIENT_URL]);

  feed(confChangeCommands({ kind: "remove", id: 0x1fn }, 9));
  assert.equal(membership.member(0x1fn), undefined);
  assert.ok(membership.isRemoved(0x1fn));
  assert.ok(!membership.isRemoved(MEMBER_ID));
  assert.deepEqual(membership.removedIds(), [0x1fn]);
});

test("attributes that arrive after the removal are not applied", () => {
  const membership = oneMember();
  const late = publishAttributesCommand(0x1fn, "late", [], 9);
  assert.equal(late.value, '{"name":"late"}');
  assert.ok(!membership.mayApply(late));
  assert.ok(membership.mayApply(publishAttributesCommand(MEMBER_ID, "again", [], 9)));
  assert.ok(membership.mayApply({ ...late, path: "/1/0/members/1f/attributes" }));
});

test("a restore from the store's nodes gives the same membership, in any order", () => {
  const fed = oneMember();
  for (const command of confChangeCommands({ kind: "add", id: 5n, peerUrls: ["http://x:1"] }, 8)) {
    fed.apply(eventOf(command, 4));
  }
  const nodes = [
    ...bootstrapCommands(),
    ...confChangeCommands({ kind: "add", id: 5n, peerUrls: ["http://x:1"] }, 8),
    ...confChangeCommands({ kind: "remove", id: 9n }, 8).slice(1),
  ].map((command, i) => new Node(command.path, command.value, false, i, i, 0));
  nodes.push(new Node("/0/members", "", true, 1, 1, 0), new Node("/1/a", "x", false, 9, 9, 0));
  for (const order of [nodes, nodes.toReversed()]) {
    const restored = new Membership();
    restored.apply(
      eventOf({ ...bootstrapCommands()[0], path: "/0/members/77/raftAttributes" } as never, 1),
    );
    restored.restore(order);
    assert.deepEqual(restored.members(), fed.members());
    assert.equal(restored.version, "3.4.0");
    assert.deepEqual(restored.removedIds(), [9n]);
  }
});

test("ids are derived and written as etcd does", () => {
  // Seen on etcd 3.4.23 started with this peer URL and the default token.
  const id = memberId([PEER_URL], "etcd-cluster", sha1);
  assert.equal(formatId(id), "8ddab73534be950c");
  assert.equal(formatId(clusterId([id], sha1)), "8c2ff40632fd55ca");
  assert.equal(
    memberId(["http://b:1", "http://a:1"], "t", sha1),
    memberId(["http://a:1", "http://b:1"], "t", sha1),
  );
  assert.equal(formatId(0xabn), "ab");
  assert.equal(parseId("000000000000000000008DDAB73534be950c"), MEMBER_ID);
  assert.equal(parseId("00"), 0n);
  for (const bad of ["", "0x1", "-1", "1_0", "zz", "ffffffffffffffffff"]) {
    assert.equal(parseId(bad), undefined, bad);
  }
});
