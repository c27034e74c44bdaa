/** `Node.expirationMs` of a node that never expires. */
export const PERMANENT = 0;

/**
 * One file or directory. Never changed once made: a write replaces the object, so an event, the
 * history and a frozen view share it without copying.
 *
 * `path` and `value` hold *bytes*, one per character (0 .. 255, "latin1 strings"): that keeps keys
 * of any bytes exact, compares bytewise, and takes one byte per byte in V8. Only rendering knows
 * about UTF-8.
 */
export class Node {
  /**
   * Internal path with its name space first: "/1/foo" is the user's key "/foo". No trailing slash.
   */
  readonly path: string;
  /** Bytes; "" for a directory. */
  readonly value: string;
  readonly isDirectory: boolean;
  readonly createdIndex: number;
  readonly modifiedIndex: number;
  /** Unix milliseconds, or PERMANENT. */
  readonly expirationMs: number;
  /**
   * A note of the rendering: whether the value stands in JSON as it is; undefined before the first
   * look.
   */
  isPlainJson: boolean | undefined = undefined;

  constructor(
    path: string,
    value: string,
    isDirectory: boolean,
    createdIndex: number,
    modifiedIndex: number,
    expirationMs: number,
  ) {
    this.path = path;
    this.value = value;
    this.isDirectory = isDirectory;
    this.createdIndex = createdIndex;
    this.modifiedIndex = modifiedIndex;
    this.expirationMs = expirationMs;
  }
}

/**
 * The name spaces below the root, as in etcd (server/etcdserver/api/v2store, StoreClusterPrefix and
 * StoreKeysPrefix): all share one index and one event history, only KEYS is reachable under
 * /v2/keys.
 */
export const CLUSTER_PREFIX = "/0";
export const KEYS_PREFIX = "/1";
