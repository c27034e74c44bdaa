import assert from "node:assert/strict";
import { test } from "node:test";
import { RingdError } from "#ringd/lib/errors.js";
import { LogReplay, type Replay } from "#ringd/wal/recover.js";
import { Wal } from "#ringd/wal/wal.js";
import { Prng } from "../support/prng.js";
import { SimDisk } from "./sim-disk.js";

/** Every single flipped bit of a log: rejected with its position, or without effect. */

const METADATA = { memberId: 7n, clusterId: 9n };
const ZERO_AHEAD_BYTES = 4096;

/**
 * A log of records of all kinds: small and large, of zeros, with votes, with a snapshot in between.
 */
function writeLog(): { file: string; bytes: Uint8Array } {
  const disk = new SimDisk();
  const { wal } = Wal.create({ disk, metadataIfNew: METADATA, zeroAheadBytes: ZERO_AHEAD_BYTES });
  const prng = new Prng(5);
  let index = 0;
  const append = (term: number, ...sizes: number[]) => {
    const entries = sizes.map((size, i) => ({
      ...{ index: ++index, term, type: 0 },
      // Zeros, which need a mask; text; random bytes.
      data: Uint8Array.from({ length: size }, () => [0, 0x76, prng.uint32()][i % 3] as number),
    }));
    wal.append({ entries, hardState: { term, vote: 7n, commit: Math.max(0, index - 2) } });
    wal.sync();
  };
  append(1, 0, 1, 30);
  append(1, 1500);
  append(2, 17, 300, 3, 5);
  wal.installSnapshot({ index: 20, term: 2 });
  wal.sync();
  index = 20;
  append(3, 0);
  append(3, 600, 600, 600);
  append(3, 5, 5, 5, 5, 5, 5);
  const [file] = wal.segments;
  assert.ok(file !== undefined && wal.segments.length === 1);
  return { file, bytes: disk.read(file) };
}

function replay(file: string, bytes: Uint8Array): Replay {
  const log = new LogReplay("wal", 1);
  log.segment(file, bytes, true);
  return log.finish(20);
}

/** Everything that a member recovers from it, as text. */
function contentOf({ metadata, hardState, base, entries, last, isTorn }: Replay): string {
  const { memberId, clusterId } = metadata;
  const texts = entries.map(
    ({ index, term, type, data }) =>
      `${index} ${term} ${type} ${Buffer.from(data).toString("hex")}`,
  );
  const { term, vote, commit } = hardState;
  const rest = [memberId, clusterId, term, vote, commit, base.index, base.term, last.index];
  return [...rest, last.term, isTorn, ...texts].join("\n");
}

test("a log with any single bit flipped is rejected, or reads as before", () => {
  const { file, bytes } = writeLog();
  const used = bytes.findLastIndex((byte) => byte !== 0) + 1;
  assert.ok(used > 4000 && bytes.length > used + 32);
  const sound = contentOf(replay(file, bytes));
  const harmless: number[] = [];
  for (let bit = 0; bit < 8 * used; bit++) {
    const at = bit >>> 3;
    const mask = 1 << (bit & 7);
    bytes[at] = (bytes[at] as number) ^ mask;
    try {
      assert.equal(contentOf(replay(file, bytes)), sound, `bit ${bit}`);
      harmless.push(at);
    } catch (error) {
      if (!(error instanceof RingdError)) throw error;
      const place = Number(/ at byte (\d+) of wal\//.exec(error.message)?.[1]);
      assert.ok(place <= at, `bit ${bit}: ${error.message}`);
    }
    bytes[at] = (bytes[at] as number) ^ mask;
  }
  // Only the padding of records is without meaning: at most 15 bytes after each of 7.
  const bytesHarmless = new Set(harmless);
  assert.equal(harmless.length, 8 * bytesHarmless.size, "a byte means something or not");
  assert.ok(bytesHarmless.size <= 7 * 15, `${bytesHarmless.size} bytes mean nothing`);
  for (const at of bytesHarmless) assert.equal(bytes[at], 0);
});
