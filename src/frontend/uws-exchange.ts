import type { HttpResponse } from "uWebSockets.js";
import { ResponseRecord } from "../messages/requests.js";
import { Method } from "../v2/request.js";
import type { Backlogs } from "./backlogs.js";
import type { Body } from "./body.js";
import type { ChunkBody } from "./chunk-body.js";
import {
  type CallerTrace,
  type Exchange,
  type FrontendOptions,
  type Gateway,
  STREAM_BACKLOG_BYTES_MAX,
} from "./frontend.js";
import type { LargeRequest } from "./large-requests.js";
import { BAD_REQUEST, BAD_REQUEST_BODY } from "./local-responses.js";
import type { ReusedRequest } from "./reused-request.js";
import { resumeSending } from "./uws-backlog.js";
import type { UwsHeads } from "./uws-heads.js";
import type { UnservedCount } from "./uws-unserved.js";
import { ClosingWatch, LastingWatch, type WatchHandles, type WatchStream } from "./uws-watch.js";
import type { Checked, WatchRegister } from "./uws-watch-register.js";
import { sendLast, sendResponse, writeChunks } from "./uws-writer.js";

/**
 * A head must fit into one cork: see uws-writer.ts. It echoes nothing else of a client's choice.
 */
const LOCATION_BYTES_MAX = 12 * 1024;

/** What the exchanges of one frontend share. */
export interface UwsShared {
  readonly gateway: Gateway;
  readonly options: FrontendOptions;
  readonly backlogs: Backlogs;
  readonly watches: WatchRegister;
  readonly unserved: UnservedCount;
  readonly request: ReusedRequest;
  readonly heads: UwsHeads;
}

/** One request. */
export class UwsExchange implements Exchange, Checked {
  readonly res: HttpResponse;
  readonly method: Method;
  requestId: number | undefined;
  /** While it comes in. */
  body: Body | undefined;
  large: LargeRequest | undefined;
  readonly authorization: string;
  declare trace?: CallerTrace;
  /** The connection closes after its response. */
  isLast = false;
  readonly #shared: UwsShared;
  readonly #origin: string;
  /** Of a request that may be a watch on a connection that lives on. */
  readonly #handles: WatchHandles | undefined;
  #isGone = false;
  /** Its last byte came in; only looked at for what may be a watch. */
  #hasEnded = false;
  /** Part of a chunked answer was written. */
  #isChunked = false;
  #isHeld = false;
  #heldBytes = 0;
  /** No more is to come: the core has forgotten the request. */
  #isComplete = false;
  #watch: WatchStream | undefined;
  /** Until it is known that the connection is not a watch's; see `check`. */
  #isUnchecked = false;
  /** What it was told meanwhile. */
  #delayed: (() => void)[] | undefined;
  #isKept = false;
  #isInHandler = true;
  /** The watch opens when it is known whether bytes of earlier responses are unsent. */
  #isProbing = false;

  constructor(
    shared: UwsShared,
    res: HttpResponse,
    handles: WatchHandles | undefined,
    method: Method,
    origin: string,
    authorization: string,
  ) {
    this.#shared = shared;
    this.res = res;
    this.#handles = handles;
    this.method = method;
    this.#origin = origin;
    this.authorization = authorization;
    res.onAborted(() => this.#onGone());
    if (handles !== undefined) {
      res.onData((_, isLast) => {
        if (isLast) this.#hasEnded = true;
      });
    }
  }

  get remoteAddress(): string {
    return this.#isGone ? "" : Buffer.from(this.res.getRemoteAddressAsText()).toString("latin1");
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  /**
   * The library's callback for the request is about to return. It then reports a request without a
   * body to the watch on its connection, if there is one; until then nothing may be sent.
   */
  leaveHandler(): void {
    this.#isInHandler = false;
  }

  /**
   * Finds out whether the connection is that of an open watch: that is told of the writable event
   * asked for here, and closes it. Until then nothing is answered, as an answer would take the
   * watch's callback away.
   */
  check(): void {
    this.#isUnchecked = true;
    resumeSending(this.res);
    this.#shared.watches.afterPoll(this);
  }

  checked(): void {
    this.#isUnchecked = false;
    this.#runDelayed();
    if (this.#isGone || this.#watch !== undefined || this.#isChunked) return;
    // A body that is still to come has the library's timer, which its last bytes stop.
    if (this.requestId === undefined) return;
    this.#isKept = true;
    this.#shared.watches.keep(this.res);
  }

  /**
   * Stops reading the body until its turn comes. Not before the check is over, which a pause would
   * undo: it ends what `check` asked for.
   */
  pauseBody(): void {
    if (this.#isUnchecked) {
      this.#delay(() => this.pauseBody());
      return;
    }
    if (this.#isGone || this.large?.isWaiting !== true) return;
    // What a socket is polled for when it is paused is what the library resumes all others with.
    this.res.resume();
    this.res.pause();
  }

  #runDelayed(): void {
    const calls = this.#delayed;
    this.#delayed = undefined;
    for (const call of calls ?? []) call();
  }

  /** Once it is checked, or probed. */
  #delay(call: () => void): void {
    this.#delayed ??= [];
    this.#delayed.push(call);
  }

  answer(head: ResponseRecord, body: Uint8Array): void {
    if (this.#isUnchecked || this.#isInHandler) {
      const kept = Object.assign(new ResponseRecord(), head);
      // To HEAD only the length matters, and the bytes may be absent.
      const bytes = this.method === Method.head ? body : Buffer.from(body);
      if (this.#isUnchecked) this.#delay(() => this.answer(kept, bytes));
      else setImmediate(() => this.answer(kept, bytes));
      return;
    }
    this.large?.leave();
    if (this.#isGone) return;
    this.#release();
    if (head.location.length > LOCATION_BYTES_MAX) {
      this.answer(BAD_REQUEST, BAD_REQUEST_BODY);
      return;
    }
    this.#isGone = true;
    this.#isComplete = true;
    if (this.method === Method.head || body.length === 0) this.#shared.unserved.onWithoutLength();
    if (this.method !== Method.head && head.status !== 204) {
      if (this.isLast) sendLast(this.res, this.#head(head), body);
      else sendResponse(this.res, this.#shared.heads.of(head, this.#origin), body);
      return;
    }
    // Told the length, `endWithoutBody` would wait for that many bytes and never be done.
    const length = head.status === 204 ? "" : `Content-Length: ${body.length}\r\n`;
    this.res.cork(() => {
      this.res.writeStatus(this.#head(head, length));
      if (this.isLast) this.res.endWithoutBody(0, true);
      else this.res.endWithoutBody();
    });
  }

  /**
   * Answers and closes. Not at once: while there is no answer, the library closes the connection
   * itself instead of taking what follows for another request.
   */
  refuse(head: ResponseRecord, body: Uint8Array): void {
    if (this.#isUnchecked) {
      this.#delay(() => this.refuse(head, body));
      return;
    }
    setImmediate(() => {
      if (this.#isGone) return;
      this.#isGone = true;
      this.#release();
      this.res.cork(() => {
        this.res.writeStatus(this.#head(head));
        this.res.end(body, true);
      });
    });
  }

  open(head: ResponseRecord, body: Uint8Array): void {
    if (this.#isUnchecked) {
      const kept = Object.assign(new ResponseRecord(), head);
      const bytes = Buffer.from(body);
      this.#delay(() => this.open(kept, bytes));
      return;
    }
    if (this.#isGone) return;
    this.#release();
    const text = this.#head(head);
    if (body.length > 0) this.#write(body, false, text);
    else this.#openWatch(text);
  }

  chunk(body: ChunkBody, isEnd: boolean): void {
    if (this.#isUnchecked || this.#isProbing) {
      const kept = body.copy();
      this.#delay(() => this.chunk(kept, isEnd));
      return;
    }
    if (this.#isGone) return;
    if (isEnd) {
      this.#isGone = true;
      this.#isComplete = true;
    }
    const watch = this.#watch;
    if (watch === undefined) {
      this.#write(body.whole, isEnd, undefined);
      return;
    }
    if (isEnd) this.#shared.watches.delete(watch);
    else this.#shared.watches.wrote(watch);
    if (!(isEnd ? watch.end(body) : watch.event(body))) this.#lose(watch);
    else if (!isEnd && !watch.backlog.wrote(body.length)) this.#cutSlow(watch.backlog.bytes);
  }

  cut(): void {
    if (this.#isGone) return;
    this.#release();
    this.#end();
    if (this.#watch === undefined) this.res.close();
    else this.#watch.cut();
  }

  #openWatch(head: string): void {
    const { backlogs } = this.#shared;
    // A late body of its own would look like another request.
    const handles = this.#handles;
    if (handles === undefined || !this.#hasEnded || this.isLast) {
      this.#watch = new ClosingWatch(this.res, backlogs, head);
      return;
    }
    this.#isProbing = true;
    this.#shared.watches.probe(this.res, (isClear) => {
      this.#isProbing = false;
      if (this.#isGone) return;
      // Bytes of earlier responses would hide another request for as long as they are unread.
      if (isClear) this.#openLasting(handles, head);
      else this.#watch = new ClosingWatch(this.res, backlogs, head);
      this.#runDelayed();
    });
  }

  #openLasting(handles: WatchHandles, head: string): void {
    const { backlogs, watches } = this.#shared;
    const onIntruder = () => {
      if (!this.#isGone) this.#lose(watch);
    };
    const watch = new LastingWatch(handles, backlogs, head, () => this.#onGone(), onIntruder);
    this.#watch = watch;
    watches.add(watch, () => {
      this.#end();
      this.#abort();
    });
  }

  #release(): void {
    if (this.#isKept) this.#shared.watches.release(this.res);
    this.#isKept = false;
  }

  #onGone(): void {
    this.#release();
    if (this.#isUnchecked) this.#shared.watches.onUncheckedGone();
    const backlog = this.#watch?.backlog;
    if (!this.#isGone && backlog?.isStalled) this.#shared.options.onSlowClient(backlog.bytes);
    this.#shared.unserved.onRequestGone();
    this.#end();
    this.body?.drop();
    if (this.requestId === undefined) this.large?.leave();
    else if (!this.#isComplete) this.#shared.gateway.abort(this.requestId);
  }

  /** Another request came on the connection of a watch. */
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
    // The library now says that the request is aborted, and the core hears of it.
    this.cut();
  }

  #end(): void {
    this.#isGone = true;
    if (this.#watch === undefined) return;
    this.#watch.backlog.close();
    this.#shared.watches.delete(this.#watch);
  }

  /** @param last more lines */
  #head(head: ResponseRecord, last = ""): string {
    return this.#shared.heads.text(head, this.#origin, last);
  }

  /** Large listings: tells the core to pause while the client is behind. */
  #write(bytes: Uint8Array, isEnd: boolean, head: string | undefined): void {
    if (head !== undefined) this.#shared.unserved.onWithoutLength();
    this.#isChunked = true;
    const hasRoom = writeChunks(this.res, head, bytes, isEnd, this.isLast);
    if (hasRoom || isEnd) return;
    this.#heldBytes += bytes.length;
    if (this.#heldBytes > STREAM_BACKLOG_BYTES_MAX) this.#cutSlow(this.#heldBytes);
    const { requestId } = this;
    if (this.#isHeld || this.#isGone || requestId === undefined) return;
    this.#isHeld = true;
    this.#shared.gateway.hold(requestId);
    this.res.onWritable(() => {
      this.res.cork(() => undefined); // Sends what is left.
      this.#heldBytes = 0;
      if (this.#isHeld && !this.#isGone) {
        this.#isHeld = false;
        this.#shared.gateway.resume(requestId);
      }
      return true;
    });
  }
}
