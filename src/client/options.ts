import type { ConnectionOptions } from "node:tls";

/** How to reach a cluster. */
export interface ClientOptions {
  /** URLs of members; `http://127.0.0.1:2379` if none are given. A path in them is put before every path. */
  readonly endpoints?: readonly string[] | undefined;
  /** `random` (as etcd's clients, spreads the load) or `given`: the order in which endpoints are tried. */
  readonly order?: "random" | "given" | undefined;
  /**
   * How long one member may take to begin its answer, connecting included, before the next one is asked;
   * 5000 by default, 0 for ever. It does not limit watches.
   */
  readonly timeoutMs?: number | undefined;
  /** How long a call may take with all its attempts; 0, for ever, by default. It does not limit watches. */
  readonly totalTimeoutMs?: number | undefined;
  /** For HTTP Basic; none is sent without a name. */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly tls?: TlsOptions | undefined;
  /** Connections to one member, beyond those of watches; 64 by default. More requests wait for one. */
  readonly connectionsMax?: number | undefined;
  /**
   * How often a member that watches wait at is asked for its health, so that they leave one that hangs or is cut
   * off; 10,000 by default, 0 never.
   */
  readonly healthCheckMs?: number | undefined;
  /** Called before each attempt of each request, watches included. */
  readonly onRequest?: ((request: SentRequest) => void) | undefined;
  /** Called when an endpoint fails, before another is tried. */
  readonly onFailure?: ((error: Error, endpoint: string) => void) | undefined;
}

/** As in `node:tls`: contents (PEM), not names of files. */
export type TlsOptions = Pick<
  ConnectionOptions,
  | "ca"
  | "cert"
  | "key"
  | "passphrase"
  | "pfx"
  | "servername"
  | "rejectUnauthorized"
  | "minVersion"
  | "ciphers"
>;

/** One attempt, as a debugging callback gets it. No credentials are in it. */
export interface SentRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Form or JSON; undefined if there is none. */
  readonly body: string | undefined;
}

/** What any call takes beyond its own options. */
export interface CallOptions {
  /** Ends the call; it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
  readonly totalTimeoutMs?: number | undefined;
  /** Asks this one only, instead of any of the cluster. */
  readonly endpoint?: string | undefined;
  /**
   * Whether the request is sent to the next member although the first one may have carried it out. Reads,
   * unconditional `set` and `update` of files, and changes of members, users and roles are by default, as in
   * etcd's client. All else is not: repeated, a `create` or `delete` would report a failure that was none, and
   * `createInOrder` would add another key. Then the call rejects with MaybeAppliedError.
   */
  readonly repeat?: boolean | undefined;
}

/** Of `get` and `list`. */
export interface GetOptions extends CallOptions {
  /** With everything below. */
  readonly recursive?: boolean | undefined;
  /** By key, bytewise; in no order otherwise. */
  readonly sorted?: boolean | undefined;
  /** Linearizable: sees every write that was answered before. Otherwise what this member has applied. */
  readonly quorum?: boolean | undefined;
}

/** Of whatever writes a key. */
export interface TtlOptions extends CallOptions {
  /** Seconds until the key is removed. Without one a write makes it permanent. */
  readonly ttl?: number | undefined;
}

/** Of `set`: what to write, and on which conditions. */
export interface SetOptions extends TtlOptions {
  /** Makes a directory; the value is ignored. */
  readonly dir?: boolean | undefined;
  /** Write only if the key has this value (not empty) ... */
  readonly prevValue?: string | undefined;
  /** ... and this modifiedIndex (not 0) ... */
  readonly prevIndex?: number | undefined;
  /** ... and exists (true) or does not (false). */
  readonly prevExist?: boolean | undefined;
  /** Renews the TTL alone, which wakes no watch; the value must be empty. */
  readonly refresh?: boolean | undefined;
}

/** What a key must be for a change of it; all that is given must hold. */
export interface CompareOptions extends CallOptions {
  readonly prevValue?: string | undefined;
  readonly prevIndex?: number | undefined;
}

export interface CompareAndSwapOptions extends CompareOptions, TtlOptions {}

/** Of `delete`. */
export interface DeleteOptions extends CompareOptions {
  /** Allows removing a directory, which must be empty ... */
  readonly dir?: boolean | undefined;
  /** ... unless everything below is to go with it. */
  readonly recursive?: boolean | undefined;
}

/** Of `refresh`. */
export interface RefreshOptions extends CompareOptions {
  readonly dir?: boolean | undefined;
}

/** Of `watch`. */
export interface WatchOptions {
  /** Everything below, too, except what a name beginning with `_` hides. */
  readonly recursive?: boolean | undefined;
  /** Begins with the first event after this index: the `index` of a read. */
  readonly afterIndex?: number | undefined;
  /** The same by the index of the first event itself; `afterIndex: n` is `waitIndex: n + 1`. */
  readonly waitIndex?: number | undefined;
  /** Ends the iteration: without an error, as `break` does. */
  readonly signal?: AbortSignal | undefined;
  /** Only this member. */
  readonly endpoint?: string | undefined;
  /**
   * How long no member at all may be reachable, once the watch had begun, before it throws UnavailableError;
   * 60,000 by default, Infinity for ever. If none is reachable at the beginning, it throws at once.
   */
  readonly outageMs?: number | undefined;
}
