/** `Node.expirationMs` of a node that never expires. */
export const PERMANENT = 0;

/**
 * A file or directory. Immutable: a write replaces the object, so events, history and frozen views
 * share it without copying.
 *
 * `path` and `value` are latin1 strings, one character per *byte*: they keep arbitrary keys exact,
 * compare bytewise, and V8 stores them in one byte per character. Only rendering deals with UTF-8.
 */
export class Node {
  /**
   * Internal path, beginning with its name space: "/1/foo" is the user's key "/foo". No trailing
   * slash.
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
   * Cache of the renderer: whether the value needs no JSON escapes; undefined until first rendered.
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
 * The name spaces below the root, as in etcd (etcdserver/server.go, StoreClusterPrefix and
 * StoreKeysPrefix; v2auth/auth.go, StorePermsPrefix). They share one index and one event history;
 * only KEYS is visible under /v2/keys. AUTH exists from the first change of users or roles on.
 */
export const CLUSTER_PREFIX = "/0";
export const KEYS_PREFIX = "/1";
export const AUTH_PREFIX = "/2";
