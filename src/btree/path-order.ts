/**
 * The order of the tree: bytewise, except that "/" sorts before every other byte. So a directory is
 * directly followed by its subtree, and siblings are in bytewise order of their names.
 */
export function comparePaths(a: string, b: string): number {
  const shorter = Math.min(a.length, b.length);
  for (let i = 0; i < shorter; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    if (x === SLASH) return -1;
    if (y === SLASH) return 1;
    return x - y;
  }
  return a.length - b.length;
}

/** The first possible path after everything below `directory`. */
export function afterSubtree(directory: string): string {
  return `${directory}\0`; // "/" sorts below every byte, even this one.
}

/** Length of the common prefix of `a` and `b`. @param from bytes known to be equal */
export function sharedFrom(a: string, b: string, from: number): number {
  const end = Math.min(a.length, b.length);
  let i = from;
  while (i < end && a.charCodeAt(i) === b.charCodeAt(i)) i++;
  return i;
}

/** Whether comparePaths(a, b) < 0, for paths whose first difference is at byte `shared`. */
export function isBelowAt(a: string, b: string, shared: number): boolean {
  if (shared === a.length) return shared < b.length;
  if (shared === b.length) return false;
  const x = a.charCodeAt(shared);
  const y = b.charCodeAt(shared);
  return x === SLASH || (y !== SLASH && x < y);
}

const SLASH = 0x2f;
