import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  checkEntryFormat,
  envelopeBytes,
  MachineId,
  readEnvelope,
  writeEnvelope,
} from "#ringd/cluster/envelope.js";
import { FORMAT_LEVEL, FormatLevels, NewerFormatError, readBy } from "#ringd/cluster/format.js";
import { decodeSnapshotHead, encodeSnapshotHead } from "#ringd/cluster/snapshot-head.js";
import { type Command, raiseCommand, syncCommand } from "#ringd/store/command.js";
import { encodeCommand, encodedBytes } from "#ringd/store/command-codec.js";

const CONF = { voters: [1n, 2n], learners: [3n] };

function entryOf(command: Command, format: number): Buffer {
  const at = envelopeBytes(format);
  const data = Buffer.alloc(at + encodedBytes(command));
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  writeEnvelope(view, 0, format, MachineId.v2Store, 0xfedcba9876543210n, 2 ** 52 - 1);
  encodeCommand(command, data, view, at);
  return data;
}

function checkFormats(entries: readonly Buffer[], newest: number): void {
  for (const data of entries) checkEntryFormat(data, newest);
}

test("envelopes of both formats name the proposer, and differ by four bytes", () => {
  for (const format of [1, 2]) {
    const { origin, number, payloadAt } = readEnvelope(entryOf(syncCommand(5), format));
    assert.deepEqual([origin, number], [0xfedcba9876543210n, 2 ** 52 - 1]);
    assert.equal(payloadAt, format === 1 ? 16 : 20);
  }
});

test("entries of a newer format, of an unknown machine, or with too high a level are rejected", () => {
  const newer = entryOf(syncCommand(5), 2);
  newer[16] = 128 + 3;
  const stranger = entryOf(syncCommand(5), 2);
  stranger[17] = 1;
  const raise = entryOf(raiseCommand(3, "0.3.0", 0), 2);
  const fine = [
    entryOf(syncCommand(1), 1),
    Buffer.alloc(0),
    entryOf(raiseCommand(2, "0.2.0", 0), 1),
  ];
  checkFormats([...fine, entryOf(syncCommand(1), 2)], 2);
  assert.throws(() => checkFormats([entryOf(syncCommand(1), 2)], 1), NewerFormatError);
  assert.throws(() => checkFormats([newer], 2), /it has format 3, which a newer ringd reads/);
  assert.throws(() => checkFormats([stranger], 2), /an entry of state machine 1/);
  assert.throws(
    () => checkFormats([...fine, raise], 2),
    /format 3, which ringd 0\.3\.0 or later reads/,
  );
  assert.throws(() => checkFormats(fine, 1), /format 2, which ringd 0\.2\.0 or later reads/);
});

test("a snapshot's head of format 1 is the membership alone; format 2 adds machines, level and time", () => {
  const clock = { ms: 1_700_000_000_000, term: 3, index: 9 };
  const old = encodeSnapshotHead(CONF, { format: 1, clock });
  assert.equal(old.toString(), '{"voters":["1","2"],"learners":["3"]}');
  assert.deepEqual(decodeSnapshotHead(old, 2), {
    conf: CONF,
    format: 1,
    clock: { ms: 0, term: 0, index: 0 },
  });
  const head = encodeSnapshotHead(CONF, { format: 2, clock });
  assert.match(head.toString(), /"format":2,"readBy":"0\.2\.0","machines":\[0\]/);
  assert.deepEqual(decodeSnapshotHead(head, 2), { conf: CONF, format: 2, clock });
  assert.throws(() => decodeSnapshotHead(head, 1), NewerFormatError);
  const more = Buffer.from(head.toString().replace("[0]", "[0,1]"));
  assert.throws(() => decodeSnapshotHead(more, 2), NewerFormatError);
});

test("a level rises once all members, learners too, are connected and support it; it never falls", () => {
  const levels = new FormatLevels(2);
  const all = [1n, 2n, 3n];
  assert.equal(levels.raisable(1n, []), undefined);
  assert.equal(levels.raisable(1n, [1n]), 2);
  levels.connected(2n, 2);
  assert.equal(levels.raisable(1n, all), undefined, "one is not known");
  levels.connected(3n, 1);
  assert.equal(levels.raisable(1n, all), undefined, "one is old");
  levels.connected(3n, 7);
  assert.equal(levels.raisable(1n, all), 2);
  levels.disconnected(2n);
  assert.equal(levels.raisable(1n, all), undefined, "it may come back as another build");
  assert.equal(levels.raise(2, "0.2.0", "the log"), true);
  assert.equal(levels.raise(1, "", "the log"), false);
  assert.equal(levels.level, 2);
  assert.equal(levels.raisable(1n, [1n]), undefined);
  assert.throws(() => levels.raise(3, "0.3.0", "the log"), /ringd 0\.3\.0 or later/);
});

test("the version that reads the newest level is not newer than this one", () => {
  const file = new URL("../../../package.json", import.meta.url);
  const { version } = JSON.parse(readFileSync(file, "utf8")) as { version: string };
  const parts = (text: string) => text.split(".").map(Number);
  const [ours, needed] = [parts(version), parts(readBy(FORMAT_LEVEL))];
  const at = ours.findIndex((part, i) => part !== needed[i]);
  assert.ok(at < 0 || (ours[at] as number) > (needed[at] as number), version);
});

test("bytes that are no envelope, and heads with other fields, are rejected with errors of their own", () => {
  for (const length of [0, 15, 16, 19]) {
    const short = entryOf(syncCommand(5), 2).subarray(0, length);
    assert.throws(() => readEnvelope(short), { code: "COMMAND_MALFORMED" });
  }
  const heads = [
    "null",
    '{"voters":0}',
    '{"voters":["x"]}',
    '{"voters":["0x1"]}',
    '{"voters":["1"],"learners":[2]}',
    '{"voters":["1"],"format":"2"}',
    '{"voters":["1"],"machines":{}}',
    '{"voters":["1"],"clock":{"ms":"1","term":1,"index":1}}',
    '{"voters":["1"],"clock":null}',
  ];
  for (const head of heads) {
    assert.throws(() => decodeSnapshotHead(Buffer.from(head), FORMAT_LEVEL), SyntaxError, head);
  }
  assert.deepEqual(decodeSnapshotHead(Buffer.from("{}"), FORMAT_LEVEL).conf, {
    voters: [],
    learners: [],
  });
});
