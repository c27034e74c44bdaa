import { assert } from "../lib/assert.js";
import {
  type RaftPosition,
  ResponseType,
  writeChunk,
  writeHeadOnly,
  writeResponse,
} from "../messages/requests.js";
import type { Outlet } from "../ring/fragments.js";
import { ByteWriter } from "../v2/byte-writer.js";
import type { ApiResponse } from "../v2/plain.js";
import type { Method } from "../v2/request.js";
import type { ResponseHead } from "../v2/response.js";

/** A request of one of the frontends, waiting for its answer. */
export interface ClientRequest {
  readonly frontend: number;
  readonly requestId: number;
  readonly method: Method;
}

const NO_BODY = Buffer.alloc(0);

/** Writes answers into the rings of the frontends they belong to. */
export class ClientPort {
  readonly #outlets: readonly Outlet[];
  readonly #position: () => RaftPosition;
  /** For the body of the answer in the making. */
  readonly body = new ByteWriter();

  /** @param position what X-Raft-Index and X-Raft-Term show at this moment */
  constructor(outlets: readonly Outlet[], position: () => RaftPosition) {
    this.#outlets = outlets;
    this.#position = position;
  }

  /** Whether a frontend is behind with taking its answers. */
  isBehind(frontend: number): boolean {
    return this.#outlet(frontend).queuedBytes > 0;
  }

  /** Of answers that the frontend has not taken. */
  queuedBytes(frontend: number): number {
    return this.#outlet(frontend).queuedBytes;
  }

  /** Of all frontends. */
  get allQueuedBytes(): number {
    return this.#outlets.reduce((sum, { queuedBytes }) => sum + queuedBytes, 0);
  }

  /** Sends `head` with what is in `body`, which is cleared. */
  answer(client: ClientRequest, head: ResponseHead, isOpen = false): void {
    const { bytes, length } = this.body;
    this.#send(client, head, bytes, length, isOpen);
    this.body.clear();
  }

  answerWhole(client: ClientRequest, answer: ApiResponse): void {
    this.#send(client, answer.head, answer.body, answer.body.length, false);
  }

  /** To HEAD: says how long the body would be. */
  answerLength(client: ClientRequest, head: ResponseHead, bodyBytes: number): void {
    const outlet = this.#outlet(client.frontend);
    writeHeadOnly(outlet, client.requestId, head, this.#position(), bodyBytes);
  }

  /** The head of an answer whose body comes later. */
  open(client: ClientRequest, head: ResponseHead): void {
    this.#send(client, head, NO_BODY, 0, true);
  }

  /** Sends what is in `body` to open answers; the caller clears it. */
  chunk(frontend: number, requestIds: readonly number[], isEnd: boolean): void {
    const { bytes, length } = this.body;
    writeChunk(this.#outlet(frontend), ResponseType.chunk, requestIds, isEnd, bytes, length);
  }

  cut(frontend: number, requestIds: readonly number[]): void {
    writeChunk(this.#outlet(frontend), ResponseType.cut, requestIds, true, NO_BODY, 0);
  }

  /** Once per batch. */
  publish(): void {
    for (const outlet of this.#outlets) outlet.publish();
  }

  #send(
    client: ClientRequest,
    head: ResponseHead,
    body: Buffer,
    bodyBytes: number,
    isOpen: boolean,
  ): void {
    const outlet = this.#outlet(client.frontend);
    writeResponse(outlet, client.requestId, head, this.#position(), body, bodyBytes, isOpen);
  }

  #outlet(frontend: number): Outlet {
    const outlet = this.#outlets[frontend];
    assert(outlet !== undefined, "a client is at one of the frontends");
    return outlet;
  }
}
