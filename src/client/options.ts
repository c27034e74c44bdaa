import type { ConnectionOptions } from "node:tls";

/** How to reach a cluster. */
export interface ClientOptions {
  /**
   * URLs of members, `http://127.0.0.1:2379` by default. A path in a URL is prepended to all paths.
   */
  readonly endpoints?: readonly string[] | undefined;
  /** In which order endpoints are tried: `random` (the default, spreads the load) or `given`. */
  readonly order?: "random" | "given" | undefined;
  /**
   * Milliseconds until the response's headers, connecting included, before the next member is
   * tried; 5000 by default, 0 for no limit. Watches are not limited.
   */
  readonly timeoutMs?: number | undefined;
  /**
   * Milliseconds for a call with all its attempts; 0, no limit, by default. Watches are not
   * limited.
   */
  readonly totalTimeoutMs?: number | undefined;
  /** For HTTP Basic authentication; without a name none is sent. */
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly tls?: TlsOptions | undefined;
  /**
   * Connections to one member, not counting watches; 64 by default. Further requests are queued.
   */
  readonly connectionsMax?: number | undefined;
  /**
   * Milliseconds between health checks of a member with open watches, which leave it when it hangs
   * or is partitioned; 10,000 by default, 0 for none.
   */
  readonly healthCheckMs?: number | undefined;
  /** Called before each attempt of each request, watches included. */
  readonly onRequest?: ((request: SentRequest) => void) | undefined;
  /** Called when an endpoint fails, before another is tried. */
  readonly onFailure?: ((error: Error, endpoint: string) => void) | undefined;
}

/** As in `node:tls`: contents (PEM), not file names. */
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

export interface AddMemberOptions extends CallOptions {
  /** Adds a learner, which has no vote until it is promoted; ringd only. */
  readonly isLearner?: boolean | undefined;
}

/** One attempt, for debugging. It contains no credentials. */
export interface SentRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Form or JSON. */
  readonly body: string | undefined;
}

/** Options of all calls. */
export interface CallOptions {
  /** Ends the call; it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
  readonly totalTimeoutMs?: number | undefined;
  /** Send to this member only. */
  readonly endpoint?: string | undefined;
  /**
   * Whether to repeat the request at the next member although the first one may have applied it. As
   * in etcd's client, the default is true for reads, unconditional `set` and `update` of files, and
   * changes of members, users and roles. It is false for all others, which reject with
   * MaybeAppliedError: a repeated `create` or `delete` would fail although it was applied, and a
   * repeated `createInOrder` would add a second key.
   */
  readonly repeat?: boolean | undefined;
}

/** Options of `get` and `list`. */
export interface GetOptions extends CallOptions {
  /** Include all descendants. */
  readonly recursive?: boolean | undefined;
  /** By key, bytewise; else in no particular order. */
  readonly sorted?: boolean | undefined;
  /**
   * Linearizable: sees every acknowledged write. Else the read sees what this member has applied.
   */
  readonly quorum?: boolean | undefined;
}

/** Options of writes. */
export interface TtlOptions extends CallOptions {
  /** Seconds until the key expires. Without it a write makes the key permanent. */
  readonly ttl?: number | undefined;
}

/** Options of `set`: what to write, and its conditions. */
export interface SetOptions extends TtlOptions {
  /** Makes a directory; the value is ignored. */
  readonly dir?: boolean | undefined;
  /** Write only if the key has this value (not empty) ... */
  readonly prevValue?: string | undefined;
  /** ... and this modifiedIndex (not 0) ... */
  readonly prevIndex?: number | undefined;
  /** ... and exists (true) or does not (false). */
  readonly prevExist?: boolean | undefined;
  /** Only renew the TTL, without an event; the value must be empty. */
  readonly refresh?: boolean | undefined;
}

/** Conditions of a change; all that are given must hold. */
export interface CompareOptions extends CallOptions {
  readonly prevValue?: string | undefined;
  readonly prevIndex?: number | undefined;
}

export interface CompareAndSwapOptions extends CompareOptions, TtlOptions {}

/** Options of `delete`. */
export interface DeleteOptions extends CompareOptions {
  /** Allow removing a directory, which must be empty ... */
  readonly dir?: boolean | undefined;
  /** ... unless this is set: remove all descendants, too. */
  readonly recursive?: boolean | undefined;
}

/** Options of `refresh`. */
export interface RefreshOptions extends CompareOptions {
  readonly dir?: boolean | undefined;
}

/** Options of `watch`. */
export interface WatchOptions {
  /** Include all descendants, except hidden ones (a name that begins with `_`). */
  readonly recursive?: boolean | undefined;
  /** Start after this index, for instance the `index` of a read. */
  readonly afterIndex?: number | undefined;
  /** Start at this index; `afterIndex: n` is `waitIndex: n + 1`. */
  readonly waitIndex?: number | undefined;
  /** Ends the iteration without an error, like `break`. */
  readonly signal?: AbortSignal | undefined;
  /** Watch at this member only. */
  readonly endpoint?: string | undefined;
  /**
   * Milliseconds during which no member is reachable before a running watch throws
   * UnavailableError; 60,000 by default, Infinity for no limit. If none is reachable at its start,
   * it throws at once.
   */
  readonly outageMs?: number | undefined;
}
