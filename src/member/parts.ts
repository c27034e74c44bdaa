import { AuthState } from "../auth/state.js";
import type { StartPlan } from "../bootstrap/start-plan.js";
import { formatId } from "../cluster/ids.js";
import { Membership } from "../cluster/membership.js";
import type { Config } from "../config/config.js";
import { assert } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import type { StoreLimits } from "../process/heap.js";
import type { RaftLimits } from "../raft/options.js";
import type { Raft } from "../raft/raft.js";
import type { Outlet } from "../ring/fragments.js";
import { Stat } from "../store/stats.js";
import type { Store } from "../store/store.js";
import { STATUS } from "../v2/members.js";
import { RaftStats } from "../v2/raft-stats.js";
import type { ApiRequest } from "../v2/request.js";
import { Applier } from "./apply.js";
import { Audit } from "./audit.js";
import { ClusterView } from "./cluster-view.js";
import { Credentials } from "./credentials.js";
import { DiscoveryService } from "./discovery-service.js";
import { FirstElection } from "./first-election.js";
import { Gate } from "./gate.js";
import { Hashes } from "./hashes.js";
import { Health } from "./health.js";
import { IncomingSnapshot } from "./incoming-snapshot.js";
import { LeaderMoves } from "./leader-moves.js";
import { Leadership } from "./leadership.js";
import type { MemberLimits } from "./limits.js";
import { Listings } from "./listings.js";
import { Machines } from "./machine.js";
import { MembershipChanges } from "./membership-changes.js";
import { RaftMetrics } from "./metrics.js";
import { OwnProposals } from "./own-proposals.js";
import type { PeerPort } from "./peer-port.js";
import { PeerTraffic } from "./peer-traffic.js";
import { firstNumber } from "./proposals.js";
import { type RecoveredMember, startRaft } from "./raft-start.js";
import { Reads } from "./reads.js";
import { Removal } from "./removal.js";
import type { ClientPort, ClientRequest } from "./replies.js";
import { Router, type RouterParts } from "./router.js";
import { SavedSnapshots } from "./saved-snapshots.js";
import { SlowWarnings } from "./slow-warnings.js";
import { type SavedState, SnapshotService } from "./snapshot-service.js";
import { Snapshots } from "./snapshots.js";
import { Space, type Underway } from "./space.js";
import { Timeouts } from "./timeouts.js";
import type { TurnTimes } from "./times.js";
import { AuthService } from "./v2-auth.js";
import { KeysService } from "./v2-keys.js";
import { V2Machine } from "./v2-machine.js";
import { StatusService } from "./v2-status.js";
import { WaitingRequests } from "./waiting-requests.js";
import { Writes } from "./writes.js";

const AUTH_ENABLED = cellOf("authEnabled");

/** A member's ends of the rings, and its other dependencies. */
export interface MemberPorts {
  readonly append: Outlet;
  /** To the pool. */
  readonly jobs: Outlet;
  /** To the pool, for --snapshot-interval. */
  readonly saveJobs: Outlet;
  readonly hashJobs: Outlet;
  readonly peers: PeerPort;
  readonly clients: ClientPort;
  /** Number of frontends of `clients`. */
  readonly frontends: number;
  readonly metrics: MetricCells;
  readonly log: Logger;
  readonly limits: StoreLimits;
  readonly raftLimits: RaftLimits;
  readonly memberLimits: MemberLimits;
  /** Uniform in 0 .. below - 1. */
  readonly random: (below: number) => number;
  /** Called once, when this member begins to serve clients. */
  readonly onReady: (news: readonly string[]) => void;
}

/** The parts of a member. None of them knows the member; each gets only the parts it works with. */
export interface MemberParts {
  readonly raft: Raft;
  readonly machines: Machines;
  readonly applier: Applier;
  readonly view: ClusterView;
  readonly own: OwnProposals;
  readonly writes: Writes;
  readonly reads: Reads;
  readonly changes: MembershipChanges;
  readonly leaderMoves: LeaderMoves;
  readonly listings: Listings;
  readonly keys: KeysService;
  readonly hashes: Hashes;
  readonly gate: Gate;
  readonly router: Router;
  readonly traffic: PeerTraffic;
  readonly snapshots: Snapshots;
  readonly saved: SavedSnapshots;
  readonly incoming: IncomingSnapshot;
  readonly leadership: Leadership;
  readonly removal: Removal;
  readonly timeouts: Timeouts;
  readonly space: Space;
  readonly stats: RaftStats;
  readonly raftMetrics: RaftMetrics;
}

/** Arguments shared by the functions below. */
interface Ground {
  readonly config: Config;
  readonly plan: StartPlan | undefined;
  readonly recovered: RecoveredMember;
  readonly ports: MemberPorts;
  /** Updated by the member. */
  readonly times: TurnTimes;
  /** Restored from the recovered store. */
  readonly membership: Membership;
  /** The same. */
  readonly auth: AuthState;
  readonly audit: Audit;
  readonly slow: SlowWarnings;
  readonly raft: Raft;
  readonly stats: RaftStats;
}

type Flow = Pick<
  MemberParts,
  "writes" | "reads" | "changes" | "leaderMoves" | "listings" | "snapshots" | "space" | "hashes"
>;

/** Creates the parts and connects them. @throws ForceNewClusterError */
export function assemble(
  config: Config,
  plan: StartPlan | undefined,
  recovered: RecoveredMember,
  ports: MemberPorts,
  times: TurnTimes,
): MemberParts {
  const { metrics, log, append, peers } = ports;
  const membership = new Membership();
  membership.restoreFrom(recovered.store.cursor());
  const auth = restoreAuth(recovered.store);
  const raft = startRaft(config, plan, recovered, membership, ports);
  assert(raft.id === recovered.memberId, "a member keeps its id");
  assert(raft.commit >= recovered.snapshot.index, "what a snapshot holds is committed");
  assert(raft.term >= recovered.hardState.term, "a term that a vote may be in is not forgotten");
  const stats = new RaftStats(recovered.memberId, config.name, times.wallMs);
  const audit = new Audit((line) => ports.clients.audit(line), times, config.auditLog !== "");
  const slow = new SlowWarnings(config.slow, raft.id, metrics, log);
  const ground = {
    ...{ config, plan, recovered, ports, times, membership, auth, audit, slow, raft, stats },
  };
  const flow = makeFlow(ground, () => formats.level);
  // Called only later, by entries and snapshots, when all parts exist.
  const onMembership = () => own.membershipChanged(view.membershipChanged());
  const own = makeOwnProposals(ground, flow.writes, {
    appliedTerm: () => applier.term,
    onFormatLevel: (level) => {
      view.formatRaised(level);
      onMembership();
    },
  });
  const { formats } = own.agreed;
  const view = new ClusterView({
    ...{ membership, formats, peers, append, stats, metrics, log },
    selfId: raft.id,
    expected: plan?.members ?? [],
    writes: flow.writes,
  });
  const underway = makeUnderway(ground, flow, () => ({ machines, saved }));
  const gate = makeGate(ground, flow, (client, request) => router.request(client, request));
  const keys = makeKeys(ground, flow, underway, gate);
  const v2 = makeV2Machine(ground, own, keys, onMembership);
  const machines = new Machines([v2]);
  const incoming = new IncomingSnapshot(machines, append, config.formatLevel);
  const raftMetrics = new RaftMetrics(metrics, config.heartbeatMs, log);
  const removal = new Removal(log);
  const applier = new Applier(
    {
      ...{ raft, machines, v2, membership, removal, times, raftMetrics, slow, metrics, log },
      ...{ writes: flow.writes, changes: flow.changes, snapshots: flow.snapshots },
      clients: ports.clients,
    },
    recovered.snapshot,
  );
  const traffic = new PeerTraffic({
    ...{ raft, formats, incoming, stats, times },
    port: peers,
    writes: flow.writes,
    firstElection: new FirstElection(config),
    onLeaderReached: () => own.onLeaderReached(),
  });
  const state: SavedState = {
    ...{ store: v2.store, machines, raft, applier },
    clusterId: recovered.clusterId,
    head: () => own.agreed.head,
  };
  const snapshotService = new SnapshotService({
    ...{ state, raft, gate, audit, times, reads: flow.reads, listings: flow.listings },
    clients: ports.clients,
  });
  const saved = new SavedSnapshots({
    ...{ state, times, metrics, log, jobs: ports.saveJobs },
    intervalMs: config.savedSnapshots.intervalMs,
  });
  const router = makeRouter(ground, flow, keys, underway, gate, {
    discovery: makeDiscovery(ground, flow, keys, underway, gate),
    snapshots: snapshotService,
  });
  return {
    ...{ raft, machines, applier, view, own, keys, gate, router, traffic, incoming },
    ...{ removal, stats, raftMetrics, saved },
    ...flow,
    leadership: new Leadership(raft, metrics, log),
    timeouts: new Timeouts(raft, peers, config.electionMs),
  };
}

/** The queues in which requests wait, and the admission control before them. */
function makeFlow(
  { config, recovered, ports, times, membership, audit, raft }: Ground,
  formatLevel: () => number,
): Flow {
  const { clients, metrics, peers, limits, memberLimits, log, random } = ports;
  const { snapshot, store } = recovered;
  return {
    writes: new Writes(raft, firstNumber(random), {
      metrics,
      limits: memberLimits,
      isConnected: (id) => peers.isConnected(id),
    }),
    changes: new MembershipChanges(raft, membership, firstNumber(random), {
      ...{ metrics, limits: memberLimits, formatLevel },
      ...{ electionMs: config.electionMs, heartbeatMs: config.heartbeatMs },
      answer: (client, answer) => clients.answerWhole(client, answer),
      onChanged: ({ source }, { kind, id }) =>
        audit.write("member", source, STATUS[kind], `${kind} ${formatId(id)}`),
    }),
    leaderMoves: new LeaderMoves({
      ...{ raft, membership, metrics, limits: memberLimits },
      ...{ electionMs: config.electionMs, heartbeatMs: config.heartbeatMs },
      isConnected: (id) => peers.isConnected(id),
      answer: (client, answer) => clients.answerWhole(client, answer),
      onMoved: ({ source }, id) =>
        audit.write("member", source, 204, `move-leader ${formatId(id)}`),
    }),
    reads: new Reads(raft, {
      ...{ metrics, log },
      hasRoom: roomOf(ports),
    }),
    hashes: new Hashes(ports.hashJobs, metrics),
    listings: new Listings(clients, { store, times, metrics, log, limits: memberLimits }),
    snapshots: new Snapshots(ports.jobs, config.snapshotCount, limits.logBytes, snapshot.index),
    space: new Space(store, limits, metrics, log),
  };
}

function makeOwnProposals(
  { config, plan, recovered, ports, times, membership, raft }: Ground,
  writes: Writes,
  hooks: { appliedTerm: () => number; onFormatLevel: (level: number) => void },
): OwnProposals {
  const { metrics, log, onReady } = ports;
  const { memberId, clusterId, packed, entries, head, store } = recovered;
  const { electionMs, formatLevel } = config;
  const { appliedTerm, onFormatLevel } = hooks;
  const hasLog = packed.end - 1 + entries.length > 0;
  const isFounding = !hasLog && plan?.kind !== "join";
  return new OwnProposals({
    ...{ raft, writes, store, times, appliedTerm, head },
    newestFormat: formatLevel,
    agreed: { metrics, log, electionMs, isFounding, onFormatLevel },
    publication: { config, memberId, clusterId, membership, onReady },
  });
}

/** Whether a frontend takes responses. */
function roomOf({ clients, memberLimits }: MemberPorts): (frontend: number) => boolean {
  return (frontend) => clients.queuedBytes(frontend) <= memberLimits.batchResponseBytesMax;
}

/** Restored from the store, and counted in its statistics. */
function restoreAuth(store: Store): AuthState {
  const auth = new AuthState((isFound) => {
    store.stats.add(isFound ? Stat.getsSuccess : Stat.getsFail);
  });
  auth.restoreFrom(store.cursor());
  return auth;
}

function makeUnderway(
  { raft, recovered }: Ground,
  { writes, listings, snapshots }: Flow,
  later: () => { readonly machines: Machines; readonly saved: SavedSnapshots },
): Underway {
  const { hub } = recovered.store;
  return {
    get openBytes() {
      return writes.openBytes;
    },
    get viewBytes() {
      const { machines, saved } = later();
      const views = snapshots.viewBytes(machines) + saved.viewBytes() + listings.viewBytes();
      return views + hub.bytes;
    },
    get members() {
      return raft.conf.voters.length;
    },
  };
}

function makeGate(
  { config, auth, audit, ports }: Ground,
  { hashes }: Flow,
  again: (client: ClientRequest, request: ApiRequest) => void,
): Gate {
  const { clients, metrics, log } = ports;
  return new Gate({
    ...{ state: auth, audit, metrics, log },
    waiting: new WaitingRequests({ again, hasRoom: roomOf(ports) }),
    credentials: new Credentials(auth, hashes, config.bcryptCost),
    port: clients,
  });
}

function makeKeys(
  { recovered, ports, times, slow }: Ground,
  { writes, reads, listings, space }: Flow,
  underway: Underway,
  gate: Gate,
): KeysService {
  const { store } = recovered;
  const { clients, frontends, metrics, log } = ports;
  return new KeysService({
    ...{ store, frontends, space, underway, writes, reads, listings, times, metrics, log, gate },
    slow,
    limits: ports.memberLimits,
    port: clients,
  });
}

function makeDiscovery(
  { config, ports, times }: Ground,
  { writes, space }: Flow,
  keys: KeysService,
  underway: Underway,
  gate: Gate,
): DiscoveryService | undefined {
  if (!config.discoveryService) return undefined;
  const { clients, log } = ports;
  const [url = ""] = config.advertiseClientUrls;
  return new DiscoveryService({ clients, keys, gate, writes, space, underway, times, log, url });
}

function makeV2Machine(
  { config, recovered, ports, times, membership, auth }: Ground,
  { agreed }: OwnProposals,
  keys: KeysService,
  onMembership: () => void,
): V2Machine {
  const options = {
    historyEventsMax: config.eventHistoryMax,
    historyBytesMax: ports.limits.historyBytes,
  };
  const onAuth = () => ports.metrics.set(AUTH_ENABLED, auth.isEnabled ? 1 : 0);
  onAuth();
  return new V2Machine(recovered.store, membership, auth, options, {
    admits: (entry, command, ownMs) => agreed.applies(entry, command, ownMs, times.monoMs),
    dated: (command) => agreed.dated(command),
    onMembership,
    onAuth,
    deliver: () => keys.deliver(),
    cutWatches: () => keys.cutWatches(),
  });
}

function makeRouter(
  { config, recovered, ports, times, membership, auth, audit, raft, stats }: Ground,
  { writes, reads, changes, leaderMoves, listings, space, hashes }: Flow,
  keys: KeysService,
  underway: Underway,
  gate: Gate,
  others: Pick<RouterParts, "discovery" | "snapshots">,
): Router {
  const { store } = recovered;
  const { clients, metrics, peers, log, memberLimits: limits } = ports;
  return new Router({
    ...{
      raft,
      clients,
      keys,
      changes,
      leaderMoves,
      listings,
      reads,
      times,
      gate,
      audit,
      ...others,
    },
    protectStatus: config.protectStatus,
    auth: new AuthService({
      ...{ gate, hashes, writes, reads, space, underway, times, metrics, limits, audit, log },
      state: auth,
      port: clients,
    }),
    status: new StatusService({
      ...{ config, raft, store, membership, peers, stats },
      id: raft.id,
    }),
    health: new Health(store, clients, metrics),
    canWrite: () => {
      space.look();
      return !writes.isBlocked && !space.isFull;
    },
  });
}
