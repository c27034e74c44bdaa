/** A key. Indexes above 2^53 lose digits. */
export interface Node {
  /** Full path; `/` for the root, which the server sends without a key. */
  readonly key: string;
  /** Of a file. Directories and deleted or expired nodes have none. */
  readonly value?: string;
  readonly dir?: boolean;
  /** When the key expires; RFC 3339. */
  readonly expiration?: string;
  /** Seconds left, rounded up; 0 or less if expiry is overdue. */
  readonly ttl?: number;
  /** Children of a directory that was read; theirs only in a recursive read. */
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

/** The result of a read or write of a key. */
export interface KeysAnswer {
  readonly action: Action;
  readonly node: Node;
  /** The node before the change. */
  readonly prevNode?: Node;
  /** Index of the store when the request was served; `afterIndex` of a watch from here. */
  readonly index: number;
  readonly raftIndex: number;
  readonly raftTerm: number;
  /** Lower-case hexadecimal. */
  readonly clusterId: string;
  /** 201 if the key is new, else 200. */
  readonly status: number;
  /** URL of the member that served the request. */
  readonly endpoint: string;
}

/**
 * The changes of a key; iterate once. It polls only while `next` is awaited and buffers nothing.
 */
export interface Watch extends AsyncIterable<WatchItem> {
  next(): Promise<IteratorResult<WatchItem, undefined>>;
  /** Ends the watch, also while `next` waits. */
  return(): Promise<IteratorResult<WatchItem, undefined>>;
  [Symbol.asyncIterator](): Watch;
}

/** An item that `watch` yields. */
export type WatchItem = WatchEvent | WatchReset;

/** A change. */
export interface WatchEvent {
  readonly kind: "event";
  readonly action: Action;
  readonly node: Node;
  readonly prevNode?: Node;
  /** modifiedIndex of the change; `afterIndex` to resume from. */
  readonly index: number;
  /** Index of the store when the long poll began. */
  readonly storeIndex: number;
  readonly endpoint: string;
}

/**
 * Events were lost, because the server's history no longer held the next one. `node` is the current
 * state, read with a quorum; events after `index` follow. Replace a local copy by `node`.
 */
export interface WatchReset {
  readonly kind: "reset";
  /** Undefined: the key does not exist. */
  readonly node: Node | undefined;
  readonly index: number;
  readonly endpoint: string;
  /** The server's error. */
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
  /** Of ringd: a learner has no vote until it is promoted. Absent on all others. */
  readonly isLearner?: boolean;
}

/** Of the member, and the highest one that all members support: `3.4.23`, `3.4.0`. */
export interface Version {
  readonly etcdserver: string;
  readonly etcdcluster: string;
}

/**
 * Statistics of one member. Times are RFC 3339, `uptime` is Go's `1h2m3.5s`, rates are per second.
 */
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

/** The leader's measurements of its followers, by member id. */
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

/** Request counters of one member, and its number of open watches. */
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

/** Keys that may be read and written: exact, or a prefix followed by `*`. */
export interface Permissions {
  readonly kv: { readonly read: readonly string[]; readonly write: readonly string[] };
}
