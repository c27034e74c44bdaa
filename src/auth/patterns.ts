import type { NameList } from "./model.js";

/**
 * Key patterns of one role and kind of access: a pattern that ends in `*` covers every key that
 * starts with the text before, another one exactly that key. The empty pattern, which aborts a
 * request in etcd, covers nothing.
 */
export class Patterns {
  readonly #exact = new Set<string>();
  /** Ascending; none starts with another one. */
  readonly #prefixes: string[] = [];

  constructor(list: NameList) {
    const prefixes: string[] = [];
    for (const pattern of list ?? []) {
      if (pattern.endsWith("*")) prefixes.push(pattern.slice(0, -1));
      else if (pattern !== "") this.#exact.add(pattern);
    }
    for (const prefix of prefixes.sort()) {
      const last = this.#prefixes.at(-1);
      if (last === undefined || !prefix.startsWith(last)) this.#prefixes.push(prefix);
    }
  }

  /** @param isRecursive only prefixes permit what concerns keys below `key`, too */
  cover(key: string, isRecursive: boolean): boolean {
    if (!isRecursive && this.#exact.has(key)) return true;
    // All texts between a prefix of the key and the key itself start with that prefix, so the last
    // one that is not above the key is the only candidate.
    let low = 0;
    let high = this.#prefixes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#prefixes[middle] as string) <= key) low = middle + 1;
      else high = middle;
    }
    const candidate = this.#prefixes[low - 1];
    return candidate !== undefined && key.startsWith(candidate);
  }
}
