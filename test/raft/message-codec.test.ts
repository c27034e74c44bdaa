import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { Message } from "#ringd/raft/message.js";
import { MessageError } from "#ringd/raft/message-bytes.js";
import {
  decodeMessage,
  encodeMessage,
  encodeMessageInto,
  messageBytes,
} from "#ringd/raft/message-codec.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";

const envelope = { to: 2n ** 64n - 1n, from: 7n, term: 2 ** 40 + 3 };
const termless = { ...envelope, term: 0 };
const data = new TextEncoder().encode("hello");
const big = Number.MAX_SAFE_INTEGER;

const MESSAGES: readonly Message[] = [
  { type: "preVote", ...envelope, lastIndex: big, lastTerm: 5 },
  { type: "preVoteReply", ...envelope, granted: true, commit: 4, commitTerm: 1 },
  { type: "vote", ...envelope, lastIndex: 9, lastTerm: 5, transfer: true },
  { type: "vote", ...envelope, lastIndex: 9, lastTerm: 5, transfer: false },
  { type: "voteReply", ...envelope, granted: false, commit: 4, commitTerm: 1 },
  { type: "append", ...envelope, prevIndex: 0, prevTerm: 0, commit: 0, entries: [] },
  {
    type: "append",
    ...envelope,
    prevIndex: 10,
    prevTerm: 3,
    commit: 9,
    entries: [
      { index: 11, term: 3, type: 0, data },
      { index: 12, term: 4, type: 1, data: new Uint8Array(0) },
    ],
  },
  { type: "appendReply", ...envelope, index: 77 },
  { type: "appendReject", ...envelope, rejectedIndex: 9, hintIndex: 5, hintTerm: 2 },
  { type: "heartbeat", ...envelope, commit: 3, round: 8 },
  { type: "heartbeatReply", ...envelope, round: 8 },
  {
    type: "snapshot",
    ...envelope,
    meta: { index: 5, term: 4, conf: { voters: [1n, 2n], learners: [3n] } },
  },
  { type: "timeoutNow", ...envelope },
  { type: "forward", ...termless, proposals: [{ type: 0, data }] },
  {
    type: "forwardOnce",
    ...envelope,
    life: 3,
    oldest: 7,
    proposals: [{ number: 2 ** 50, type: 0, data }],
  },
  { type: "readIndex", ...termless, request: 2 ** 50 },
  { type: "readIndexReply", ...termless, request: 2 ** 50, index: 12 },
  { type: "transfer", ...termless, target: 3n },
];

// Beside the sources; the compiled test runs from dist/test/raft/.
const BYTES = new URL("../../../test/raft/testdata/messages.hex", import.meta.url);

test("every message has the bytes that members of all versions know", () => {
  const lines = MESSAGES.map(
    (message) => `${message.type} ${Buffer.from(encodeMessage(message)).toString("hex")}\n`,
  );
  assert.equal(lines.join(""), readFileSync(BYTES, "utf8"));
});

test("every message survives the way there and back", () => {
  for (const message of MESSAGES) {
    const bytes = encodeMessage(message);
    assert.equal(bytes.length, messageBytes(message));
    assert.deepEqual(decodeMessage(bytes), message);
  }
});

test("a message is written in place, and read from the middle of other bytes", () => {
  for (const message of MESSAGES) {
    const around = new Uint8Array(messageBytes(message) + 10).fill(0xff);
    const inside = around.subarray(5, around.length - 5);
    const view = new DataView(around.buffer);
    assert.equal(encodeMessageInto(message, around, view, 5), around.length - 5);
    assert.deepEqual(decodeMessage(inside), message);
    assert.deepEqual([around[4], around[around.length - 5]], [0xff, 0xff]);
  }
});

test("a message that is truncated, or followed by bytes, is rejected", () => {
  for (const message of MESSAGES) {
    const bytes = encodeMessage(message);
    for (let length = 0; length < bytes.length; length++) {
      assert.throws(() => decodeMessage(bytes.subarray(0, length)), MessageError);
    }
    assert.throws(() => decodeMessage(new Uint8Array([...bytes, 0])), MessageError);
  }
});

test("hostile bytes give a MessageError or a message, which can be encoded again", () => {
  const prng = new Prng(SEED);
  let accepted = 0;
  for (let i = 0; i < 50_000; i++) {
    const bytes = encodeMessage(prng.pick(MESSAGES));
    for (let n = 1 + prng.below(3); n > 0; n--) bytes[prng.below(bytes.length)] = prng.below(256);
    try {
      const message = decodeMessage(bytes);
      assert.deepEqual(encodeMessage(message), bytes);
      accepted++;
    } catch (error) {
      assert.ok(error instanceof MessageError, `SEED=${SEED}: ${error}`);
    }
  }
  assert.ok(accepted > 1000 && accepted < 49_000, `SEED=${SEED}: ${accepted} accepted`);
});

test("messages that no member sends are rejected", () => {
  const refuse = (message: Message, reason: RegExp) =>
    assert.throws(() => decodeMessage(encodeMessage(message)), reason);
  refuse({ type: "timeoutNow", ...termless }, /timeoutNow with term 0/);
  refuse({ type: "transfer", ...envelope, target: 3n }, /transfer with term/);
  const nobody = encodeMessage({ type: "transfer", ...termless, target: 3n }).fill(0, 25);
  assert.throws(() => decodeMessage(nobody), /member id/);
  const append = { type: "append", ...envelope, prevIndex: 1, prevTerm: 3, commit: 0 } as const;
  refuse({ ...append, entries: [{ index: 2, term: 2, type: 0, data }] }, /term 2 after 3/);
  refuse({ ...append, entries: [{ index: 2, term: big, type: 0, data }] }, /term/);
  const conf = { voters: [1n, 2n], learners: [2n] };
  refuse({ type: "snapshot", ...envelope, meta: { index: 5, term: 4, conf } }, /named twice/);
  const huge = encodeMessage({ type: "forward", ...termless, proposals: [] });
  new DataView(huge.buffer).setUint32(25, 0xffffffff, true);
  assert.throws(() => decodeMessage(huge), /4294967295 items/);
});
