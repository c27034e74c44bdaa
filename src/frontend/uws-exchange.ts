import type { HttpResponse } from "uWebSockets.js";
import type { ResponseRecord } from "../messages/requests.js";
import { Method } from "../v2/request.js";
import type { Body } from "./body.js";
import {
  type ChunkBody,
  type Exchange,
  type FrontendOptions,
  type Gateway,
  STREAM_BACKLOG_BYTES_MAX,
} from "./frontend.js";
import { statusText } from "./head-text.js";
import type { LargeRequest } from "./large-requests.js";
import { BAD_REQUEST, BAD_REQUEST_BODY } from "./local-responses.js";
import type { ReusedRequest } from "./reused-request.js";
import type { Backlogs } from "./uws-backlog.js";
import type { UnservedCount } from "./uws-unserved.js";
import {
  ClosingWatch,
  LastingWatch,
  PROVEN,
  type WatchHandles,
  type WatchRegister,
  type WatchStream,
} from "./uws-watch.js";
import { sendResponse, writeChunks } from "./uws-writer.js";

/** Headers must fit into one cork (uws-writer.ts); no other header echoes client input. */
const LOCATION_BYTES_MAX = 12 * 1024;

/** Shared by the exchanges of one frontend. */
export interface UwsShared {
  readonly gateway: Gateway;
  readonly options: FrontendOptions;
  readonly backlogs: Backlogs;
  readonly watches: WatchRegister;
  readonly unserved: UnservedCount;
  readonly request: ReusedRequest;
}

/** One request of the uws frontend. */
export class UwsExchange implements Exchange {
  readonly res: HttpResponse;
  readonly method: Method;
  requestId: number | undefined;
  /** Set while it is incoming. */
  body: Body | undefined;
  large: LargeRequest | undefined;
  readonly #shared: UwsShared;
  readonly #origin: string;
  /** For a request that may be a watch on a keep-alive connection. */
  readonly #handles: WatchHandles | undefined;
  #isGone = false;
  /** Its last byte has arrived; read only for requests that may be watches. */
  #hasEnded = false;
  #isHeld = false;
  #heldBytes = 0;
  /** The response is complete; the core has forgotten the request. */
  #isComplete = false;
  #watch: WatchStream | undefined;
  /**
   * Begin in the register's count, until the connection is proven not to be an open watch's; see
   * LastingWatch.
   */
  #begun: number;

  constructor(
    shared: UwsShared,
    res: HttpResponse,
    handles: WatchHandles | undefined,
    method: Method,
    origin: string,
  ) {
    this.#shared = shared;
    this.res = res;
    this.#handles = handles;
    this.method = method;
    this.#origin = origin;
    this.#begun = shared.watches.begin();
    res.onAborted(() => this.#onGone());
    if (handles !== undefined) {
      res.onData((_, isLast) => {
        if (isLast) this.#hasEnded = true;
      });
    }
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /** The request has no body, so the library calls the `onData` of a watch on this connection. */
  leaveProof(): void {
    this.#begun = PROVEN;
  }

  /** Call before any write or close. @returns false if the client is gone, or was a watch's */
  #isOurs(): boolean {
    if (this.#begun !== PROVEN && !this.#isGone) this.#prove();
    return !this.#isGone;
  }

  #prove(): void {
    const begun = this.#begun;
    this.#begun = PROVEN;
    this.#shared.watches.prove(begun);
  }

  answer(head: ResponseRecord, body: Uint8Array): void {
    this.large?.leave();
    if (!this.#isOurs()) return;
    if (head.location.length > LOCATION_BYTES_MAX) {
      this.answer(BAD_REQUEST, BAD_REQUEST_BODY);
      return;
    }
    this.#isGone = true;
    this.#isComplete = true;
    if (this.method === Method.head || body.length === 0) this.#shared.unserved.onWithoutLength();
    if (this.method !== Method.head && head.status !== 204) {
      sendResponse(this.res, this.#head(head, ""), body);
      return;
    }
    // Given the length, `endWithoutBody` would wait for that many bytes for ever.
    const length = head.status === 204 ? "" : `Content-Length: ${body.length}\r\n`;
    this.res.cork(() => {
      this.res.writeStatus(this.#head(head, length));
      this.res.endWithoutBody();
    });
  }

  /**
   * Responds and closes, in a later turn: without a response, the library closes the connection
   * itself instead of parsing further input as another request.
   */
  refuse(head: ResponseRecord, body: Uint8Array): void {
    setImmediate(() => {
      if (!this.#isOurs()) return;
      this.#isGone = true;
      this.res.cork(() => {
        this.res.writeStatus(this.#head(head, ""));
        this.res.end(body, true);
      });
    });
  }

  open(head: ResponseRecord, body: Uint8Array): void {
    if (!this.#isOurs()) return;
    const text = this.#head(head, "");
    if (body.length > 0) this.#write(body, false, text);
    else this.#openWatch(text);
  }

  chunk(body: ChunkBody, isEnd: boolean): void {
    if (this.#isGone) return;
    if (isEnd) {
      this.#isGone = true;
      this.#isComplete = true;
    }
    const watch = this.#watch;
    if (watch === undefined) {
      this.#write(body.bytes, isEnd, undefined);
      return;
    }
    if (isEnd) this.#shared.watches.delete(watch);
    if (!(isEnd ? watch.end(body) : watch.event(body))) this.#lose(watch);
    else if (!isEnd && !watch.backlog.wrote(body.bytes.length)) this.#cutSlow(watch.backlog.bytes);
  }

  cut(): void {
    if (!this.#isOurs()) return;
    this.#end();
    if (this.#watch === undefined) this.res.close();
    else this.#watch.cut();
  }

  #openWatch(head: string): void {
    const { backlogs, watches } = this.#shared;
    // Before the request's end, its own body would look to the watch like another request.
    if (this.#handles === undefined || !this.#hasEnded) {
      this.#watch = new ClosingWatch(this.res, backlogs, head);
      return;
    }
    const onLost = () => {
      if (!this.#isGone) this.#lose(watch);
    };
    const onGone = () => this.#onGone();
    const watch = new LastingWatch(this.#handles, backlogs, head, onGone, onLost);
    this.#watch = watch;
    watches.add(watch, onLost);
  }

  #onGone(): void {
    // The last chance to detect a watch on this connection.
    if (this.#begun !== PROVEN) this.#prove();
    const backlog = this.#watch?.backlog;
    if (!this.#isGone && backlog?.isStalled) this.#shared.options.onSlowClient(backlog.bytes);
    this.#shared.unserved.onRequestGone();
    this.#end();
    this.body?.drop();
    if (this.requestId === undefined) this.large?.leave();
    else if (!this.#isComplete) this.#shared.gateway.abort(this.requestId);
  }

  /** Another request arrived on the connection of a watch. */
  #lose(watch: WatchStream): void {
    this.#end();
    watch.cut();
    if (!this.#isComplete) this.#abort();
  }

  #abort(): void {
    if (this.requestId !== undefined) this.#shared.gateway.abort(this.requestId);
  }

  #cutSlow(backlogBytes: number): void {
    this.#shared.options.onSlowClient(backlogBytes);
    // The library then reports the request as aborted, which informs the core.
    this.cut();
  }

  #end(): void {
    this.#isGone = true;
    if (this.#watch === undefined) return;
    this.#watch.backlog.close();
    this.#shared.watches.delete(this.#watch);
  }

  /** @param last further lines @returns status and header lines, without the last line end */
  #head(head: ResponseRecord, last: string): string {
    const lines = this.#shared.options.heads.lines(head, this.#origin) + last;
    // One call for all headers: the library writes "HTTP/1.1 ", this text and a line end.
    return `${statusText(head.status)}\r\n${lines}`.slice(0, -2);
  }

  /** For large listings: pauses the core while the client lags. */
  #write(bytes: Uint8Array, isEnd: boolean, head: string | undefined): void {
    if (head !== undefined) this.#shared.unserved.onWithoutLength();
    const hasRoom = writeChunks(this.res, head, bytes, isEnd);
    if (hasRoom || isEnd) return;
    this.#heldBytes += bytes.length;
    if (this.#heldBytes > STREAM_BACKLOG_BYTES_MAX) this.#cutSlow(this.#heldBytes);
    const { requestId } = this;
    if (this.#isHeld || this.#isGone || requestId === undefined) return;
    this.#isHeld = true;
    this.#shared.gateway.hold(requestId);
    this.res.onWritable(() => {
      this.res.cork(() => undefined); // Sends the buffered bytes.
      this.#heldBytes = 0;
      if (this.#isHeld && !this.#isGone) {
        this.#isHeld = false;
        this.#shared.gateway.resume(requestId);
      }
      return true;
    });
  }
}
