import { assert, unreachable } from "../lib/assert.js";
import { NONE } from "../raft/entry.js";
import type { Raft } from "../raft/raft.js";
import { isServedByFrontend } from "../v2/local.js";
import { internalError, writesMembers } from "../v2/members.js";
import { leaderNotMoved, MOVE_LEADER_PATH } from "../v2/move-leader.js";
import { routePath } from "../v2/path.js";
import { type ApiResponse, plainResponse } from "../v2/plain.js";
import { type ApiRequest, Method } from "../v2/request.js";
import { ContentKind } from "../v2/response.js";
import { ADMIN_SNAPSHOT_PATH } from "../v2/snapshot.js";
import type { HealthScope } from "../v2/status.js";
import type { Audit } from "./audit.js";
import type { DiscoveryService } from "./discovery-service.js";
import type { Gate } from "./gate.js";
import type { Health } from "./health.js";
import type { LeaderMoves } from "./leader-moves.js";
import type { Listings } from "./listings.js";
import type { MembershipChanges } from "./membership-changes.js";
import type { Reads } from "./reads.js";
import type { ClientPort, ClientRequest } from "./replies.js";
import type { SnapshotService } from "./snapshot-service.js";
import type { TurnTimes } from "./times.js";
import type { AuthService } from "./v2-auth.js";
import type { KeysService } from "./v2-keys.js";
import type { StatusOutcome, StatusService } from "./v2-status.js";

export interface RouterParts {
  readonly raft: Raft;
  readonly clients: ClientPort;
  readonly keys: KeysService;
  readonly auth: AuthService;
  readonly gate: Gate;
  readonly audit: Audit;
  readonly status: StatusService;
  readonly snapshots: SnapshotService;
  /** Undefined unless it is enabled. */
  readonly discovery: DiscoveryService | undefined;
  readonly health: Health;
  readonly changes: MembershipChanges;
  readonly leaderMoves: LeaderMoves;
  readonly listings: Listings;
  readonly reads: Reads;
  readonly times: TurnTimes;
  /** Whether this member accepts writes: its disk does, and the store is not full. */
  readonly canWrite: () => boolean;
  /** Statistics, members, metrics and the like need the role root. */
  readonly protectStatus: boolean;
}

const KEYS_PATH = "/v2/keys";
const AUTH_PATHS = "/v2/auth/";
const MEMBERS_PATH = "/v2/members";
const STATS_PATHS = "/v2/stats/";
const SLASH = 0x2f;
const NO_LEADER = "etcdserver: no leader";
/** To a request that the frontend serves, as its client has the role root. */
const FOR_FRONTEND = plainResponse(200, ContentKind.none, "", { isForFrontend: true });

/** Dispatches each client request to its service. */
export class Router {
  readonly #parts: RouterParts;

  constructor(parts: RouterParts) {
    this.#parts = parts;
  }

  request(client: ClientRequest, request: ApiRequest): void {
    const routed = routePath(request.path, request.query, request.method);
    if (routed.kind === "answer") {
      this.#parts.clients.answerWhole(client, routed.answer);
      return;
    }
    const { path } = routed;
    if (isBelow(path, KEYS_PATH)) {
      this.#parts.keys.handle(client, request, path);
      return;
    }
    if (path.startsWith(AUTH_PATHS)) {
      this.#parts.auth.handle(client, request, path);
      return;
    }
    this.#other(client, request, path);
  }

  #other(client: ClientRequest, request: ApiRequest, path: string): void {
    const { status, times, gate, audit, clients, discovery } = this.#parts;
    if (discovery?.handle(client, request, path)) return;
    if (path === ADMIN_SNAPSHOT_PATH) {
      this.#parts.snapshots.handle(client, request);
      return;
    }
    const isMembers = isBelow(path, MEMBERS_PATH);
    const isWrite = (isMembers && writesMembers(request.method)) || path === MOVE_LEADER_PATH;
    const isLocal = isServedByFrontend(request.path);
    let from = client;
    if (isWrite || isLocal || (this.#parts.protectStatus && isStatus(path, request.method))) {
      const verdict = gate.admitsRoot(client, request);
      if (!verdict.isAdmitted) return;
      if (isWrite) from = { ...client, source: audit.source(request, verdict.user) };
    }
    if (isLocal) {
      clients.answerWhole(client, FOR_FRONTEND);
      return;
    }
    const outcome = status.handle(request, path, times.wallMs, times.monoMs);
    const isChange = outcome.kind === "propose" || outcome.kind === "moveLeader";
    assert(isWrite || !isChange, "what changes the cluster has passed the gate");
    this.#conclude(from, outcome);
  }

  /** The client disconnected. */
  abort(client: ClientRequest): void {
    this.#parts.gate.abort(client);
    this.#parts.keys.abort(client);
    this.#parts.discovery?.abort(client);
    this.#parts.snapshots.abort(client);
    this.#parts.listings.abort(client);
  }

  /** The client reads too slowly, or has caught up. */
  hold(client: ClientRequest, isHeld: boolean): void {
    this.#parts.listings.hold(client, isHeld);
  }

  #conclude(client: ClientRequest, outcome: StatusOutcome): void {
    const { clients, changes, leaderMoves, times } = this.#parts;
    switch (outcome.kind) {
      case "answer":
        clients.answerWhole(client, outcome.answer);
        return;
      case "propose":
        this.#whenApplied(
          client,
          () => changes.add(client, outcome.change, times.monoMs),
          internalError,
        );
        return;
      case "moveLeader":
        this.#whenApplied(
          client,
          () => leaderMoves.add(client, outcome.id, times.monoMs),
          leaderNotMoved,
          true,
        );
        return;
      case "health":
        this.#checkHealth(client, outcome.scope);
        return;
      default:
        unreachable(outcome);
    }
  }

  /**
   * Changes committed before a request must be applied here before it is judged.
   *
   * @param isHasty it fails without a leader, or after a second
   */
  #whenApplied(
    client: ClientRequest,
    act: () => void,
    failed: (why: string) => ApiResponse,
    isHasty = false,
  ): void {
    const { raft, clients, reads, times } = this.#parts;
    if (isHasty && raft.lead === NONE) {
      clients.answerWhole(client, failed(NO_LEADER));
      return;
    }
    reads.add({
      frontend: client.frontend,
      startMs: times.monoMs,
      isHealthCheck: isHasty,
      confirmed: act,
      failed: (why) => clients.answerWhole(client, failed(why)),
    });
  }

  /** Healthy means: a linearizable read succeeds, and writes are accepted. */
  #checkHealth(client: ClientRequest, { isSerializable, ignoresSpace }: HealthScope): void {
    const { raft, health, reads, times } = this.#parts;
    const canWrite = () => ignoresSpace || this.#parts.canWrite();
    if (isSerializable) {
      health.answer(client, canWrite());
      return;
    }
    if (raft.lead === NONE) {
      health.answer(client, false);
      return;
    }
    reads.add({
      frontend: client.frontend,
      startMs: times.monoMs,
      isHealthCheck: true,
      confirmed: () => health.answer(client, canWrite()),
      failed: () => health.answer(client, false),
    });
  }
}

/** Whether a path is `root` or below it. */
function isBelow(path: string, root: string): boolean {
  if (!path.startsWith(root)) return false;
  return path.length === root.length || path.charCodeAt(root.length) === SLASH;
}

/** What `--protect-status` protects, beside what the frontends serve. */
function isStatus(path: string, method: Method): boolean {
  if (path.startsWith(STATS_PATHS)) return true;
  return method === Method.get && isBelow(path, MEMBERS_PATH);
}
