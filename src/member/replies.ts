import { assert } from "../lib/assert.js";
import { writeBytes } from "../messages/log.js";
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
import { Method } from "../v2/request.js";
import type { ResponseHead } from "../v2/response.js";
import type { AuditSource } from "./audit.js";

/** Identifies a pending request and its frontend. */
export interface ClientRequest {
  readonly frontend: number;
  readonly requestId: number;
  readonly method: Method;
  /** Of a change of members, for the audit log. */
  readonly source?: AuditSource | undefined;
}

/** It writes the audit log. */
export const MAIN_FRONTEND = 0;

const NO_BODY = Buffer.alloc(0);

/** Writes responses into the rings of their frontends. */
export class ClientPort {
  readonly #outlets: readonly Outlet[];
  readonly #position: () => RaftPosition;
  /** Reused for the body of the next response. */
  readonly body = new ByteWriter();

  /** @param position current values of the X-Raft-Index and X-Raft-Term headers */
  constructor(outlets: readonly Outlet[], position: () => RaftPosition) {
    assert(outlets.length > 0, "a member has a frontend");
    this.#outlets = outlets;
    this.#position = position;
  }

  /** Whether responses are queued because a frontend's ring is full. */
  isBehind(frontend: number): boolean {
    return this.#outlet(frontend).queuedBytes > 0;
  }

  /** Whether at most `bytes` of responses are on their way to a frontend: see Outlet. */
  isWithin(frontend: number, bytes: number): boolean {
    return this.#outlet(frontend).isWithin(bytes);
  }

  /** Bytes of responses queued because the frontend's ring is full. */
  queuedBytes(frontend: number): number {
    return this.#outlet(frontend).queuedBytes;
  }

  /** The same for all frontends. */
  get allQueuedBytes(): number {
    return this.#outlets.reduce((sum, { queuedBytes }) => sum + queuedBytes, 0);
  }

  /**
   * Sends `head` and the contents of `body`, then clears it.
   *
   * @param isOpen more of the body will follow
   */
  answer(client: ClientRequest, head: ResponseHead, isOpen = false): void {
    const { bytes, length } = this.body;
    this.#send(client, head, bytes, length, isOpen);
    this.body.clear();
  }

  answerWhole(client: ClientRequest, answer: ApiResponse): void {
    assert(this.body.length === 0, "a body that was begun is sent before another response");
    this.#send(client, answer.head, answer.body, answer.body.length, false);
  }

  /** Response to HEAD: Content-Length of the GET's body, without the body. */
  answerLength(client: ClientRequest, head: ResponseHead, bodyBytes: number): void {
    const outlet = this.#outlet(client.frontend);
    assert(bodyBytes >= 0, "a length is not negative");
    assert(client.method === Method.head, "only the response to HEAD is a length without its body");
    writeHeadOnly(outlet, client.requestId, head, this.#position(), bodyBytes);
  }

  /** Sends the status and headers of a response whose body follows in chunks. */
  open(client: ClientRequest, head: ResponseHead): void {
    assert(this.body.length === 0, "a response is opened before its body is begun");
    this.#send(client, head, NO_BODY, 0, true);
  }

  /** Sends the contents of `body` to several open responses; the caller clears it. */
  chunk(frontend: number, requestIds: readonly number[], isEnd: boolean): void {
    const { bytes, length } = this.body;
    assert(requestIds.length > 0, "a chunk is for a request");
    assert(length > 0 || isEnd, "a chunk without bytes ends its response");
    writeChunk(this.#outlet(frontend), ResponseType.chunk, requestIds, isEnd, bytes, length);
  }

  /** A line for the audit log. */
  audit(line: string): void {
    assert(!line.includes("\n"), "a line of the audit log is one line, whatever a client sent");
    writeBytes(this.#outlet(MAIN_FRONTEND), ResponseType.audit, Buffer.from(line));
  }

  cut(frontend: number, requestIds: readonly number[]): void {
    assert(requestIds.length > 0, "responses that are cut are there");
    writeChunk(this.#outlet(frontend), ResponseType.cut, requestIds, true, NO_BODY, 0);
  }

  /** Call once per batch. */
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
    assert(client.requestId > 0, "requests are numbered from 1");
    assert(head.status >= 200 && head.status < 600, "a response has a final status");
    assert(bodyBytes <= body.length, "a body lies within its bytes");
    writeResponse(outlet, client.requestId, head, this.#position(), body, bodyBytes, isOpen);
  }

  #outlet(frontend: number): Outlet {
    const outlet = this.#outlets[frontend];
    assert(outlet !== undefined, "a client is at one of the frontends");
    return outlet;
  }
}
