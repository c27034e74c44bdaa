import { confChangeCommands } from "../../cluster/commands.js";
import { readEnvelope } from "../../cluster/envelope.js";
import { LATE_TTL_LEVEL, VERSIONED_LEVEL } from "../../cluster/format.js";
import { decodeMemberChange } from "../../cluster/member-change.js";
import { Membership } from "../../cluster/membership.js";
import { judgeConfChange } from "../../cluster/rules.js";
import { NO_HEAD, type SnapshotHead } from "../../cluster/snapshot-head.js";
import type { WalEntry } from "../../messages/log-entry.js";
import { decodeConfChange } from "../../raft/conf-change.js";
import { EntryType } from "../../raft/entry.js";
import { type Command, CommandOp } from "../../store/command.js";
import { decodeCommand } from "../../store/command-codec.js";
import { Event } from "../../store/event.js";
import { KEYS_PREFIX } from "../../store/node.js";
import { Store } from "../../store/store.js";

/** What a snapshot and a log come to, by the rules of member/v2-machine.ts. */
export class BackupTotals {
  readonly #store: Store;
  readonly #membership = new Membership();
  #format: number;
  /** The latest time in the log, and the term of the last SYNC. */
  #clock: { ms: number; term: number };

  /** @param store of the snapshot; a new one without a snapshot */
  constructor(store = new Store(), { format, clock }: SnapshotHead = NO_HEAD) {
    this.#store = store;
    this.#membership.restoreFrom(store.cursor());
    this.#format = format;
    this.#clock = { ms: clock.ms, term: clock.term };
  }

  get etcdIndex(): number {
    return this.#store.index;
  }

  /** Keys that are no directories; hidden ones, too. */
  get keys(): number {
    let keys = 0;
    const prefix = `${KEYS_PREFIX}/`;
    const cursor = this.#store.view().cursor(prefix);
    for (let node = cursor.next(); node?.path.startsWith(prefix); node = cursor.next()) {
      if (!node.isDirectory) keys++;
    }
    return keys;
  }

  /** The next entry. @throws RingdError */
  apply({ type, term, data }: WalEntry): void {
    if (data.length === 0) return;
    if (type === EntryType.confChange) {
      const change = decodeMemberChange(decodeConfChange(data).context);
      if (judgeConfChange(change, this.#membership) !== "ok") return;
      const before = this.#membership.member(change.id);
      for (const command of confChangeCommands(change, 0, before)) this.#run(command);
      return;
    }
    const command = decodeCommand(data, readEnvelope(data).payloadAt);
    if (this.#membership.mayApply(command) && this.#admits(command, term)) {
      this.#run(this.#dated(command));
    }
  }

  /** @returns false for a clock restart after another SYNC of its term */
  #admits({ op, isRefresh, timeMs, prevIndex }: Command, term: number): boolean {
    if (op === CommandOp.raise) {
      const before = this.#format;
      this.#format = Math.max(before, Number(prevIndex));
      const isFirst = before < LATE_TTL_LEVEL && this.#format >= LATE_TTL_LEVEL;
      if (isFirst) this.#clock = { ...this.#clock, ms: timeMs };
    }
    if (op !== CommandOp.sync) return true;
    if (this.#format >= VERSIONED_LEVEL && isRefresh && this.#clock.term === term) return false;
    this.#clock = { term, ms: Math.max(this.#clock.ms, timeMs) };
    return true;
  }

  #dated(command: Command): Command {
    const { expirationMs } = command;
    const lateMs = this.#clock.ms - command.timeMs;
    if (expirationMs === 0 || this.#format < LATE_TTL_LEVEL || lateMs <= 0) return command;
    return { ...command, timeMs: this.#clock.ms, expirationMs: expirationMs + lateMs };
  }

  #run(command: Command): void {
    const result = this.#store.apply(command);
    if (result instanceof Event && Membership.concerns(result.node.path)) {
      this.#membership.apply(result);
    }
  }
}
