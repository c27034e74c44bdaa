import { assert } from "../lib/assert.js";
import type { Command } from "../store/command.js";
import type { Event } from "../store/event.js";
import type { Refusal } from "../store/refusal.js";
import type { KeysRequest } from "../v2/keys-request.js";
import type { WaitingRead } from "./reads.js";
import type { ClientRequest } from "./replies.js";
import { V2Proposal } from "./v2-machine.js";

export type KeysGet = Extract<KeysRequest, { kind: "get" }>;

/** Takes the outcomes of requests that waited: KeysService. */
export interface KeysAnswers {
  answerWrite(write: KeysWrite, result: Event | Refusal): void;
  answerQuorumGet(client: ClientRequest, get: KeysGet, clusterMs: number, startMs: number): void;
  fail(client: ClientRequest, why: string): void;
}

/** A client's write. */
export class KeysWrite extends V2Proposal {
  declare readonly client: ClientRequest;
  declare readonly noValueOnSuccess: boolean;
  declare readonly service: KeysAnswers;

  constructor(
    service: KeysAnswers,
    client: ClientRequest,
    command: Command,
    noValueOnSuccess: boolean,
    startMs: number,
  ) {
    super(command, startMs);
    this.service = service;
    this.client = client;
    this.noValueOnSuccess = noValueOnSuccess;
  }

  get isRetried(): boolean {
    return true;
  }

  isOf({ frontend, requestId }: ClientRequest): boolean {
    return this.client.frontend === frontend && this.client.requestId === requestId;
  }

  applied(result: Event | Refusal | undefined): void {
    assert(result !== undefined, "every command of a client has a result");
    assert(this.number > 0 && this.data.length > 0, "a write is applied as an entry of the log");
    this.service.answerWrite(this, result);
  }

  failed(reason: string): void {
    this.service.fail(this.client, reason);
  }
}

/** A GET with quorum=true. */
export class QuorumGet implements WaitingRead {
  readonly isHealthCheck = false;
  readonly frontend: number;
  readonly startMs: number;
  readonly #service: KeysAnswers;
  readonly #client: ClientRequest;
  readonly #get: KeysGet;
  readonly #clusterMs: number;
  #hasEnded = false;

  constructor(
    service: KeysAnswers,
    client: ClientRequest,
    get: KeysGet,
    clusterMs: number,
    startMs: number,
  ) {
    assert(get.isQuorum, "only a read by quorum waits for an index");
    this.frontend = client.frontend;
    this.startMs = startMs;
    this.#service = service;
    this.#client = client;
    this.#get = get;
    this.#clusterMs = clusterMs;
  }

  confirmed(): void {
    this.#end();
    this.#service.answerQuorumGet(this.#client, this.#get, this.#clusterMs, this.startMs);
  }

  failed(why: string): void {
    this.#end();
    this.#service.fail(this.#client, why);
  }

  #end(): void {
    assert(!this.#hasEnded, "a read is confirmed or fails, once");
    this.#hasEnded = true;
  }
}
