import { assert } from "../lib/assert.js";

/** One metric family as `/metrics` shows it. */
export interface Family {
  readonly kind: "counter" | "gauge" | "histogram";
  readonly name: string;
  /** Names of etcd 2.x for the same figures, which old dashboards ask for. */
  readonly aliases?: readonly string[];
  readonly help: string;
  /** All values each label can take: the cells are laid out before anything is counted. */
  readonly labels?: Readonly<Record<string, readonly string[]>>;
  /** Of a histogram: upper bounds, ascending, without +Inf. */
  readonly bounds?: readonly number[];
  /** One series for each other member in this table, which the label tells by its id. */
  readonly peer?: { readonly table: PeerTableName; readonly label: "To" | "From" | "Remote" };
}

/**
 * links: what is sent and received, written by the peer thread. progress: how far the leader knows the
 * others to be, written by the core while it leads.
 */
const PEER_TABLES = ["links", "progress"] as const;
export type PeerTableName = (typeof PEER_TABLES)[number];

/** Other members that have figures of their own; those of any more are not shown. */
export const PEER_SLOTS = 31;

const doubling = (from: number, count: number): readonly number[] =>
  Array.from({ length: count }, (_, i) => Number((from * 2 ** i).toPrecision(12)));

const DISK_SECONDS = doubling(0.001, 14);
const HTTP_SECONDS = doubling(0.0005, 13);
/** Finer than etcd's, as an fsync here may take 100 microseconds and an apply 10. */
const FINE_SECONDS = doubling(0.000_01, 18);
const RTT_SECONDS = doubling(0.0001, 16);
const TRANSFER_SECONDS = doubling(0.1, 10);
const TO_LINK = { table: "links", label: "To" } as const;
const FROM_LINK = { table: "links", label: "From" } as const;
const REMOTE_LINK = { table: "links", label: "Remote" } as const;
const TO_PROGRESS = { table: "progress", label: "To" } as const;
const RECORDS = doubling(1, 14);
const BYTES = doubling(256, 17);

/** QGET is a GET with quorum=true. */
const HTTP_METHODS = ["GET", "QGET", "HEAD", "PUT", "POST", "DELETE"] as const;
export type HttpMethod = (typeof HTTP_METHODS)[number];
const HTTP_CODES = [
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
/** Why a connection had no request, where it can be told. */
export const UNSERVED_REASONS = ["bad_request", "no_request", "timeout", "unknown"] as const;
const THREADS = ["main", "core", "wal", "peer", "frontend"] as const;

/**
 * Every family whose figures are written by threads. Names and help texts of the first part are etcd
 * 3.4's, the aliases 2.3's; the second part is ringd's own. A family may be written by several threads:
 * the sum of their cells is shown, so a gauge has either one writer or a sum that means something.
 */
export const FAMILIES = {
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
    // What etcd's dashboards and alerts compare with the quota.
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
  frontendUnserved: {
    kind: "counter",
    name: "ringd_frontend_connections_without_request_total",
    help: "Connections that ended without a request that could be served.",
    labels: { reason: UNSERVED_REASONS },
  },
  frontendTooMany: {
    kind: "counter",
    name: "ringd_frontend_refused_requests_total",
    help: "Requests refused before they were read whole because too much was under way.",
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

export type FamilyKey = keyof typeof FAMILIES;
type Families = typeof FAMILIES;
/** Families with a series for each other member. */
export type PeerFamilyKey = {
  [K in FamilyKey]: Families[K] extends { readonly peer: unknown } ? K : never;
}[FamilyKey];
/**
 * Numbers of 64 bits that a thread tells beside its figures; not shown as metrics. The version of the cluster
 * is one as version-id.ts packs it.
 */
const IDS = ["lead", "vote", "clusterVersion"] as const;
export type IdName = (typeof IDS)[number];

/** One series: a family with one value for each of its labels. */
export interface Series {
  readonly labels: Readonly<Record<string, string>>;
  /** First of its cells. */
  readonly cell: number;
}

/**
 * Where each series lies in a part of Float64 cells. A counter or gauge is one cell. A histogram is
 * its sum, then one count for each bound, not cumulative, and one for what is above all bounds:
 *
 *   | sum | <= bounds[0] | <= bounds[1] | ... | above |
 *
 * A family with a series for each other member has such cells for each slot, and for the slot behind the
 * last, where what is not shown is counted. An id is two cells: its upper and its lower 32 bits.
 */
const LAYOUT = layOut();

export const CELLS_PER_PART = LAYOUT.cells;

/** Bounds by the first cell of a histogram. */
export const BOUNDS_OF_CELL: readonly (Float64Array | undefined)[] = LAYOUT.bounds;

export function seriesOf(key: FamilyKey): readonly Series[] {
  return LAYOUT.series.get(key) ?? [];
}

/**
 * The cell of one series, for `MetricCells`. Look it up once, when a module loads.
 *
 * @param labels one value for each label, in the order of the table
 */
export function cellOf(key: FamilyKey, ...labels: readonly string[]): number {
  const wanted = labels.join("\n");
  const found = seriesOf(key).find((series) => Object.values(series.labels).join("\n") === wanted);
  assert(found !== undefined, `the labels of ${key} are in its table`);
  return found.cell;
}

/** The first cell of a peer's figure. @param slot 0 .. PEER_SLOTS */
export function slotCellOf(key: PeerFamilyKey, slot: number): number {
  const base = LAYOUT.slotted.get(key);
  assert(base !== undefined, "the family has a table of peers");
  return base + slot * cellsOf(FAMILIES[key]);
}

/** Where the id of a slot's peer is; 0 where there is none. @param slot 0 .. PEER_SLOTS - 1 */
export function idCellOfSlot(table: PeerTableName, slot: number): number {
  return LAYOUT.slotIds + (PEER_TABLES.indexOf(table) * PEER_SLOTS + slot) * 2;
}

export function idCellOf(name: IdName): number {
  return LAYOUT.ids + IDS.indexOf(name) * 2;
}

/** First cells and lengths of all figures of a slot. */
export function slotRanges(table: PeerTableName, slot: number): { cell: number; cells: number }[] {
  return [...LAYOUT.slotted.keys()]
    .filter((key) => FAMILIES[key].peer.table === table)
    .map((key) => ({ cell: slotCellOf(key, slot), cells: cellsOf(FAMILIES[key]) }));
}

function cellsOf(family: Family): number {
  return family.bounds === undefined ? 1 : family.bounds.length + 2;
}

const FAILED_CELLS = new Map<string, number>(
  HTTP_METHODS.flatMap((method) =>
    HTTP_CODES.map((code) => [`${method} ${code}`, cellOf("httpFailed", method, code)] as const),
  ),
);

/** The cell of `etcd_http_failed_total`; a status that is not in the table counts as 500. */
export function httpFailedCell(method: HttpMethod, status: number): number {
  const cell = FAILED_CELLS.get(`${method} ${status}`) ?? FAILED_CELLS.get(`${method} 500`);
  assert(cell !== undefined, "status 500 has a cell for every method");
  return cell;
}

function layOut() {
  const series = new Map<FamilyKey, Series[]>();
  const bounds: (Float64Array | undefined)[] = [];
  const slotted = new Map<PeerFamilyKey, number>();
  let cells = 0;
  const place = (family: Family) => {
    const cell = cells;
    if (family.bounds !== undefined) bounds[cell] = Float64Array.from(family.bounds);
    cells += cellsOf(family);
    return cell;
  };
  for (const key of Object.keys(FAMILIES) as FamilyKey[]) {
    const family: Family = FAMILIES[key];
    if (family.peer !== undefined) {
      slotted.set(key as PeerFamilyKey, cells);
      for (let slot = 0; slot <= PEER_SLOTS; slot++) place(family);
      continue;
    }
    const combined = combinations(Object.entries(family.labels ?? {}));
    series.set(
      key,
      combined.map((labels) => ({ labels, cell: place(family) })),
    );
  }
  const slotIds = cells;
  cells += PEER_TABLES.length * PEER_SLOTS * 2;
  const ids = cells;
  cells += IDS.length * 2;
  for (let cell = 0; cell < cells; cell++) bounds[cell] ??= undefined;
  // A part fills whole cache lines of 64 bytes, so that no two threads write to one.
  return { series, bounds, slotted, slotIds, ids, cells: Math.ceil(cells / 8) * 8 };
}

function combinations(
  labels: readonly (readonly [string, readonly string[]])[],
): Readonly<Record<string, string>>[] {
  let all: Record<string, string>[] = [{}];
  for (const [name, values] of labels) {
    all = all.flatMap((before) => values.map((value) => ({ ...before, [name]: value })));
  }
  return all;
}
