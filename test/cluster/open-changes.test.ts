import assert from "node:assert/strict";
import { test } from "node:test";
import type { MemberChange } from "#ringd/cluster/member-change.js";
import { OpenChanges } from "#ringd/cluster/open-changes.js";

const ADD: MemberChange = { kind: "add", id: 7n, peerUrls: ["http://a:1"] };
const UPDATE: MemberChange = { kind: "update", id: 7n, peerUrls: ["http://a:1"] };

test("a change is proposed at once, matched by its origin, and completed once", () => {
  const open = new OpenChanges<string>(5n, 100);
  open.add(ADD, "alice", 10);
  open.add(ADD, "bob", 10);
  const due = open.due(10);
  assert.deepEqual(
    due.map(({ client, origin }) => [client, origin]),
    [
      ["alice", { memberId: 5n, number: 101 }],
      ["bob", { memberId: 5n, number: 102 }],
    ],
  );
  for (const one of due) open.proposed(one, true, 10);
  assert.deepEqual(open.due(11), []);
  assert.equal(open.take({ memberId: 6n, number: 101 }), undefined, "another member's");
  assert.equal(open.take({ memberId: 5n, number: 101 })?.client, "alice");
  assert.equal(open.take({ memberId: 5n, number: 101 }), undefined);
  assert.equal(open.size, 1);
});

test("a change that raft rejects is retried soon; a lost one later, unless it is an update", () => {
  const open = new OpenChanges<string>(5n, 0);
  open.add(ADD, "alice", 0);
  open.add(UPDATE, "bob", 0);
  for (const one of open.due(0)) open.proposed(one, false, 0);
  assert.equal(open.due(49).length, 0);
  const again = open.due(50);
  assert.equal(again.length, 2);
  for (const one of again) open.proposed(one, true, 50);
  assert.equal(open.due(299).length, 0);
  assert.deepEqual(
    open.due(100_000).map(({ client }) => client),
    ["alice"],
  );
});

test("changes that timed out are removed", () => {
  const open = new OpenChanges<string>(5n, 0);
  open.add(ADD, "alice", 1);
  open.add(ADD, "bob", 2);
  assert.deepEqual(
    open.takeOlderThan(1).map(({ client }) => client),
    ["alice"],
  );
  assert.equal(open.size, 1);
  assert.equal(open.take({ memberId: 5n, number: 1 }), undefined);
});
