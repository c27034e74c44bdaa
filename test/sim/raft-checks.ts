import assert from "node:assert/strict";
import type { Entry } from "#ringd/raft/entry.js";
import type { Message } from "#ringd/raft/message.js";
import type { Raft } from "#ringd/raft/raft.js";
import type { SimDisk } from "./raft-disk.js";

/**
 * Everything that the cluster has agreed on, and the checks of Raft's properties (paper, figure 3).
 */
export class Checks {
  readonly #leaderOf = new Map<number, bigint>();
  /** "member/term" -> its vote, across all incarnations. */
  readonly #votes = new Map<string, bigint>();
  /** "index/term" -> the entry's predecessor and content. */
  readonly #entries = new Map<string, string>();
  /** Entry `i + 1` as first committed. */
  readonly committed: Entry[] = [];
  /** The term in which entry `i + 1` was committed, or a later one; 1 for bootstrap entries. */
  readonly #committedIn: number[] = [];
  /** The state after entry `i + 1`. */
  readonly states: number[] = [];

  get commitIndex(): number {
    return this.committed.length;
  }

  /**
   * Election safety, and leader completeness. A leader whose votes were delayed may be of a term
   * before that in which the newest entries were committed, and lack those.
   */
  leads(raft: Raft): void {
    const { id, term } = raft;
    const other = this.#leaderOf.get(term);
    assert.ok(other === undefined || other === id, `${id} and ${other} both lead term ${term}`);
    if (other === id) return;
    this.#leaderOf.set(term, id);
    const { firstIndex } = raft.status();
    for (let index = firstIndex; index <= this.commitIndex; index++) {
      if ((this.#committedIn[index - 1] ?? 1) >= term) continue;
      const entry = this.committed[index - 1] as Entry;
      const own = raft.termOf(index);
      assert.equal(own, entry.term, `leader ${id} of term ${term} lacks committed entry ${index}`);
    }
  }

  /** Log matching: entries with equal index and term have equal content and predecessors. */
  writes(raft: Raft, entries: readonly Entry[]): void {
    let before = entries.length === 0 ? 0 : raft.termOf((entries[0] as Entry).index - 1);
    for (const entry of entries) {
      const key = `${entry.index}/${entry.term}`;
      const says = `${before}:${entry.type}:${Buffer.from(entry.data).toString("hex")}`;
      const known = this.#entries.get(key);
      if (known === undefined) this.#entries.set(key, says);
      else assert.equal(says, known, `entry ${key} of ${raft.id} is another one elsewhere`);
      before = entry.term;
    }
  }

  /** Committed entries are on a majority of the disks of the committer's members. */
  commits(raft: Raft, disks: ReadonlyMap<bigint, SimDisk>): void {
    for (let index = this.commitIndex + 1; index <= raft.commit; index++) {
      const term = raft.termOf(index);
      assert.ok(term !== undefined, `${raft.id} commits entry ${index}, which it does not have`);
      const { voters } = raft.conf;
      const holders = voters.filter((id) => disks.get(id)?.holds(index, term) === true);
      assert.ok(
        holders.length * 2 > voters.length,
        `entry ${index}/${term} committed by ${raft.id} is on disks ${holders} of ${voters}`,
      );
      this.committed.push(raft.entryOf(index));
      this.#committedIn[index - 1] = raft.term;
    }
  }

  /** State machine safety. @returns the state after the entry */
  applies(id: bigint, entry: Entry, stateBefore: number): number {
    const agreed = this.committed[entry.index - 1];
    assert.ok(agreed !== undefined, `${id} applies entry ${entry.index}, which nobody committed`);
    assert.equal(entry.term, agreed.term, `${id} applies another entry ${entry.index}`);
    assert.deepEqual(entry.data, agreed.data, `${id} applies another entry ${entry.index}`);
    let state = Math.imul(stateBefore ^ entry.index, 0x01000193) ^ entry.term;
    for (const byte of entry.data) state = Math.imul(state ^ byte, 0x01000193);
    const known = this.states[entry.index - 1];
    if (known === undefined) this.states[entry.index - 1] = state;
    else assert.equal(state, known, `${id} has another state after entry ${entry.index}`);
    return state;
  }

  /** Everything that a message acknowledges is on the sender's disk. */
  sends(message: Message, disk: SimDisk): void {
    const { term, vote } = disk.hardState;
    if (message.type === "appendReply" && term <= message.term) {
      assert.ok(disk.lastIndex >= message.index, `${message.from} promises ${message.index}`);
    }
    const votes =
      message.type === "vote" ? message.from : message.type === "voteReply" ? message.to : 0n;
    if (votes === 0n || (message.type === "voteReply" && !message.granted)) return;
    const key = `${message.from}/${message.term}`;
    const before = this.#votes.get(key) ?? votes;
    assert.equal(votes, before, `${message.from} votes for two in term ${message.term}`);
    this.#votes.set(key, votes);
    if (term > message.term) return;
    assert.deepEqual([term, vote], [message.term, votes], `${message.from} forgets its vote`);
  }
}
