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
    help: "Duration of one fdatasync of the log, in finer buckets.",
    bounds: FINE_SECONDS,
  },
  walBatchRecords: {
    kind: "histogram",
    name: "ringd_wal_batch_records",
    help: "Log records made durable by one write and one fdatasync.",
    bounds: RECORDS,
  },
  walBatchBytes: {
    kind: "histogram",
    name: "ringd_wal_batch_bytes",
    help: "Bytes made durable by one write and one fdatasync.",
    bounds: BYTES,
  },
  coreBatchRequests: {
    kind: "histogram",
    name: "ringd_core_batch_requests",
    help: "Requests that the core thread took from its rings at once.",
    bounds: RECORDS,
  },
  applyBatchEntries: {
    kind: "histogram",
    name: "ringd_apply_batch_entries",
    help: "Committed entries applied to the store at once.",
    bounds: RECORDS,
  },
  applyDuration: {
    kind: "histogram",
    name: "ringd_apply_batch_duration_seconds",
    help: "Time to apply one batch of committed entries.",
    bounds: FINE_SECONDS,
  },
  peerMatch: {
    kind: "gauge",
    name: "ringd_raft_peer_match_index",
    help: "On the leader: the last entry that the member is known to have.",
    peer: TO_PROGRESS,
  },
  peerNext: {
    kind: "gauge",
    name: "ringd_raft_peer_next_index",
    help: "On the leader: the entry that the member is sent next.",
    peer: TO_PROGRESS,
  },
  peerState: {
    kind: "gauge",
    name: "ringd_raft_peer_state",
    help: "On the leader: how the member is sent entries: 0 probe, 1 replicate, 2 snapshot.",
    peer: TO_PROGRESS,
  },
  raftTerm: { kind: "gauge", name: "ringd_raft_term", help: "Term of this member." },
  raftLastIndex: {
    kind: "gauge",
    name: "ringd_raft_last_index",
    help: "The last entry of this member's log, durable or not.",
  },
  clockOffset: {
    kind: "gauge",
    name: "ringd_clock_offset_seconds",
    help: "This member's wall clock less the cluster's clock, by which TTLs go.",
  },
  formatLevel: {
    kind: "gauge",
    name: "ringd_format_level",
    help: "The format level of the cluster: it rises once all members know a newer one.",
  },
  raftRole: {
    kind: "gauge",
    name: "ringd_raft_role",
    help: "Role of this member: 0 follower, 1 candidate, 2 leader, 3 pre-candidate.",
  },
  storeBytes: {
    kind: "gauge",
    name: "ringd_store_bytes",
    // etcd's dashboards and alerts compare this one with the quota.
    aliases: ["etcd_mvcc_db_total_size_in_bytes"],
    help: "Bytes that nodes and event history take of the heap.",
  },
  storeQuota: {
    kind: "gauge",
    name: "ringd_store_quota_bytes",
    aliases: ["etcd_server_quota_backend_bytes"],
    help: "Bytes beyond which writes that add are refused. 0 if there is no such limit.",
  },
  storeFull: {
    kind: "gauge",
    name: "ringd_store_full",
    help: "1 while writes that add are refused because the store is as large as its quota.",
  },
  frontendInFlight: {
    kind: "gauge",
    name: "ringd_frontend_in_flight",
    help: "Requests that wait for their answer, watches included.",
  },
  frontendConnections: {
    kind: "gauge",
    name: "ringd_frontend_connections",
    help: "Open client connections.",
  },
  frontendSlowClients: {
    kind: "counter",
    name: "ringd_frontend_slow_clients_total",
    help: "Connections cut off because the client did not read its stream.",
  },
  frontendRefused: {
    kind: "counter",
    name: "ringd_frontend_refused_connections_total",
    help: "Connections closed at once because too many were open.",
  },
  frontendTooMany: {
    kind: "counter",
    name: "ringd_frontend_refused_requests_total",
    help: "Requests refused before they were read whole because too much was under way.",
  },
  frontendUnserved: {
    kind: "counter",
    name: "ringd_frontend_connections_without_request_total",
    help: "Connections that ended without a request that could be served.",
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
    help: "Times a thread found the ring it writes to full.",
    labels: { thread: THREADS },
  },
  wakeups: {
    kind: "counter",
    name: "ringd_wakeups_total",
    help: "Times a thread was woken after it had parked.",
    labels: { thread: THREADS },
  },
} as const satisfies Record<string, Family>;
