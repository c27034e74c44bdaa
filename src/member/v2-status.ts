import { createHash } from "node:crypto";
import type { Membership } from "../cluster/membership.js";
import type { Config } from "../config/config.js";
import { assert } from "../lib/assert.js";
import type { Raft } from "../raft/raft.js";
import { STAT_NAMES } from "../store/stats.js";
import type { Store } from "../store/store.js";
import { handleMachines, handleMembers, type MembersOutcome } from "../v2/members.js";
import { handleMoveLeader, MOVE_LEADER_PATH, type MoveLeaderOutcome } from "../v2/move-leader.js";
import { type ApiResponse, NOT_FOUND } from "../v2/plain.js";
import type { RaftStats } from "../v2/raft-stats.js";
import type { ApiRequest } from "../v2/request.js";
import { handleLeaderStats, handleSelfStats, handleStoreStats } from "../v2/stats.js";
import { type HealthScope, handleVersion, healthScope, refuseHealthMethod } from "../v2/status.js";
import type { PeerPort } from "./peer-port.js";

/** Sources of the responses outside /v2/keys. */
export interface StatusSources {
  readonly config: Config;
  readonly id: bigint;
  readonly raft: Raft;
  readonly store: Store;
  readonly membership: Membership;
  readonly peers: PeerPort;
  readonly stats: RaftStats;
}

/**
 * Result of a request: a response, a membership change to propose, a leader to be made, or a health
 * check, which needs a read first.
 */
export type StatusOutcome =
  | MembersOutcome
  | MoveLeaderOutcome
  | { readonly kind: "health"; readonly scope: HealthScope };

/** Everything but /v2/keys: members, machines, statistics, version, health. */
export class StatusService {
  readonly #sources: StatusSources;

  constructor(sources: StatusSources) {
    assert(sources.id === sources.raft.id, "a member reports its own state");
    this.#sources = sources;
  }

  handle(request: ApiRequest, path: string, wallMs: number, monoMs: number): StatusOutcome {
    if (path === "/v2/members" || path.startsWith("/v2/members/")) {
      return this.#members(request, wallMs, monoMs);
    }
    if (path === MOVE_LEADER_PATH) return handleMoveLeader(request);
    if (path === "/health") {
      const refusal = refuseHealthMethod(request);
      if (refusal !== undefined) return { kind: "answer", answer: refusal };
      return { kind: "health", scope: healthScope(request.query) };
    }
    return { kind: "answer", answer: this.#answer(request, path, wallMs, monoMs) };
  }

  #answer(request: ApiRequest, path: string, wallMs: number, monoMs: number): ApiResponse {
    const { raft, store, membership, stats } = this.#sources;
    switch (path) {
      case "/version":
        return handleVersion(request, membership.version);
      case "/v2/machines":
        return handleMachines(request, membership);
      case "/v2/stats/self":
        return handleSelfStats(request, stats.self(monoMs, wallMs));
      case "/v2/stats/leader":
        return handleLeaderStats(request, raft.lead, raft.isLeader ? stats.followers : undefined);
      case "/v2/stats/store":
        return handleStoreStats(request, {
          ...(Object.fromEntries(STAT_NAMES.map((name) => [name, store.stats.get(name)])) as Record<
            (typeof STAT_NAMES)[number],
            number
          >),
          watchers: store.hub.count,
        });
      default:
        return NOT_FOUND;
    }
  }

  #members(request: ApiRequest, wallMs: number, monoMs: number): MembersOutcome {
    const { config, raft, membership, peers } = this.#sources;
    return handleMembers(request, {
      membership,
      leaderId: raft.lead,
      unixSeconds: Math.floor(wallMs / 1000),
      sha1: (bytes) => createHash("sha1").update(bytes).digest(),
      connectivity: config.strictReconfigCheck
        ? peers.connectivity(
            membership.members().filter(({ isLearner }) => !isLearner),
            monoMs,
          )
        : undefined,
    });
  }
}
