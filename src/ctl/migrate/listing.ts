import type { Node } from "../../client/responses.js";

/** A key or directory as it is copied. */
export interface Item {
  readonly key: string;
  readonly isDirectory: boolean;
  readonly value: string;
  /** Unix milliseconds by the server's clock; 0: never. */
  readonly expirationMs: number;
}

export function itemOf({ key, dir = false, value = "", expiration }: Node): Item {
  const expirationMs = expiration === undefined ? 0 : Date.parse(expiration);
  return { key, isDirectory: dir, value, expirationMs };
}

/** All items of a listing by key, directories before what is in them; without the root. */
export function itemsBelow(listing: Node | undefined): Map<string, Item> {
  const items = new Map<string, Item>();
  const open = listing === undefined ? [] : [listing];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (node.key !== "/") items.set(node.key, itemOf(node));
    for (const child of node.nodes ?? []) open.push(child);
  }
  return items;
}

/** Whether a listing or a watch of `scope` shows the key: no name below it begins with `_`. */
export function isShown(key: string, scope: string): boolean {
  return isBelow(key, scope) && !key.slice(scope === "/" ? 0 : scope.length).includes("/_");
}

/** Whether it is the directory itself or in it. */
export function isBelow(key: string, directory: string): boolean {
  return key === directory || key.startsWith(directory === "/" ? "/" : `${directory}/`);
}

/** What has to change in the target. */
export interface Difference {
  /** Directories before what is in them. */
  readonly put: readonly Item[];
  /** Without what is in another one of them. */
  readonly remove: readonly string[];
}

/** TTLs have whole seconds, and requests take time. */
const TTL_TOLERANCE_MS = 2500;

/** Milliseconds until a time by the clock of the source, or of the target. */
export type Remaining = (expirationMs: number) => number;

/** @param remaining of the source and of the target */
export function differenceOf(
  source: ReadonlyMap<string, Item>,
  target: ReadonlyMap<string, Item>,
  remaining: { readonly source: Remaining; readonly target: Remaining },
): Difference {
  const put = [...source.values()].filter((item) => {
    const other = target.get(item.key);
    if (other === undefined) return !isExpiring(item, remaining.source);
    if (item.isDirectory !== other.isDirectory || item.value !== other.value) return true;
    if (item.expirationMs === 0 || other.expirationMs === 0) {
      return item.expirationMs !== other.expirationMs;
    }
    const apartMs = remaining.source(item.expirationMs) - remaining.target(other.expirationMs);
    return Math.abs(apartMs) > TTL_TOLERANCE_MS;
  });
  const extra = new Set<string>();
  for (const item of target.values()) {
    if (!source.has(item.key) && !isExpiring(item, remaining.target)) extra.add(item.key);
  }
  const remove = [...extra].filter((key) => {
    for (let end = key.lastIndexOf("/"); end > 0; end = key.lastIndexOf("/", end - 1)) {
      if (extra.has(key.slice(0, end))) return false;
    }
    return true;
  });
  return { put, remove };
}

function isExpiring({ expirationMs }: Item, remaining: Remaining): boolean {
  return expirationMs !== 0 && remaining(expirationMs) < TTL_TOLERANCE_MS;
}

/**
 * How far a server's clock is ahead of ours, from the TTLs of a listing: each is rounded up to
 * seconds, so each bounds the server's time to one second.
 *
 * @returns undefined without TTLs
 */
export function clockAheadMs(listing: Node | undefined, localMs: number): number | undefined {
  let low = Number.NEGATIVE_INFINITY;
  let high = Number.POSITIVE_INFINITY;
  const open = listing === undefined ? [] : [listing];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    for (const child of node.nodes ?? []) open.push(child);
    if (node.expiration === undefined) continue;
    const at = Date.parse(node.expiration) - 1000 * (node.ttl ?? 0);
    low = Math.max(low, at);
    high = Math.min(high, at + 1000);
  }
  return Number.isFinite(low) ? (low + high) / 2 - localMs : undefined;
}
