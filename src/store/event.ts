import type { Node } from "./node.js";

/** Wire names, indexed by `Action`. */
export const ACTION_NAMES = [
  "get",
  "create",
  "set",
  "update",
  "delete",
  "compareAndSwap",
  "compareAndDelete",
  "expire",
] as const;

export const Action = {
  get: 0,
  create: 1,
  set: 2,
  update: 3,
  delete: 4,
  compareAndSwap: 5,
  compareAndDelete: 6,
  expire: 7,
} as const;
export type Action = (typeof Action)[keyof typeof Action];

/** One change of the store: sent to its writer and to watchers, and kept in the history. */
export class Event {
  readonly action: Action;
  /** As the response shows it: without a value for delete, compareAndDelete and expire. */
  readonly node: Node;
  readonly prevNode: Node | undefined;
  /** The log entry's time, Unix milliseconds; remaining TTLs are computed for it. */
  readonly timeMs: number;
  /** A TTL refresh: takes an index and enters the history, but does not notify watches. */
  readonly isRefresh: boolean;

  constructor(
    action: Action,
    node: Node,
    prevNode: Node | undefined,
    timeMs: number,
    isRefresh: boolean,
  ) {
    this.action = action;
    this.node = node;
    this.prevNode = prevNode;
    this.timeMs = timeMs;
    this.isRefresh = isRefresh;
  }

  /** The etcd index of the change. */
  get index(): number {
    return this.node.modifiedIndex;
  }
}

export function isRemoval(action: Action): boolean {
  return action === Action.delete || action === Action.compareAndDelete || action === Action.expire;
}
