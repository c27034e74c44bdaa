import { doubling, type Family } from "./family.js";

/** Finer than etcd's: an fsync may take 100 microseconds, an apply 10. */
const FINE_SECONDS = doubling(0.000_01, 18);
const TO_PROGRESS = { table: "progress", label: "To" } as const;
const RECORDS = doubling(1, 14);
const BYTES = doubling(256, 17);
const THREADS = ["main", "core", "wal", "peer", "frontend"] as const;
/** Why a connection ended without a valid request. */
const UNSERVED_REASONS = ["bad_request", "no_request", "timeout", "unknown"] as const;
/** Of member/limits.ts. */
const LIMITS = [
  "watches",
  "listings",
  "listing_views",
  "membership_changes",
  "proposals",
  "parked_proposals",
  "responses",
] as const;

/** ringd's own families. */
export const RINGD_FAMILIES = {
  ringdFsyncDuration: {
    kind: "histogram",
    name: "ringd_wal_fsync_duration_seconds",
    help: "Duration of each WAL fdatasync, in finer buckets than etcd's.",
    bounds: FINE_SECONDS,
  },
  walFailed: {
    kind: "gauge",
    name: "ringd_wal_failed",
    help: "1 once the WAL has failed: the member serves reads only, until it is restarted.",
  },
  walBatchRecords: {
    kind: "histogram",
    name: "ringd_wal_batch_records",
    help: "WAL entries per batch (one write and one fdatasync).",
    bounds: RECORDS,
  },
  walBatchBytes: {
    kind: "histogram",
    name: "ringd_wal_batch_bytes",
    help: "Bytes per WAL batch (one write and one fdatasync).",
    bounds: BYTES,
  },
  coreBatchRequests: {
    kind: "histogram",
    name: "ringd_core_batch_requests",
    help: "Requests that the core thread drained from its rings per batch.",
    bounds: RECORDS,
  },
  applyBatchEntries: {
    kind: "histogram",
    name: "ringd_apply_batch_entries",
    help: "Committed entries applied to the store per batch.",
    bounds: RECORDS,
  },
  applyDuration: {
    kind: "histogram",
    name: "ringd_apply_batch_duration_seconds",
    help: "Duration of applying one batch of committed entries.",
    bounds: FINE_SECONDS,
  },
  peerMatch: {
    kind: "gauge",
    name: "ringd_raft_peer_match_index",
    help: "Leader only: highest log index known to be replicated to the peer.",
    peer: TO_PROGRESS,
  },
  peerNext: {
    kind: "gauge",
    name: "ringd_raft_peer_next_index",
    help: "Leader only: log index of the next entry to send to the peer.",
    peer: TO_PROGRESS,
  },
  peerState: {
    kind: "gauge",
    name: "ringd_raft_peer_state",
    help: "Leader only: replication state of the peer: 0 probe, 1 replicate, 2 snapshot.",
    peer: TO_PROGRESS,
  },
  raftTerm: { kind: "gauge", name: "ringd_raft_term", help: "Current raft term of this member." },
  raftLastIndex: {
    kind: "gauge",
    name: "ringd_raft_last_index",
    help: "Last index of this member's log, durable or not.",
  },
  clockOffset: {
    kind: "gauge",
    name: "ringd_clock_offset_seconds",
    help: "This member's wall clock minus the cluster clock, which TTLs follow.",
  },
  formatLevel: {
    kind: "gauge",
    name: "ringd_format_level",
    help: "Format level of the cluster; rises once all members support a newer one.",
  },
  raftRole: {
    kind: "gauge",
    name: "ringd_raft_role",
    help: "Raft role of this member: 0 follower, 1 candidate, 2 leader, 3 pre-candidate.",
  },
  storeBytes: {
    kind: "gauge",
    name: "ringd_store_bytes",
    // etcd's dashboards and alerts compare this one with the quota.
    aliases: ["etcd_mvcc_db_total_size_in_bytes"],
    help: "Heap bytes used by nodes and event history.",
  },
  storeQuota: {
    kind: "gauge",
    name: "ringd_store_quota_bytes",
    aliases: ["etcd_server_quota_backend_bytes"],
    help: "Store size in bytes above which writes that add data are rejected; 0 if unlimited.",
  },
  storeFull: {
    kind: "gauge",
    name: "ringd_store_full",
    help: "1 while writes that add data are rejected because the store is at its quota, else 0.",
  },
  frontendInFlight: {
    kind: "gauge",
    name: "ringd_frontend_in_flight",
    help: "Requests in flight, watches included.",
  },
  frontendConnections: {
    kind: "gauge",
    name: "ringd_frontend_connections",
    help: "Open client connections.",
  },
  frontendSlowClients: {
    kind: "counter",
    name: "ringd_frontend_slow_clients_total",
    help: "Connections closed because the client did not read its stream.",
  },
  frontendRefused: {
    kind: "counter",
    name: "ringd_frontend_refused_connections_total",
    help: "Connections rejected because too many were open.",
  },
  frontendTooMany: {
    kind: "counter",
    name: "ringd_frontend_refused_requests_total",
    help: "Requests rejected before they were fully read because too much was in flight.",
  },
  frontendUnserved: {
    kind: "counter",
    name: "ringd_frontend_connections_without_request_total",
    help: "Connections that ended without a valid request.",
    labels: { reason: UNSERVED_REASONS },
  },
  limitReached: {
    kind: "counter",
    name: "ringd_limit_reached_total",
    help: "Requests rejected, and watches and listings ended, because this member had too many.",
    labels: { limit: LIMITS },
  },
  watchBytes: {
    kind: "gauge",
    name: "ringd_watch_bytes",
    help: "Bytes of the core's heap that open watches take.",
  },
  openListings: {
    kind: "gauge",
    name: "ringd_open_listings",
    help: "Listings of directories that are made in slices.",
  },
  listingViewBytes: {
    kind: "gauge",
    name: "ringd_listing_view_bytes",
    help: "Bytes that left the store and are kept for open listings, at most.",
  },
  openChanges: {
    kind: "gauge",
    name: "ringd_open_membership_changes",
    help: "Membership changes that clients of this member wait for.",
  },
  proposalBytes: {
    kind: "gauge",
    name: "ringd_open_proposal_bytes",
    help: "Bytes of the entries proposed by this member that are not applied.",
  },
  responseQueueBytes: {
    kind: "gauge",
    name: "ringd_response_queue_bytes",
    help: "Bytes of responses that wait in the core for frontends to take them.",
  },
  ringFull: {
    kind: "counter",
    name: "ringd_ring_full_total",
    help: "Number of times that a thread found its outgoing ring full.",
    labels: { thread: THREADS },
  },
  wakeups: {
    kind: "counter",
    name: "ringd_wakeups_total",
    help: "Number of times that a parked thread was woken.",
    labels: { thread: THREADS },
  },
} as const satisfies Record<string, Family>;
