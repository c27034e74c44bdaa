import { cellOf } from "../metrics/families.js";

const MIB = 2 ** 20;

/**
 * What one member takes at a time. What comes beyond it is rejected as etcd rejects what it has no
 * room for: status 500 with errorCode 300 and `TOO_MANY`, on which clients turn to the next member,
 * and retry.
 */
export interface MemberLimits {
  /** Open watches: long polls and streams. */
  readonly watchesMax: number;
  /** What they take of the core's heap. */
  readonly watchBytesMax: number;
  /** Listings that did not fit into one slice, HEAD included. */
  readonly listingsMax: number;
  /** Bytes that only their views keep: above it, the oldest listings end. */
  readonly listingViewBytesMax: number;
  /** Membership changes that clients of this member wait for. */
  readonly changesMax: number;
  /** Writes of clients that were accepted here and are not applied. */
  readonly proposalsMax: number;
  /** Of their entries. */
  readonly proposalBytesMax: number;
  /** Of those, the ones that wait for a leader. */
  readonly parkedMax: number;
  readonly parkedBytesMax: number;
  /**
   * Responses that one frontend has not taken: above it, its watches end. Its requests wait as
   * soon as there are any.
   */
  readonly responseBytesMax: number;
  /** The same, above which the rest of a batch of its requests waits for the next turn. */
  readonly batchResponseBytesMax: number;
}

/**
 * Share of the core's heap for watches, and for the views of listings. With a store as large as its
 * quota, 70 % of the heap, this much in views still leaves room for writes, which need 10 % of it
 * (process/heap.ts).
 */
const HEAP_SHARE = 1 / 8;

/** @param heapBytes limit of the core's heap */
export function memberLimits(heapBytes: number): MemberLimits {
  return {
    // Each has a connection, and few systems let a process open more files. The bytes come first
    // where the heap is below 2 GB, and where paths are long: one may have 1 MiB.
    watchesMax: 1_000_000,
    watchBytesMax: heapBytes * HEAP_SHARE,
    // Each takes 1 KB, and is looked at in every turn of the core: measured, so many that all wait
    // for slow clients lengthen a turn by a third of a millisecond.
    listingsMax: 4096,
    listingViewBytesMax: heapBytes * HEAP_SHARE,
    // They are decided one after the other, and proposed again until then: more would time out.
    changesMax: 256,
    // As much as a leader's log takes (raft/options.ts: uncommittedEntriesMax, and bytes).
    proposalsMax: 65_536,
    proposalBytesMax: 256 * MIB,
    parkedMax: 16_384,
    parkedBytesMax: 64 * MIB,
    // Beside V8's heap. As much as all streams of a frontend may leave unread there.
    responseBytesMax: 256 * MIB,
    // A batch is 128 requests, and each may be for a value of 10 MiB.
    batchResponseBytesMax: 1 * MIB,
  };
}

export const TOO_MANY = "etcdserver: too many requests";

/** Cells that count what was rejected, or ended, at a limit. */
export const LIMIT_REACHED = {
  watches: cellOf("limitReached", "watches"),
  listings: cellOf("limitReached", "listings"),
  listingViews: cellOf("limitReached", "listing_views"),
  changes: cellOf("limitReached", "membership_changes"),
  proposals: cellOf("limitReached", "proposals"),
  parked: cellOf("limitReached", "parked_proposals"),
  responses: cellOf("limitReached", "responses"),
} as const;
