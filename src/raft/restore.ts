import { assert } from "../lib/assert.js";
import { type Entry, EntryType } from "./entry.js";
import { type Position, RaftLog } from "./log.js";
import type { Restored } from "./options.js";

/** Rebuilds the log after a restart. */
export function restoreLog(
  { hardState, snapshot, entries, applied }: Restored,
  packEntries: number,
): RaftLog {
  assert(applied === snapshot.index, "the store was restored from the snapshot");
  const { base, rest } = split(snapshot, entries);
  assert(base.index <= snapshot.index, "a log continues the snapshot, or holds its position");
  assert((rest[0]?.index ?? base.index + 1) === base.index + 1, "entries follow the base");
  const commit = Math.max(hardState.commit, snapshot.index, committedByConfChanges(rest));
  const log = new RaftLog(base, rest, commit, applied, packEntries);
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
