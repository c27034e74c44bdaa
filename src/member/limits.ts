import type { ClientLimits } from "../config/config.js";
import { assert } from "../lib/assert.js";
import { cellOf } from "../metrics/families.js";

const MIB = 2 ** 20;

type AskedLimits = Pick<ClientLimits, "watchesMax" | "keyBytesMax" | "keyLevelsMax">;
const NOT_ASKED: AskedLimits = { watchesMax: 1_000_000, keyBytesMax: 0, keyLevelsMax: 0 };

/**
 * Limits of one member. Requests over a limit are rejected like etcd's overload: status 500 with
 * errorCode 300 and `TOO_MANY`, on which clients try the next member.
 */
export interface MemberLimits {
  /** Length of a key in PUT and POST, and its number of levels. */
  readonly keyBytesMax: number;
  readonly keyLevelsMax: number;
  /** Open watches: long polls and streams. */
  readonly watchesMax: number;
  /** Bytes of the core's heap taken by open watches. */
  readonly watchBytesMax: number;
  /** Open listings larger than one slice, including those of HEAD. */
  readonly listingsMax: number;
  /** Snapshots being sent to clients. */
  readonly snapshotsMax: number;
  /** Bytes kept alive only by views of listings and snapshots; above it, the oldest are ended. */
  readonly listingViewBytesMax: number;
  /**
   * Pending membership changes of this member's clients; as many of users and roles, and transfers
   * of leadership.
   */
  readonly changesMax: number;
  /** Client writes accepted here that are not applied yet. */
  readonly proposalsMax: number;
  /** Bytes of their entries. */
  readonly proposalBytesMax: number;
  /** Writes that wait for a leader, above which no further ones do. */
  readonly parkedMax: number;
  readonly parkedBytesMax: number;
  /**
   * Response bytes queued for one frontend; above it, its watches are ended. Any queued bytes make
   * its requests wait.
   */
  readonly responseBytesMax: number;
  /** Queued response bytes above which the rest of a batch of requests waits for the next turn. */
  readonly batchResponseBytesMax: number;
}

/**
 * Share of the core's heap for watches, and for the views of listings. Of the 90 % that requests
 * may fill (process/heap.ts), a full store takes 70 and both of these 12.5 at most, which leaves
 * writes in flight 7.5 %: a member with more of them in flight rejects some.
 */
const HEAP_SHARE = 1 / 16;

/**
 * @param heapBytes limit of the core's heap
 * @param asked by flags; 0 is no limit of its own
 */
export function memberLimits(heapBytes: number, asked: AskedLimits = NOT_ASKED): MemberLimits {
  assert(heapBytes > 0, "a core has a heap");
  return {
    keyBytesMax: asked.keyBytesMax || Number.POSITIVE_INFINITY,
    keyLevelsMax: asked.keyLevelsMax || Number.POSITIVE_INFINITY,
    // Each has a connection, and few systems allow a process more open files. The byte limit comes
    // first with a heap below 5 GB or with long paths, of up to 1 MiB.
    watchesMax: asked.watchesMax,
    watchBytesMax: heapBytes * HEAP_SHARE,
    // Each takes 1 KB and is checked in every turn of the core. Measured: this many, all waiting
    // for slow clients, lengthen a turn by a third of a millisecond.
    listingsMax: 4096,
    // They share a slice per turn: more would only take longer, and keep their views for longer.
    snapshotsMax: 4,
    listingViewBytesMax: heapBytes * HEAP_SHARE,
    // Changes are committed one at a time and proposed again until then: more would time out.
    changesMax: 256,
    // Equal to the leader's limits (raft/options.ts: uncommittedEntriesMax, uncommittedBytesMax).
    proposalsMax: 65_536,
    proposalBytesMax: 256 * MIB,
    parkedMax: 16_384,
    parkedBytesMax: 64 * MIB,
    // Outside V8's heap. Equal to the limit of unread bytes of all streams in a frontend.
    responseBytesMax: 256 * MIB,
    // A batch has up to 128 requests, each perhaps for a value of 10 MiB.
    batchResponseBytesMax: 1 * MIB,
  };
}

export const TOO_MANY = "etcdserver: too many requests";

/** Cells that count rejections and ended requests, by limit. */
export const LIMIT_REACHED = {
  keys: cellOf("limitReached", "keys"),
  watches: cellOf("limitReached", "watches"),
  listings: cellOf("limitReached", "listings"),
  listingViews: cellOf("limitReached", "listing_views"),
  snapshots: cellOf("limitReached", "snapshots"),
  changes: cellOf("limitReached", "membership_changes"),
  proposals: cellOf("limitReached", "proposals"),
  parked: cellOf("limitReached", "parked_proposals"),
  responses: cellOf("limitReached", "responses"),
  passwords: cellOf("limitReached", "passwords"),
  authChanges: cellOf("limitReached", "auth_changes"),
} as const;
