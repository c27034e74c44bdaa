/** A key. Indexes above 2^53 lose digits. */
export interface Node {
  /** Full path; `/` for the root, whose name the server leaves out. */
  readonly key: string;
  /** Of a file. Neither directories nor what a delete or an expiry left behind have one. */
  readonly value?: string;
  readonly dir?: boolean;
  /** RFC 3339, when the key will be removed. */
  readonly expiration?: string;
  /** Seconds left, rounded up; 0 or less when it is overdue. */
  readonly ttl?: number;
  /** Of a directory that was read: the children, which have theirs only in a recursive read. */
  readonly nodes?: readonly Node[];
  readonly modifiedIndex: number;
  readonly createdIndex: number;
}

export type Action =
  | "get"
  | "set"
  | "create"
  | "update"
  | "delete"
  | "expire"
  | "compareAndSwap"
  | "compareAndDelete";

/** What the key space answers. */
export interface KeysAnswer {
  readonly action: Action;
  readonly node: Node;
  /** What was there before. */
  readonly prevNode?: Node;
  /** Index of the store when it answered; watch from here with `afterIndex`. */
  readonly index: number;
  readonly raftIndex: number;
  readonly raftTerm: number;
  /** Lower-case hexadecimal. */
  readonly clusterId: string;
  /** 201 if the key is new, else 200. */
  readonly status: number;
  /** Which member answered. */
  readonly endpoint: string;
}

/** The changes of a key; iterate once. It waits only while `next` is awaited, and keeps nothing in between. */
export interface Watch extends AsyncIterable<WatchItem> {
  next(): Promise<IteratorResult<WatchItem, undefined>>;
  /** Ends it, also while `next` waits. */
  return(): Promise<IteratorResult<WatchItem, undefined>>;
  [Symbol.asyncIterator](): Watch;
}

/** What `watch` yields. */
export type WatchItem = WatchEvent | WatchReset;

/** A change. */
export interface WatchEvent {
  readonly kind: "event";
  readonly action: Action;
  readonly node: Node;
  readonly prevNode?: Node;
  /** modifiedIndex of the change, the next watch's `afterIndex`. */
  readonly index: number;
  /** Index of the store when the member took up the wait. */
  readonly storeIndex: number;
  readonly endpoint: string;
}

/**
 * The history no longer held what came next, so that events are missing. Here is what is there now, read
 * through a quorum; events after `index` follow. Whoever keeps a copy replaces it by `node`.
 */
export interface WatchReset {
  readonly kind: "reset";
  /** Undefined: the key does not exist. */
  readonly node: Node | undefined;
  readonly index: number;
  readonly endpoint: string;
  /** What the server said. */
  readonly reason: Error;
}

/** One member of the cluster, as the members API lists it. */
export interface Member {
  /** Lower-case hexadecimal. */
  readonly id: string;
  /** Empty until it has started. */
  readonly name: string;
  readonly peerURLs: readonly string[];
  readonly clientURLs: readonly string[];
}

/** Of the server, and the one all members of the cluster understand: `3.4.23`, `3.4.0`. */
export interface Version {
  readonly etcdserver: string;
  readonly etcdcluster: string;
}

/** What a member says of itself. Times are RFC 3339, `uptime` is Go's `1h2m3.5s`, rates are per second. */
export interface SelfStats {
  readonly name: string;
  readonly id: string;
  readonly state: "StateLeader" | "StateFollower" | "StateCandidate" | "StatePreCandidate";
  readonly startTime: string;
  readonly leaderInfo: {
    readonly leader: string;
    readonly uptime: string;
    readonly startTime: string;
  };
  readonly recvAppendRequestCnt: number;
  readonly recvPkgRate?: number;
  readonly recvBandwidthRate?: number;
  readonly sendAppendRequestCnt: number;
  readonly sendPkgRate?: number;
  readonly sendBandwidthRate?: number;
}

/** What the leader measures of its followers, by their ids. */
export interface LeaderStats {
  readonly leader: string;
  readonly followers: Readonly<
    Record<
      string,
      {
        /** Milliseconds. */
        readonly latency: {
          readonly current: number;
          readonly average: number;
          readonly standardDeviation: number;
          readonly minimum: number;
          readonly maximum: number;
        };
        readonly counts: { readonly fail: number; readonly success: number };
      }
    >
  >;
}

/** Counters of the member that is asked, and how many watches it has open. */
export type StoreStats = Readonly<
  Record<
    | "getsSuccess"
    | "getsFail"
    | "setsSuccess"
    | "setsFail"
    | "deleteSuccess"
    | "deleteFail"
    | "updateSuccess"
    | "updateFail"
    | "createSuccess"
    | "createFail"
    | "compareAndSwapSuccess"
    | "compareAndSwapFail"
    | "compareAndDeleteSuccess"
    | "compareAndDeleteFail"
    | "expireCount"
    | "watchers",
    number
  >
>;

/** A user of the authentication API. */
export interface User {
  readonly user: string;
  /** Names. */
  readonly roles: readonly string[];
}

/** A role of the authentication API. */
export interface Role {
  readonly role: string;
  readonly permissions: Permissions;
}

/** Keys, or prefixes and a `*`, that may be read and written. */
export interface Permissions {
  readonly kv: { readonly read: readonly string[]; readonly write: readonly string[] };
}
