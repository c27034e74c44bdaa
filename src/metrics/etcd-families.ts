import { doubling, type Family } from "./family.js";

const DISK_SECONDS = doubling(0.001, 14);
const HTTP_SECONDS = doubling(0.0005, 13);
const RTT_SECONDS = doubling(0.0001, 16);
const TRANSFER_SECONDS = doubling(0.1, 10);
const TO_LINK = { table: "links", label: "To" } as const;
const FROM_LINK = { table: "links", label: "From" } as const;
const REMOTE_LINK = { table: "links", label: "Remote" } as const;

/** QGET is a GET with quorum=true. */
export const HTTP_METHODS = ["GET", "QGET", "HEAD", "PUT", "POST", "DELETE"] as const;
export const HTTP_CODES = [
  "400",
  "401",
  "403",
  "404",
  "405",
  "412",
  "413",
  "429",
  "500",
  "503",
  "507",
] as const;
const READS = ["get", "getRecursive"] as const;
const WRITES = ["set", "create", "update", "delete", "compareAndSwap", "compareAndDelete"] as const;

/** etcd's families. Names and help texts are those of etcd 3.4, the aliases those of 2.3. */
export const ETCD_FAMILIES = {
  httpReceived: {
    kind: "counter",
    name: "etcd_http_received_total",
    help: "Counter of requests received into the system (successfully parsed and authd).",
    labels: { method: HTTP_METHODS },
  },
  httpFailed: {
    kind: "counter",
    name: "etcd_http_failed_total",
    help: "Counter of handle failures of requests (non-watches), by method (GET/PUT etc.) and code (400, 500 etc.).",
    labels: { method: HTTP_METHODS, code: HTTP_CODES },
  },
  httpDuration: {
    kind: "histogram",
    name: "etcd_http_successful_duration_seconds",
    aliases: ["etcd_http_successful_duration_second"],
    help: "Bucketed histogram of processing time (s) of successfully handled requests (non-watches), by method (GET/PUT etc.).",
    labels: { method: HTTP_METHODS },
    bounds: HTTP_SECONDS,
  },
  hasLeader: {
    kind: "gauge",
    name: "etcd_server_has_leader",
    help: "Whether or not a leader exists. 1 is existence, 0 is not.",
  },
  isLeader: {
    kind: "gauge",
    name: "etcd_server_is_leader",
    help: "Whether or not this member is a leader. 1 if is, 0 otherwise.",
  },
  leaderChanges: {
    kind: "counter",
    name: "etcd_server_leader_changes_seen_total",
    help: "The number of leader changes seen.",
  },
  proposalsCommitted: {
    kind: "gauge",
    name: "etcd_server_proposals_committed_total",
    help: "The total number of consensus proposals committed.",
  },
  proposalsApplied: {
    kind: "gauge",
    name: "etcd_server_proposals_applied_total",
    help: "The total number of consensus proposals applied.",
  },
  proposalsPending: {
    kind: "gauge",
    name: "etcd_server_proposals_pending",
    aliases: ["etcd_server_pending_proposal_total"],
    help: "The current number of pending proposals to commit.",
  },
  proposalsFailed: {
    kind: "counter",
    name: "etcd_server_proposals_failed_total",
    aliases: ["etcd_server_proposal_failed_total"],
    help: "The total number of failed proposals seen.",
  },
  proposalDuration: {
    kind: "histogram",
    name: "etcd_server_proposal_durations_seconds",
    help: "The latency distributions of committing proposals.",
    bounds: DISK_SECONDS,
  },
  readIndexesFailed: {
    kind: "counter",
    name: "etcd_server_read_indexes_failed_total",
    help: "The total number of failed read indexes seen.",
  },
  slowReadIndexes: {
    kind: "counter",
    name: "etcd_server_slow_read_indexes_total",
    help: "The total number of pending read indexes not in sync with leader's or timed out read index requests.",
  },
  isLearner: {
    kind: "gauge",
    name: "etcd_server_is_learner",
    help: "Whether or not this member is a learner. 1 if is, 0 otherwise.",
  },
  learnerPromotions: {
    kind: "counter",
    name: "etcd_server_learner_promote_successes",
    help: "The total number of successful learner promotions while this member is leader.",
  },
  snapshotApplying: {
    kind: "gauge",
    name: "etcd_server_snapshot_apply_in_progress_total",
    help: "1 if the server is applying the incoming snapshot. 0 if none.",
  },
  slowApplies: {
    kind: "counter",
    name: "etcd_server_slow_apply_total",
    help: "The total number of slow apply requests (likely overloaded from slow disk).",
  },
  heartbeatSendFailures: {
    kind: "counter",
    name: "etcd_server_heartbeat_send_failures_total",
    help: "The total number of leader heartbeat send failures (likely overloaded from slow disk).",
  },
  healthSuccess: {
    kind: "counter",
    name: "etcd_server_health_success",
    help: "The total number of successful health checks",
  },
  healthFailures: {
    kind: "counter",
    name: "etcd_server_health_failures",
    help: "The total number of failed health checks",
  },
  storeReads: {
    kind: "counter",
    name: "etcd_debugging_store_reads_total",
    aliases: ["etcd_store_reads_total"],
    help: "Total number of reads action by (get/getRecursive), local to this member.",
    labels: { action: READS },
  },
  storeReadsFailed: {
    kind: "counter",
    name: "etcd_debugging_store_reads_failed_total",
    aliases: ["etcd_store_reads_failed_total"],
    help: "Failed read actions by (get/getRecursive), local to this member.",
    labels: { action: READS },
  },
  storeWrites: {
    kind: "counter",
    name: "etcd_debugging_store_writes_total",
    aliases: ["etcd_store_writes_total"],
    help: "Total number of writes (e.g. set/compareAndDelete) seen by this member.",
    labels: { action: WRITES },
  },
  storeWritesFailed: {
    kind: "counter",
    name: "etcd_debugging_store_writes_failed_total",
    aliases: ["etcd_store_writes_failed_total"],
    help: "Failed write actions (e.g. set/compareAndDelete), seen by this member.",
    labels: { action: WRITES },
  },
  storeExpires: {
    kind: "counter",
    name: "etcd_debugging_store_expires_total",
    aliases: ["etcd_store_expires_total"],
    help: "Total number of expired keys.",
  },
  storeWatchRequests: {
    kind: "counter",
    name: "etcd_debugging_store_watch_requests_total",
    aliases: ["etcd_store_watch_requests_total"],
    help: "Total number of incoming watch requests (new or reestablished).",
  },
  storeWatchers: {
    kind: "gauge",
    name: "etcd_debugging_store_watchers",
    aliases: ["etcd_store_watchers"],
    help: "Count of currently active watchers.",
  },
  walFsyncDuration: {
    kind: "histogram",
    name: "etcd_disk_wal_fsync_duration_seconds",
    aliases: ["etcd_wal_fsync_durations_seconds"],
    help: "The latency distributions of fsync called by WAL.",
    bounds: DISK_SECONDS,
  },
  walWriteBytes: {
    kind: "gauge",
    name: "etcd_disk_wal_write_bytes_total",
    help: "Total number of bytes written in WAL.",
  },
  walLastIndexSaved: {
    kind: "gauge",
    name: "etcd_wal_last_index_saved",
    help: "The index of the last entry saved by wal.",
  },
  snapFsyncDuration: {
    kind: "histogram",
    name: "etcd_snap_fsync_duration_seconds",
    help: "The latency distributions of fsync called by snap.",
    bounds: DISK_SECONDS,
  },
  snapSaveDuration: {
    kind: "histogram",
    name: "etcd_debugging_snap_save_total_duration_seconds",
    aliases: ["etcd_snapshot_save_total_durations_seconds"],
    help: "The total latency distributions of save called by snapshot.",
    bounds: DISK_SECONDS,
  },

  activePeers: {
    kind: "gauge",
    name: "etcd_network_active_peers",
    help: "The current number of active peer connections.",
    peer: REMOTE_LINK,
  },
  knownPeers: {
    kind: "gauge",
    name: "etcd_network_known_peers",
    help: "The current number of known peers.",
    peer: REMOTE_LINK,
  },
  disconnectedPeers: {
    kind: "counter",
    name: "etcd_network_disconnected_peers_total",
    help: "The total number of disconnected peers.",
    peer: REMOTE_LINK,
  },
  sentBytes: {
    kind: "counter",
    name: "etcd_network_peer_sent_bytes_total",
    help: "The total number of bytes sent to peers.",
    peer: TO_LINK,
  },
  receivedBytes: {
    kind: "counter",
    name: "etcd_network_peer_received_bytes_total",
    help: "The total number of bytes received from peers.",
    peer: FROM_LINK,
  },
  sentFailures: {
    kind: "counter",
    name: "etcd_network_peer_sent_failures_total",
    help: "The total number of send failures from peers.",
    peer: TO_LINK,
  },
  receivedFailures: {
    kind: "counter",
    name: "etcd_network_peer_received_failures_total",
    help: "The total number of receive failures from peers.",
    peer: FROM_LINK,
  },
  roundTrip: {
    kind: "histogram",
    name: "etcd_network_peer_round_trip_time_seconds",
    help: "Round-Trip-Time histogram between peers",
    peer: TO_LINK,
    bounds: RTT_SECONDS,
  },
  snapshotsSent: {
    kind: "counter",
    name: "etcd_network_snapshot_send_success",
    help: "Total number of successful snapshot sends",
    peer: TO_LINK,
  },
  snapshotSendFailures: {
    kind: "counter",
    name: "etcd_network_snapshot_send_failures",
    help: "Total number of snapshot send failures",
    peer: TO_LINK,
  },
  snapshotsSending: {
    kind: "gauge",
    name: "etcd_network_snapshot_send_inflights_total",
    help: "Total number of inflight snapshot sends",
    peer: TO_LINK,
  },
  snapshotSendDuration: {
    kind: "histogram",
    name: "etcd_network_snapshot_send_total_duration_seconds",
    help: "Total latency distributions of v3 snapshot sends",
    peer: TO_LINK,
    bounds: TRANSFER_SECONDS,
  },
  snapshotsReceived: {
    kind: "counter",
    name: "etcd_network_snapshot_receive_success",
    help: "Total number of successful snapshot receives",
    peer: FROM_LINK,
  },
  snapshotReceiveFailures: {
    kind: "counter",
    name: "etcd_network_snapshot_receive_failures",
    help: "Total number of snapshot receive failures",
    peer: FROM_LINK,
  },
  snapshotsReceiving: {
    kind: "gauge",
    name: "etcd_network_snapshot_receive_inflights_total",
    help: "Total number of inflight snapshot receives",
    peer: FROM_LINK,
  },
  snapshotReceiveDuration: {
    kind: "histogram",
    name: "etcd_network_snapshot_receive_total_duration_seconds",
    help: "Total latency distributions of v3 snapshot receives",
    peer: FROM_LINK,
    bounds: TRANSFER_SECONDS,
  },
} as const satisfies Record<string, Family>;
