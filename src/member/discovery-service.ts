import { randomBytes } from "node:crypto";
import { assert } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import { CommandOp, commandOf } from "../store/command.js";
import type { Event } from "../store/event.js";
import { KEYS_PREFIX } from "../store/node.js";
import { Refusal } from "../store/refusal.js";
import { ROBOTS, readTokenSize, tokenPath, tokenResponse, UNABLE } from "../v2/discovery.js";
import type { ApiRequest } from "../v2/request.js";
import type { Gate } from "./gate.js";
import type { ClientPort, ClientRequest } from "./replies.js";
import type { Space, Underway } from "./space.js";
import type { TurnTimes } from "./times.js";
import type { KeysService } from "./v2-keys.js";
import { V2Proposal } from "./v2-machine.js";
import type { Writes } from "./writes.js";

export interface DiscoveryParts {
  readonly clients: ClientPort;
  readonly keys: KeysService;
  readonly gate: Gate;
  readonly writes: Writes;
  readonly space: Space;
  readonly underway: Underway;
  readonly times: TurnTimes;
  readonly log: Pick<Logger, "info" | "warn">;
  /** Clients reach the service below it. */
  readonly url: string;
}

const TOKEN_BYTES = 16;
const REGISTRY = "/_etcd/registry";

/**
 * The discovery service that others may bootstrap their clusters with, as discovery.etcd.io was: a
 * token is a directory of the key space, and all requests below it are requests for its keys.
 */
export class DiscoveryService {
  readonly #parts: DiscoveryParts;
  readonly #newToken: () => string;

  constructor(
    parts: DiscoveryParts,
    newToken: () => string = () => randomBytes(TOKEN_BYTES).toString("hex"),
  ) {
    this.#parts = parts;
    this.#newToken = newToken;
  }

  /** @param path decoded @returns false if the path is not one of this service */
  handle(client: ClientRequest, request: ApiRequest, path: string): boolean {
    const { clients, keys } = this.#parts;
    if (path === "/new") {
      this.#create(client, request);
      return true;
    }
    if (path === "/robots.txt") {
      clients.answerWhole(client, ROBOTS);
      return true;
    }
    const token = tokenPath(path, request.method);
    if (token === undefined) return false;
    if (token.kind === "answer") clients.answerWhole(client, token.answer);
    else keys.handle(client, request, `/v2/keys${REGISTRY}${token.path}`);
    return true;
  }

  /** The client disconnected. */
  abort(client: ClientRequest): void {
    this.#parts.writes.abandon(
      (proposal) => proposal instanceof TokenWrite && proposal.isOf(client),
    );
  }

  /** Responds to a request for a new token. @param why it failed; undefined if it exists now */
  answer(client: ClientRequest, token: string, why: string | undefined): void {
    assert(why !== "", "an operator is told why");
    const { clients, log, url } = this.#parts;
    if (why !== undefined) {
      log.warn({ reason: why }, "cannot create a discovery token");
      clients.answerWhole(client, UNABLE);
      return;
    }
    log.info({ token }, "created a discovery token");
    clients.answerWhole(client, tokenResponse(url, token));
  }

  #create(client: ClientRequest, request: ApiRequest): void {
    const { clients, gate, space, underway, writes, times } = this.#parts;
    const size = readTokenSize(request);
    if (typeof size !== "number") {
      clients.answerWhole(client, size);
      return;
    }
    const token = this.#newToken();
    assert(token.length === 2 * TOKEN_BYTES, "a new token is one that requests can name");
    assert(size > 0, "a cluster has members");
    const key = `${REGISTRY}/${token}/_config/size`;
    const access = { key, isWrite: true, isRecursive: false };
    if (!gate.admitsAll() && !gate.admitsKey(client, request, access)) return;
    const path = `${KEYS_PREFIX}${key}`;
    const command = commandOf(CommandOp.create, path, String(size), times.clusterMs);
    const admission = space.admit(command, underway);
    if (admission !== "admitted") this.answer(client, token, `the store is ${admission}`);
    else writes.propose(new TokenWrite(this, client, token, command, times.monoMs));
  }
}

/** The write of a new token's size. */
class TokenWrite extends V2Proposal {
  declare readonly service: DiscoveryService;
  declare readonly client: ClientRequest;
  declare readonly token: string;

  constructor(
    service: DiscoveryService,
    client: ClientRequest,
    token: string,
    command: V2Proposal["command"],
    startMs: number,
  ) {
    super(command, startMs);
    assert(command.op === CommandOp.create, "a new token takes the place of none");
    assert(command.path.includes(token), "a token's size is in the token's own directory");
    this.service = service;
    this.client = client;
    this.token = token;
  }

  get isRetried(): boolean {
    return true;
  }

  isOf({ frontend, requestId }: ClientRequest): boolean {
    return this.client.frontend === frontend && this.client.requestId === requestId;
  }

  applied(result: Event | Refusal | undefined): void {
    assert(result !== undefined, "a create has a result");
    const why = result instanceof Refusal ? `error ${result.code}` : undefined;
    this.service.answer(this.client, this.token, why);
  }

  failed(reason: string): void {
    this.service.answer(this.client, this.token, reason);
  }
}
