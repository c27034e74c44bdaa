import { type FormatLevels, readBy } from "../cluster/format.js";
import { assert } from "../lib/assert.js";
import type { Raft } from "../raft/raft.js";
import { type Command, raiseCommand } from "../store/command.js";

/** How long the entry that raises the level may be in flight before it is proposed again. */
const RETRY_MS = 2000;

/** Raises the cluster's format level (cluster/format.ts) once all members support a newer one. */
export class FormatRise {
  readonly #raft: Raft;
  readonly #formats: FormatLevels;
  readonly #propose: (command: Command) => boolean;
  #nextMonoMs = 0;

  constructor(raft: Raft, formats: FormatLevels, propose: (command: Command) => boolean) {
    this.#raft = raft;
    this.#formats = formats;
    this.#propose = propose;
  }

  /** Called periodically. @param members ids of all members, including learners and this one */
  tick(members: readonly bigint[], timeMs: number, monoMs: number): void {
    if (!this.#raft.isLeader || monoMs < this.#nextMonoMs) return;
    const level = this.#formats.raisable(this.#raft.id, members);
    if (level === undefined) return;
    assert(level > this.#formats.level, "a level only rises");
    assert(level <= this.#formats.newest, "a leader proposes no level that it cannot read");
    const isProposed = this.#propose(raiseCommand(level, readBy(level), timeMs));
    if (isProposed) this.#nextMonoMs = monoMs + RETRY_MS;
  }
}
