import { assert } from "../lib/assert.js";
import { type Entry, EntryType } from "./entry.js";
import { type Position, RaftLog } from "./log.js";
import type { Restored } from "./options.js";

/** The log as it goes on after a restart. */
export function restoreLog(
  { hardState, snapshot, entries, applied }: Restored,
  packEntries: number,
): RaftLog {
  assert(applied === snapshot.index, "the store was restored from the snapshot");
  const { base, rest } = split(snapshot, entries);
  assert(base.index <= snapshot.index, "a log continues the snapshot, or holds its position");
  assert((rest[0]?.index ?? base.index + 1) === base.index + 1, "entries follow the base");
  const commit = Math.max(hardState.commit, snapshot.index, committedByConfChanges(rest));
  return new RaftLog(base, rest, commit, applied, packEntries);
}

/** The first entry on disk becomes the base of a log that includes the snapshot's position. */
function split(snapshot: Position, entries: readonly Entry[]): { base: Position; rest: Entry[] } {
  const position = { index: snapshot.index, term: snapshot.term };
  const first = entries[0];
  if (first === undefined) return { base: position, rest: [] };
  if (first.index > snapshot.index) return { base: position, rest: entries.slice() };
  // A log that ends before the snapshot, or contradicts it, was void when the snapshot came.
  const met = entries[snapshot.index - first.index];
  if (met === undefined || met.term !== snapshot.term) return { base: position, rest: [] };
  return { base: { index: first.index, term: first.term }, rest: entries.slice(1) };
}

/**
 * Changes are proposed one at a time: a leader adds one to the log only when it has applied the one
 * before. So all but the last in any log are committed, even if this member's disk does not say so.
 * It must know: with a membership two changes old, its majority and today's need not share a
 * member.
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
