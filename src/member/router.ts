import { unreachable } from "../lib/assert.js";
import { NONE } from "../raft/entry.js";
import type { Raft } from "../raft/raft.js";
import { internalError } from "../v2/members.js";
import { routePath } from "../v2/path.js";
import type { ApiRequest } from "../v2/request.js";
import type { HealthScope } from "../v2/status.js";
import type { DiscoveryService } from "./discovery-service.js";
import type { Health } from "./health.js";
import type { Listings } from "./listings.js";
import type { MembershipChanges } from "./membership-changes.js";
import type { Reads } from "./reads.js";
import type { ClientPort, ClientRequest } from "./replies.js";
import type { TurnTimes } from "./times.js";
import type { KeysService } from "./v2-keys.js";
import type { StatusOutcome, StatusService } from "./v2-status.js";

export interface RouterParts {
  readonly raft: Raft;
  readonly clients: ClientPort;
  readonly keys: KeysService;
  readonly status: StatusService;
  /** Undefined unless it is enabled. */
  readonly discovery: DiscoveryService | undefined;
  readonly health: Health;
  readonly changes: MembershipChanges;
  readonly listings: Listings;
  readonly reads: Reads;
  readonly times: TurnTimes;
  /** Whether this member accepts writes: its disk does, and the store is not full. */
  readonly canWrite: () => boolean;
}

const KEYS_PATH = "/v2/keys";
const SLASH = 0x2f;

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
    if (isKeysPath(path)) {
      this.#parts.keys.handle(client, request, path);
      return;
    }
    const { status, times, discovery } = this.#parts;
    if (discovery?.handle(client, request, path)) return;
    this.#conclude(client, status.handle(request, path, times.wallMs, times.monoMs));
  }

  /** The client disconnected. */
  abort(client: ClientRequest): void {
    this.#parts.keys.abort(client);
    this.#parts.discovery?.abort(client);
    this.#parts.listings.abort(client);
  }

  /** The client reads too slowly, or has caught up. */
  hold(client: ClientRequest, isHeld: boolean): void {
    this.#parts.listings.hold(client, isHeld);
  }

  #conclude(client: ClientRequest, outcome: StatusOutcome): void {
    const { clients, changes, reads, times } = this.#parts;
    switch (outcome.kind) {
      case "answer":
        clients.answerWhole(client, outcome.answer);
        return;
      case "propose":
        // Changes committed before the request must be applied here before this one is validated.
        reads.add({
          frontend: client.frontend,
          startMs: times.monoMs,
          isHealthCheck: false,
          confirmed: () => changes.add(client, outcome.change, times.monoMs),
          failed: () => clients.answerWhole(client, internalError()),
        });
        return;
      case "health":
        this.#checkHealth(client, outcome.scope);
        return;
      default:
        unreachable(outcome);
    }
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

function isKeysPath(path: string): boolean {
  if (!path.startsWith(KEYS_PATH)) return false;
  return path.length === KEYS_PATH.length || path.charCodeAt(KEYS_PATH.length) === SLASH;
}
