import "../lib/latin1.js";
import { comparePaths } from "../btree/path-order.js";
import { Tree } from "../btree/tree.js";
import { RingdError } from "../lib/errors.js";
import { ACTION_NAMES, type Action, Event } from "../store/event.js";
import { Node, PERMANENT } from "../store/node.js";
import { STAT_NAMES, StoreStats } from "../store/stats.js";
import type { StoreState } from "../store/store.js";

/** The JSON is not that of a v2 store. */
export class StoreJsonError extends RingdError {
  override readonly name = "StoreJsonError";
  readonly code = "ETCD_STORE_MALFORMED";
}

/** etcdserver/api/v2store/node.go: a child's name is the last part of its path. */
interface JsonNode {
  readonly Path?: unknown;
  readonly CreatedIndex?: unknown;
  readonly ModifiedIndex?: unknown;
  readonly ExpireTime?: unknown;
  readonly Value?: unknown;
  /** null for a file. */
  readonly Children?: Readonly<Record<string, JsonNode>> | null;
}

/** etcdserver/api/v2store/node_extern.go: a node as responses show it. */
interface JsonExtern {
  readonly key?: unknown;
  readonly value?: unknown;
  readonly dir?: unknown;
  readonly expiration?: unknown;
  readonly ttl?: unknown;
  readonly modifiedIndex?: unknown;
  readonly createdIndex?: unknown;
}

interface JsonEvent {
  readonly action?: unknown;
  readonly node?: JsonExtern;
  readonly prevNode?: JsonExtern;
  readonly refresh?: unknown;
}

interface JsonStore {
  readonly Root?: JsonNode;
  readonly CurrentIndex?: unknown;
  readonly Stats?: Readonly<Record<string, unknown>>;
  readonly WatcherHub?: {
    readonly EventHistory?: {
      readonly Queue?: {
        /** A ring of `Capacity` slots. */
        readonly Events?: readonly (JsonEvent | null)[] | null;
        readonly Size?: unknown;
        readonly Front?: unknown;
      };
    };
  };
}

/** V8's longest string. */
const JSON_BYTES_MAX = 2 ** 29 - 25;

/**
 * Reads a v2 store as etcd's snapshots have it (etcdserver/api/v2store/store.go). Values that are
 * not UTF-8 lost those bytes when etcd wrote the snapshot, for etcd itself, too.
 *
 * @throws StoreJsonError
 */
export function readStoreJson(data: Uint8Array): StoreState {
  if (data.length > JSON_BYTES_MAX) {
    throw new StoreJsonError(`it has ${data.length} bytes; ${JSON_BYTES_MAX} is the limit`);
  }
  const json = parse(data);
  const index = integer(json.CurrentIndex, "CurrentIndex");
  const nodes = nodesBelow(json.Root).sort((a, b) => comparePaths(a.path, b.path));
  const counts = STAT_NAMES.map((name) => Number(json.Stats?.[name] ?? 0));
  return { index, tree: Tree.load(nodes), stats: StoreStats.of(counts), events: events(json) };
}

function parse(data: Uint8Array): JsonStore {
  try {
    const json: unknown = JSON.parse(
      Buffer.from(data.buffer, data.byteOffset, data.length).toString(),
    );
    if (typeof json === "object" && json !== null) return json;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new StoreJsonError(error.message);
  }
  throw new StoreJsonError("it is not an object");
}

/** All nodes but the root, in no particular order. */
function nodesBelow(root: JsonNode | undefined): Node[] {
  if (root?.Children === undefined || root.Children === null) {
    throw new StoreJsonError("Root is not a directory");
  }
  const nodes: Node[] = [];
  const seen = new Set<string>();
  const open: { readonly node: JsonNode; readonly prefix: string }[] = [
    { node: root, prefix: "/" },
  ];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    for (const child of Object.values(next.node.Children ?? {})) {
      const node = toNode(child);
      const name = node.path.slice(next.prefix.length);
      if (!node.path.startsWith(next.prefix) || name === "" || name.includes("/")) {
        throw new StoreJsonError(`node ${node.path} is in directory ${next.prefix}`);
      }
      if (seen.has(node.path)) throw new StoreJsonError(`there are two nodes ${node.path}`);
      seen.add(node.path);
      nodes.push(node);
      if (node.isDirectory) open.push({ node: child, prefix: `${node.path}/` });
    }
  }
  return nodes;
}

function toNode(json: JsonNode): Node {
  const path = bytesOf(json.Path, "Path");
  const isDirectory = json.Children !== undefined && json.Children !== null;
  return new Node(
    path,
    isDirectory ? "" : bytesOf(json.Value, "Value"),
    isDirectory,
    integer(json.CreatedIndex, "CreatedIndex"),
    integer(json.ModifiedIndex, "ModifiedIndex"),
    timeMs(json.ExpireTime),
  );
}

/** The events without a gap up to the store's index, oldest first. */
function events({ CurrentIndex, WatcherHub }: JsonStore): Event[] {
  const { Events, Size = 0, Front = 0 } = WatcherHub?.EventHistory?.Queue ?? {};
  const slots = Events ?? [];
  const found: Event[] = [];
  for (let i = 0; i < integer(Size, "Size"); i++) {
    const slot = slots[(integer(Front, "Front") + i) % slots.length];
    if (slot === undefined || slot === null) throw new StoreJsonError("an event is missing");
    const event = toEvent(slot);
    if (found.length > 0 && event.index !== (found.at(-1)?.index ?? 0) + 1) found.length = 0;
    found.push(event);
  }
  return found.at(-1)?.index === CurrentIndex ? found : [];
}

function toEvent({ action, node, prevNode, refresh }: JsonEvent): Event {
  const number = ACTION_NAMES.indexOf(action as (typeof ACTION_NAMES)[number]);
  if (number < 0 || node === undefined) throw new StoreJsonError(`unknown action ${action}`);
  // etcd keeps the TTLs that the event showed, ringd the time for which they are computed.
  const timesMs = [node, ...(prevNode === undefined ? [] : [prevNode])].map(shownAtMs);
  return new Event(
    number as Action,
    externNode(node),
    prevNode === undefined ? undefined : externNode(prevNode),
    Math.max(...timesMs),
    refresh === true,
  );
}

/** The earliest time at which the node has the TTL shown; 0 for one without. */
function shownAtMs({ expiration, ttl = 0 }: JsonExtern): number {
  if (expiration === undefined) return 0;
  return timeMs(expiration) - 1000 * Number(ttl);
}

function externNode(json: JsonExtern): Node {
  return new Node(
    bytesOf(json.key, "key"),
    json.value === undefined ? "" : bytesOf(json.value, "value"),
    json.dir === true,
    integer(json.createdIndex ?? 0, "createdIndex"),
    integer(json.modifiedIndex ?? 0, "modifiedIndex"),
    json.expiration === undefined ? PERMANENT : timeMs(json.expiration),
  );
}

function integer(value: unknown, name: string): number {
  if (Number.isSafeInteger(value) && Number(value) >= 0) return Number(value);
  throw new StoreJsonError(`${name} is not an index`);
}

/** Text as bytes, one per character. */
function bytesOf(value: unknown, name: string): string {
  if (typeof value !== "string") throw new StoreJsonError(`${name} is not text`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII is what it looks for.
  if (/^[\u0000-\u007f]*$/.test(value)) return value;
  const bytes = Buffer.from(value);
  return bytes.latin1Slice(0, bytes.length);
}

/** @returns Unix milliseconds with a fraction; PERMANENT for Go's zero time */
function timeMs(value: unknown): number {
  const parts =
    typeof value === "string" ? /^(.{19})(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(value) : null;
  if (parts === null) throw new StoreJsonError(`${String(value)} is not a time`);
  const [, whole = "", fraction = "", zone = ""] = parts;
  if (whole === "0001-01-01T00:00:00") return PERMANENT;
  const digits = fraction.padEnd(9, "0");
  return withNanoseconds(
    Date.parse(`${whole}.${digits.slice(0, 3)}${zone}`),
    Number(digits.slice(3)),
  );
}

/** Unix nanoseconds as milliseconds with a fraction, precise to a quarter of a microsecond. */
export function msOfNs(ns: bigint): number {
  const rest = ((ns % 1_000_000n) + 1_000_000n) % 1_000_000n;
  return withNanoseconds(Number((ns - rest) / 1_000_000n), Number(rest));
}

function withNanoseconds(ms: number, ns: number): number {
  return ms + ns / 1e6;
}
