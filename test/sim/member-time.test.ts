import assert from "node:assert/strict";
import { test } from "node:test";
import { envelopeBytes, MachineId, writeEnvelope } from "#ringd/cluster/envelope.js";
import { VERSIONED_LEVEL } from "#ringd/cluster/format.js";
import { type Entry, EntryType } from "#ringd/raft/entry.js";
import { type Command, raiseCommand, syncCommand } from "#ringd/store/command.js";
import { encodeCommand, encodedBytes } from "#ringd/store/command-codec.js";
import { TimeChecks } from "./member-time.js";

const FORMAT = 2;
const mayStart = () => true;
const jumpedBy = (ms: number) => ({ message: `the cluster clock jumped ahead by ${ms} ms` });

function entryOf(index: number, term: number, command: Command): Entry {
  const at = envelopeBytes(FORMAT);
  const data = Buffer.alloc(at + encodedBytes(command));
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  writeEnvelope(view, 0, FORMAT, MachineId.v2Store, 1n, index);
  encodeCommand(command, data, view, at);
  return { index, term, type: EntryType.normal, data };
}

/** The checks of a cluster at the versioned level, and its simulated time. */
function versioned() {
  const time = { nowMs: 0 };
  const checks = new TimeChecks(() => time.nowMs);
  const appendAt = (nowMs: number, entry: Entry) => {
    time.nowMs = nowMs;
    checks.onAppended([entry]);
    return entry;
  };
  const commitAt = (nowMs: number, entries: readonly Entry[]) => {
    time.nowMs = nowMs;
    checks.onCommitted(entries, mayStart);
  };
  commitAt(0, [appendAt(0, entryOf(1, 1, raiseCommand(VERSIONED_LEVEL, "", 0)))]);
  return { appendAt, commitAt };
}

test("a SYNC that waited for a quorum does not make the next one a jump", () => {
  const { appendAt, commitAt } = versioned();
  const late = appendAt(1000, entryOf(2, 1, syncCommand(501_000)));
  const next = appendAt(16_000, entryOf(3, 2, syncCommand(516_000)));
  commitAt(16_000, [late, next]);
});

test("a clock that jumps ahead is found, whenever its SYNC is committed", () => {
  for (const committedMs of [2000, 60_000]) {
    const { appendAt, commitAt } = versioned();
    commitAt(1000, [appendAt(1000, entryOf(2, 1, syncCommand(501_000)))]);
    const jump = appendAt(2000, entryOf(3, 1, syncCommand(512_000)));
    assert.throws(() => commitAt(committedMs, [jump]), jumpedBy(10_000));
  }
});

test("a restart of the clock may jump, later SYNCs of it may not", () => {
  const { appendAt, commitAt } = versioned();
  commitAt(1000, [appendAt(1000, entryOf(2, 1, syncCommand(501_000)))]);
  commitAt(2000, [appendAt(2000, entryOf(3, 2, syncCommand(902_000, true)))]);
  commitAt(3000, [appendAt(3000, entryOf(4, 2, syncCommand(903_000)))]);
  const jump = appendAt(4000, entryOf(5, 2, syncCommand(920_000)));
  assert.throws(() => commitAt(4000, [jump]), jumpedBy(16_000));
});
