import assert from "node:assert/strict";
import { test } from "node:test";
import { confChangeCommands } from "#ringd/cluster/commands.js";
import {
  type ChangeOrigin,
  decodeMemberChange,
  encodeMemberChange,
  type MemberChange,
  MemberChangeError,
  NO_ORIGIN,
} from "#ringd/cluster/member-change.js";
import { judgeConfChange, judgeStrictly } from "#ringd/cluster/rules.js";
import { Prng } from "../support/prng.js";
import { eventOf, MEMBER_ID, oneMember, PEER_URL } from "./one-member.js";

const CHANGES: readonly MemberChange[] = [
  { kind: "add", id: 2n ** 64n - 1n, peerUrls: ["http://a:1", "https://größe:2"] },
  { kind: "update", id: 1n, peerUrls: [] },
  { kind: "remove", id: MEMBER_ID },
  { kind: "promote", id: 7n },
  { kind: "addLearner", id: 8n, peerUrls: ["http://a:1"] },
];
const ORIGINS: readonly ChangeOrigin[] = [
  NO_ORIGIN,
  { memberId: MEMBER_ID, number: 1 },
  { memberId: 1n, number: Number.MAX_SAFE_INTEGER },
];

test("a conf change survives its encoding, whose bytes are fixed", () => {
  for (const change of CHANGES) {
    for (const origin of ORIGINS) {
      const carried = decodeMemberChange(encodeMemberChange(change, origin));
      assert.deepEqual(carried, { ...change, origin });
    }
    assert.deepEqual(decodeMemberChange(encodeMemberChange(change)).origin, NO_ORIGIN);
  }
  const change: MemberChange = { kind: "add", id: 0x1fn, peerUrls: ["u:1"] };
  assert.equal(
    encodeMemberChange(change, { memberId: 0xabn, number: 2 }).toString("hex"),
    "010101001f00000000000000ab0000000000000000000000000000400300753a31",
  );
});

test("hostile bytes are rejected with a typed error", () => {
  const seed = Number(process.env.SEED ?? 4711);
  const prng = new Prng(seed);
  for (let round = 0; round < 3000; round++) {
    const bytes = encodeMemberChange(prng.pick(CHANGES), prng.pick(ORIGINS));
    const cut = bytes.subarray(0, prng.below(bytes.length + 1));
    if (cut.length > 0) cut[prng.below(cut.length)] = prng.below(256);
    try {
      const change = decodeMemberChange(cut);
      assert.deepEqual(encodeMemberChange(change, change.origin), cut);
    } catch (error) {
      assert.ok(error instanceof MemberChangeError, `SEED=${seed} round ${round}: ${error}`);
    }
  }
  assert.throws(() => decodeMemberChange(Buffer.alloc(27)), MemberChangeError);
  for (const number of [0, -1, 0.5, Number.NaN, 2 ** 53]) {
    const wrong = encodeMemberChange({ kind: "remove", id: 1n }, { memberId: 1n, number });
    assert.throws(() => decodeMemberChange(wrong), MemberChangeError, `number ${number}`);
  }
  const nobody = encodeMemberChange({ kind: "remove", id: 1n }, { memberId: 0n, number: 1 });
  assert.throws(() => decodeMemberChange(nobody), MemberChangeError);
  const longer = Buffer.concat([encodeMemberChange({ kind: "remove", id: 1n }), Buffer.alloc(1)]);
  assert.throws(() => decodeMemberChange(longer), MemberChangeError);
});

test("a change is judged by ids first, then by URLs", () => {
  const membership = oneMember();
  const add = (id: bigint, url: string): MemberChange => ({ kind: "add", id, peerUrls: [url] });
  assert.equal(judgeConfChange(add(5n, "http://x:1"), membership), "ok");
  assert.equal(judgeConfChange(add(5n, PEER_URL), membership), "peerUrlExists");
  assert.equal(judgeConfChange(add(MEMBER_ID, PEER_URL), membership), "idExists");
  assert.equal(judgeConfChange({ kind: "remove", id: 5n }, membership), "idNotFound");
  const own: MemberChange = { kind: "update", id: MEMBER_ID, peerUrls: [PEER_URL] };
  assert.equal(judgeConfChange(own, membership), "ok", "its own URL is not taken");
  assert.equal(judgeConfChange({ kind: "promote", id: MEMBER_ID }, membership), "ok");
  assert.equal(judgeConfChange({ kind: "promote", id: 5n }, membership), "idNotFound");
  assert.deepEqual(confChangeCommands({ kind: "promote", id: MEMBER_ID }, 1), []);
  for (const command of confChangeCommands({ kind: "remove", id: 5n }, 1)) {
    membership.apply(eventOf(command, 4));
  }
  assert.equal(judgeConfChange(add(5n, "http://x:1"), membership), "idRemoved");
  assert.equal(judgeConfChange({ kind: "remove", id: 5n }, membership), "idRemoved");
});

test("the strict rules keep a quorum of started and of connected members", () => {
  const member = (id: bigint, name: string, isLearner = false) => {
    return { id, name, peerUrls: [], clientUrls: [], isLearner };
  };
  const started = [1n, 2n, 3n, 4n].map((id) => member(id, `n${id}`));
  const links = (activeMembers: number, down?: bigint) => ({
    activeMembers,
    isConnected: (id: bigint) => id !== down,
  });
  const add: MemberChange = { kind: "add", id: 9n, peerUrls: [] };
  const remove = (id: bigint): MemberChange => ({ kind: "remove", id });
  assert.equal(judgeStrictly(add, started.slice(0, 1), links(1)), "ok", "1 may become 2");
  const halfStarted = [member(1n, "n1"), member(2n, "")];
  assert.equal(judgeStrictly(add, halfStarted, links(1)), "notEnoughStarted");
  assert.equal(judgeStrictly(add, started.slice(0, 2), links(2)), "ok");
  assert.equal(judgeStrictly(add, started, links(3, 4n)), "unhealthy", "not all are connected");
  assert.equal(judgeStrictly(remove(1n), started.slice(0, 1), links(1)), "notEnoughStarted");
  assert.equal(judgeStrictly(remove(3n), started.slice(0, 3), links(3)), "ok");
  assert.equal(judgeStrictly(remove(2n), started.slice(0, 3), links(2)), "unhealthy");
  assert.equal(judgeStrictly(remove(3n), started.slice(0, 3), links(2, 3n)), "ok", "it is down");
  assert.equal(
    judgeStrictly({ kind: "update", id: 1n, peerUrls: [] }, halfStarted, links(0)),
    "ok",
  );
  const learners = [...started.slice(0, 3), member(8n, "", true), member(9n, "n9", true)];
  const addLearner: MemberChange = { kind: "addLearner", id: 10n, peerUrls: [] };
  for (const change of [add, addLearner, remove(3n), remove(8n), remove(9n)]) {
    assert.equal(judgeStrictly(change, learners, links(3)), "ok", "learners do not count");
  }
  assert.equal(judgeStrictly(addLearner, halfStarted, links(2)), "ok", "it takes no votes");
  assert.equal(judgeStrictly(addLearner, learners, links(2)), "unhealthy");
  const promote: MemberChange = { kind: "promote", id: 9n };
  assert.equal(judgeStrictly(promote, learners, links(3)), "ok");
  const hardlyStarted = [member(1n, "n1"), member(2n, ""), member(3n, "")];
  assert.equal(judgeStrictly(promote, hardlyStarted, links(1)), "notEnoughStarted");
});
