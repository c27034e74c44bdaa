import { assert } from "../lib/assert.js";
import { type Entry, EntryType } from "./entry.js";
import { type Position, RaftLog } from "./log.js";
import type { Restored } from "./options.js";
import { PackedEntries } from "./packed-entries.js";

/** Rebuilds the log after a restart. */
export function restoreLog(
  { hardState, snapshot, packed, entries, applied }: Restored,
  packEntries: number,
): RaftLog {
  assert(applied === snapshot.index, "the store was restored from the snapshot");
  assert(packed === undefined || packed.end - 1 <= hardState.commit, "a pack is committed");
  const { base, rest } =
    packed === undefined || packed.end === snapshot.index + 1
      ? split(snapshot, entries)
      : { base: { index: snapshot.index, term: snapshot.term }, rest: entries.slice() };
  const first = packed?.end ?? base.index + 1;
  assert(base.index <= snapshot.index, "a log continues the snapshot, or holds its position");
  assert((rest[0]?.index ?? first) === first, "entries follow the base");
  // Changes that are packed are committed anyway.
  const commit = Math.max(hardState.commit, snapshot.index, committedByConfChanges(rest));
  const older = packed ?? new PackedEntries(first, packEntries);
  const log = new RaftLog(base, older, rest, commit, applied);
  assert(snapshot.index <= log.lastIndex, "the log reaches the snapshot");
  log.assertInvariants();
  return log;
}

/** If the log on disk includes the snapshot's position, its first entry becomes the base. */
function split(snapshot: Position, entries: readonly Entry[]): { base: Position; rest: Entry[] } {
  const position = { index: snapshot.index, term: snapshot.term };
  const first = entries[0];
  if (first === undefined) return { base: position, rest: [] };
  if (first.index > snapshot.index) return { base: position, rest: entries.slice() };
  // A log that ends before the snapshot or contradicts it was replaced by the snapshot.
  const met = entries[snapshot.index - first.index];
  if (met === undefined || met.term !== snapshot.term) return { base: position, rest: [] };
  return { base: { index: first.index, term: first.term }, rest: entries.slice(1) };
}

/**
 * The last membership change but one in the log. A leader appends a change only after it has
 * applied the previous one, so all but the last are committed, even if our hard state lags. The
 * commit index must cover them: a majority of a membership two changes old need not overlap with a
 * current one.
 */
function committedByConfChanges(entries: readonly Entry[]): number {
  let last = 0;
  let beforeLast = 0;
  for (const entry of entries) {
    if (entry.type !== EntryType.confChange) continue;
    beforeLast = last;
    last = entry.index;
  }
  return beforeLast;
}
