import { PERMANENT } from "./node.js";

/** The store's operations. The numbers are on disk and on the wire: never reuse one. */
export const CommandOp = {
  set: 1,
  create: 2,
  update: 3,
  compareAndSwap: 4,
  delete: 5,
  compareAndDelete: 6,
  /** POST: `path` is the parent; the store names the child after the new index. */
  createInOrder: 7,
  /** Cluster clock: expire every node whose deadline is at or before `timeMs`. */
  sync: 8,
  /**
   * The cluster's format level is `prevIndex` from here on; `value` names the ringd version that
   * reads it.
   */
  raise: 9,
} as const;
export type CommandOp = (typeof CommandOp)[keyof typeof CommandOp];

/** A decoded command. Strings are bytes, one per character, see Node. */
export interface Command {
  readonly op: CommandOp;
  /** Internal, cleaned: "/1/foo"; "/1" is the user's root. "" for sync. */
  readonly path: string;
  readonly value: string;
  /**
   * The new node is a directory (set, create, update, POST), or an empty directory may be deleted
   * (delete).
   */
  readonly isDirectory: boolean;
  readonly isRecursive: boolean;
  readonly isRefresh: boolean;
  /** Unix milliseconds, or PERMANENT (0). */
  readonly expirationMs: number;
  /** "" compares nothing. */
  readonly prevValue: string;
  /**
   * Unsigned 64 bits; a bigint only where a number would round, which no real index reaches. 0
   * compares nothing.
   */
  readonly prevIndex: number | bigint;
  /**
   * Cluster time at which a member accepted the request, Unix milliseconds. The store's only clock.
   */
  readonly timeMs: number;
}

/**
 * A command with defaults for all options not given. Has the same object shape as decoded commands,
 * which keeps the store's code monomorphic.
 */
export function commandOf(
  op: CommandOp,
  path: string,
  value: string,
  timeMs: number,
  options: CommandOptions = NO_OPTIONS,
): Command {
  return {
    op,
    path,
    value,
    isDirectory: options.isDirectory ?? false,
    isRecursive: options.isRecursive ?? false,
    isRefresh: options.isRefresh ?? false,
    expirationMs: options.expirationMs ?? PERMANENT,
    prevValue: options.prevValue ?? "",
    prevIndex: options.prevIndex ?? 0,
    timeMs,
  };
}

type CommandOptions = Partial<Omit<Command, "op" | "path" | "value" | "timeMs">>;
const NO_OPTIONS: CommandOptions = {};

/**
 * Expires every node due at a cluster time (Unix milliseconds) and distributes that time.
 *
 * @param isStart restarts the cluster clock, as no member knows the time (encoded in `isRefresh`)
 */
export function syncCommand(timeMs: number, isStart = false): Command {
  return commandOf(CommandOp.sync, "", "", timeMs, { isRefresh: isStart });
}

/** @param readBy version of ringd that reads this level */
export function raiseCommand(level: number, readBy: string, timeMs: number): Command {
  return commandOf(CommandOp.raise, "", readBy, timeMs, { prevIndex: level });
}
