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
  "snapshots",
  "membership_changes",
  "proposals",
  "parked_proposals",
  "responses",
  "passwords",
  "auth_changes",
  "keys",
] as const;

/** What else a client gets is counted as "other". */
export const HTTP_REQUEST_CODES = [
  ..."200 201 202 204 400 401 403 404 405 412 413 429 500 503 507".split(" "),
  "other",
] as const;
export const HTTP_REQUEST_ROUTES = ["keys", "other"] as const;
const HTTP_REQUEST_METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "OTHER"] as const;

/** ringd's own families. */
export const RINGD_FAMILIES = {
  httpRequestDuration: {
    kind: "histogram",
    name: "ringd_http_request_duration_seconds",
    help: "Time from a request's arrival to the end of its response (non-watches), by method, code and route.",
    labels: {
      method: HTTP_REQUEST_METHODS,
      code: HTTP_REQUEST_CODES,
      route: HTTP_REQUEST_ROUTES,
    },
    bounds: doubling(0.000_1, 16),
    isExtensive: true,
  },
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
  frontendRefusedOfAddress: {
    kind: "counter",
    name: "ringd_frontend_refused_connections_of_address_total",
    help: "Connections rejected because too many were open from their address.",
  },
  frontendHeadsTooLong: {
    kind: "counter",
    name: "ringd_frontend_refused_heads_total",
    help: "Requests rejected because request line and headers were too long.",
  },
  frontendMisdirected: {
    kind: "counter",
    name: "ringd_frontend_misdirected_requests_total",
    help: "Requests rejected because their host is not in --host-whitelist.",
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
  tlsRejected: {
    kind: "counter",
    name: "ringd_tls_rejected_connections_total",
    help: "Client connections whose TLS handshake failed, or whose certificate was not accepted.",
  },
  tlsExpiry: {
    kind: "gauge",
    name: "ringd_tls_certificate_expiry_timestamp_seconds",
    help: "Unix time at which the certificate in use for clients or peers ends.",
    labels: { side: ["client", "peer"] },
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
  authEnabled: {
    kind: "gauge",
    name: "ringd_auth_enabled",
    help: "1 while authentication is enabled, as far as this member has applied the log, else 0.",
  },
  authDenied: {
    kind: "counter",
    name: "ringd_auth_denied_total",
    help: "Requests answered with 401: for wrong credentials, or for want of permission.",
    labels: { reason: ["credentials", "permission"] },
  },
  authHashes: {
    kind: "counter",
    name: "ringd_auth_hashes_total",
    help: "Passwords hashed, and compared with a hash; credentials known to be right are not.",
    labels: { kind: ["hash", "compare"] },
  },
  auditFailures: {
    kind: "counter",
    name: "ringd_audit_failures_total",
    help: "Lines of the audit log that could not be written.",
  },
  openListings: {
    kind: "gauge",
    name: "ringd_open_listings",
    help: "Listings of directories that are made in slices.",
  },
  listingViewBytes: {
    kind: "gauge",
    name: "ringd_listing_view_bytes",
    help: "Bytes that left the store and are kept for open listings and snapshots, at most.",
  },
  openSnapshots: {
    kind: "gauge",
    name: "ringd_open_snapshots",
    help: "Snapshots that are being sent to clients.",
  },
  savedSnapshots: {
    kind: "counter",
    name: "ringd_saved_snapshots_total",
    help: "Snapshot files that --snapshot-interval saved, or failed to save.",
    labels: { result: ["saved", "failed"] },
  },
  lastSavedSnapshot: {
    kind: "gauge",
    name: "ringd_last_saved_snapshot_timestamp_seconds",
    help: "Unix time of the last snapshot file that --snapshot-interval saved; 0 before it.",
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
