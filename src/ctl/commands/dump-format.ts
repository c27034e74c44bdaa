/**
 * The format of `dump` and `load`: JSON, one node per line, directories before their children.
 *
 *   {"format":"ringctl dump 1","root":"/","index":12,"nodes":[
 *   {"key":"/dir","dir":true,"ttl":60},
 *   {"key":"/dir/k","value":"v"}
 *   ]}
 */
export const FORMAT = "ringctl dump 1";

export interface DumpedNode {
  readonly key: string;
  readonly dir?: true;
  readonly value?: string;
  /** Remaining seconds at the time of the dump. */
  readonly ttl?: number;
}

export interface Dump {
  /** The dumped directory (or file). */
  readonly root: string;
  /** Index of the store when it was read. */
  readonly index: number;
  readonly nodes: readonly DumpedNode[];
}

/** @throws SyntaxError with the reason */
export function parseDump(text: string): Dump {
  const json: unknown = JSON.parse(text);
  if (!isRecord(json) || json.format !== FORMAT) {
    throw new SyntaxError(`"format" is not "${FORMAT}"`);
  }
  const { root, index, nodes } = json;
  if (typeof root !== "string" || typeof index !== "number" || !Array.isArray(nodes)) {
    throw new SyntaxError('"root", "index" or "nodes" is missing');
  }
  for (const [n, node] of nodes.entries()) {
    if (!isNode(node, root)) throw new SyntaxError(`node ${n} is not a node under ${root}`);
  }
  return { root, index, nodes: nodes as DumpedNode[] };
}

function isNode(node: unknown, root: string): node is DumpedNode {
  if (!isRecord(node)) return false;
  const { key, dir, value, ttl } = node;
  if (typeof key !== "string" || !isUnder(key, root)) return false;
  if (ttl !== undefined && typeof ttl !== "number") return false;
  return dir === true ? value === undefined : dir === undefined && typeof value === "string";
}

function isUnder(key: string, root: string): boolean {
  return key === root || key.startsWith(root === "/" ? "/" : `${root}/`);
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
