import { unreachable } from "../lib/assert.js";
import { OpenTable } from "../lib/open-table.js";
import type { LocalHandler } from "../messages/local.js";
import { writeNumbers } from "../messages/numbers.js";
import {
  type FramedRequest,
  RequestType,
  ResponseRecord,
  ResponseType,
  readChunk,
  writeRequest,
  writeRequestId,
} from "../messages/requests.js";
import type { Bell } from "../ring/bell.js";
import { EventLoopPort, type PortMetrics } from "../ring/event-loop-port.js";
import { Inlet, Outlet } from "../ring/fragments.js";
import type { RecordCursor } from "../ring/record-cursor.js";
import type { RingReader, RingWriter } from "../ring/ring.js";
import { unescapePercent } from "../v2/form.js";
import { Method } from "../v2/request.js";
import { Backlogs } from "./backlogs.js";
import type { ChunkBody } from "./chunk-body.js";
import { EarlyRequests } from "./early-requests.js";
import { FanOut } from "./fan-out.js";
import type { Exchange, Gateway } from "./frontend.js";
import { type Guard, GuardedExchange } from "./guarded-exchange.js";
import {
  answerLater,
  answerLocally,
  BAD_REQUEST,
  BAD_REQUEST_BODY,
  NO_ROOM,
  NO_ROOM_BODY,
  NOTHING_TO_SAY,
} from "./local-responses.js";
import { REAL_CLOCK, WrongTries } from "./wrong-tries.js";

/**
 * Turns of the event loop that poll for the response to a read before this thread sleeps: the core
 * takes a few microseconds, a wake-up ten times that. With one connection, 8,000 reads/s became
 * 13,000, at a quarter less CPU each. Writes wait for the disk, so they are not polled for.
 */
const READ_POLLS = 40;
/** Limit of requests waiting for room in the ring; more are rejected. */
const QUEUED_BYTES_MAX = 256 * 1024 * 1024;

/** Metrics, counted by the owner. */
export interface GatewayMetrics extends PortMetrics {
  /** Requests in flight, once per batch. */
  inFlight(requests: number): void;
}

/** What a gateway does besides passing on requests to the core. */
export interface GatewayHooks {
  /** Serves paths without the core. */
  readonly local: LocalHandler;
  readonly guard?: Guard;
  /**
   * Sends the events of one turn for the same streams together. Not for uWebSockets.js: its streams
   * then leave faster than most clients read, and what StreamBacklog finds out about many streams
   * that lag at once is not reliable: some were cut although their clients read.
   */
  readonly joinsEvents?: boolean;
  /** A line for the audit log; the main thread's gateway gets them all. */
  readonly onAudit?: (line: string) => void;
}

const NO_BYTES = new Uint8Array(0);

/** A "%" without two hexadecimal digits. */
function isMalformed(path: string): boolean {
  return path.includes("%") && typeof unescapePercent(path, false) !== "string";
}

/** A body for responses to HEAD: only its length is read. */
function absentBody(length: number): Uint8Array {
  return Object.defineProperty(new Uint8Array(0), "length", { value: length });
}

/** Carries requests of one frontend thread to the core and answers back. */
export class RingGateway implements Gateway {
  readonly backlogs = new Backlogs();
  readonly #requests: Outlet;
  readonly #answers: Inlet;
  readonly #port: EventLoopPort;
  readonly #hooks: GatewayHooks;
  readonly #wrongTries = new WrongTries(REAL_CLOCK);
  /** By request id. */
  readonly #exchanges = new OpenTable<Exchange>();
  readonly #answer = new ResponseRecord();
  readonly #fanOut = new FanOut((ids, body, isEnd) => this.#deliver(ids, body, isEnd));
  readonly #figures: GatewayMetrics;
  #pollsLeft = 0;
  /** Requests that arrived before the member was ready, in order. Undefined from then on. */
  #early: EarlyRequests | undefined;

  constructor(
    requests: RingWriter,
    answers: RingReader,
    bell: Bell,
    hooks: GatewayHooks,
    figures: GatewayMetrics,
  ) {
    this.#figures = figures;
    this.#requests = new Outlet(requests);
    this.#answers = Inlet.withCursor<ResponseType>(answers, (record) => this.#take(record));
    this.#port = new EventLoopPort({
      outlet: this.#requests,
      inlet: this.#answers,
      bell,
      later: setImmediate,
      onTurn: () => this.#onTurn(),
      pauses: {
        nowMs: () => performance.now(),
        lengthMs: (batchMs, monoMs) => this.backlogs.pauseMs(batchMs, monoMs),
        start: (ms, onEnd) => {
          const timer = setTimeout(onEnd, ms);
          return () => clearTimeout(timer);
        },
      },
      figures,
    });
    this.#hooks = hooks;
  }

  /** Starts reading responses of the core. */
  start(): void {
    this.#port.start();
  }

  /** Holds requests until `serve`: ports are open before the member is ready. */
  holdRequests(): void {
    this.#early ??= new EarlyRequests(QUEUED_BYTES_MAX);
  }

  /** Sends the held requests; from now on, each on arrival. */
  serve(): void {
    const early = this.#early;
    this.#early = undefined;
    for (const { exchange, id, request } of early?.takeAll() ?? []) {
      if (this.#exchanges.take(id) !== exchange) continue; // The client has gone.
      exchange.requestId = this.request(exchange, request);
    }
  }

  request(exchange: Exchange, request: FramedRequest): number | undefined {
    const { method, path } = request;
    if (method === Method.options) {
      if (isMalformed(path)) exchange.answer(BAD_REQUEST, BAD_REQUEST_BODY);
      else exchange.answer(NOTHING_TO_SAY, NO_BYTES);
      return undefined;
    }
    // Nearly everything is below /v2/, and none of that is local.
    if (!path.startsWith("/v2/")) {
      const served = this.requestLocally(exchange, request, this.#hooks.local);
      if (served !== "elsewhere") return served;
    }
    if (this.#early !== undefined) return this.#keep(this.#early, exchange, request);
    return this.ask(exchange, request);
  }

  /**
   * Serves a request without the core, which is asked only whether the client may have it.
   *
   * @returns the id of that question, if there is one; "elsewhere" for a path that is not local
   */
  requestLocally(
    exchange: Exchange,
    request: FramedRequest,
    handler: LocalHandler,
  ): number | undefined | "elsewhere" {
    const { method, path, query, body } = request;
    if (this.#hooks.guard?.isGuarded(path) === true) {
      return this.ask(new GuardedExchange(exchange, request, handler), request);
    }
    const local = handler({ method, path, query, body });
    if (local === undefined) return "elsewhere";
    if (local instanceof Promise) answerLater(exchange, local);
    else answerLocally(exchange, local);
    return undefined;
  }

  /** Passes a request to the core, also while those of clients are held. */
  ask(exchange: Exchange, request: FramedRequest): number | undefined {
    if (this.#requests.queuedBytes > QUEUED_BYTES_MAX) {
      exchange.answer(NO_ROOM, NO_ROOM_BODY);
      return undefined;
    }
    const id = this.#exchanges.add(exchange);
    const isRead = request.method === Method.get;
    this.#pollsLeft = isRead ? READ_POLLS : 0;
    if (!isRead) this.backlogs.hasWriter = true;
    writeRequest(this.#requests, id, request);
    this.#port.sent();
    return id;
  }

  #keep(early: EarlyRequests, exchange: Exchange, request: FramedRequest): number | undefined {
    if (!early.hasRoom(request)) {
      exchange.answer(NO_ROOM, NO_ROOM_BODY);
      return undefined;
    }
    const id = this.#exchanges.add(exchange);
    early.add(id, exchange, request);
    return id;
  }

  abort(requestId: number): void {
    const exchange = this.#exchanges.get(requestId);
    if (exchange === undefined) return;
    if (this.#early !== undefined) {
      this.#exchanges.take(requestId); // The core never learns of it.
      exchange.large?.leave();
      return;
    }
    if (exchange.large === undefined) this.#exchanges.take(requestId);
    writeRequestId(this.#requests, RequestType.abort, requestId);
    this.#port.sent();
  }

  hold(requestId: number): void {
    writeRequestId(this.#requests, RequestType.hold, requestId);
    this.#port.sent();
  }

  resume(requestId: number): void {
    writeRequestId(this.#requests, RequestType.resume, requestId);
    this.#port.sent();
  }

  /** Asks the core to finish the requests in flight, then to stop itself, wal and peer. */
  stopCore(): void {
    writeNumbers(this.#requests, RequestType.stop);
    this.#port.sent();
  }

  /** Sends the responses received so far, ends all other exchanges, stops reading from the core. */
  close(): void {
    while (this.#answers.drain(Number.POSITIVE_INFINITY) > 0);
    this.#fanOut.flush();
    this.#port.close();
    this.#wrongTries.close();
    for (const [id, exchange] of this.#exchanges.entries()) {
      this.#exchanges.take(id);
      exchange.cut();
    }
  }

  /** @returns whether to poll at once for the response to a read */
  #onTurn(): boolean {
    this.#fanOut.endTurn();
    this.#figures.inFlight(this.#exchanges.size);
    if (this.#pollsLeft === 0) return false;
    this.#pollsLeft--;
    return true;
  }

  #take(record: RecordCursor<ResponseType>): void {
    const { type } = record;
    switch (type) {
      case ResponseType.answer:
        this.#onAnswer(record);
        return;
      case ResponseType.chunk:
        this.#fanOut.add(record);
        if (this.#hooks.joinsEvents !== true) this.#fanOut.flush();
        if (this.#fanOut.isEnough) this.#answers.endBatch();
        return;
      case ResponseType.cut:
        this.#onCut(record);
        return;
      case ResponseType.audit:
        this.#hooks.onAudit?.(record.utf8(0));
        return;
      default:
        unreachable(type);
    }
  }

  #onAnswer(record: RecordCursor): void {
    const head = this.#answer;
    head.read(record);
    const { requestId, isOpen, bodyAt, bodyBytes } = head;
    const exchange = isOpen ? this.#exchanges.get(requestId) : this.#exchanges.take(requestId);
    if (exchange === undefined) return; // The client has gone.
    const body = head.isHeadOnly ? absentBody(bodyBytes) : record.bytes(bodyAt, bodyAt + bodyBytes);
    if (head.hasWrongCredentials) this.#wrongTries.answer(exchange, head, body);
    else if (isOpen) exchange.open(head, body);
    else exchange.answer(head, body);
  }

  #deliver(requestIds: readonly number[], body: ChunkBody, isEnd: boolean): void {
    for (const id of requestIds) {
      const exchange = isEnd ? this.#exchanges.take(id) : this.#exchanges.get(id);
      exchange?.chunk(body, isEnd);
    }
  }

  #onCut(record: RecordCursor): void {
    this.#fanOut.flush();
    for (const id of readChunk(record).requestIds) {
      this.#exchanges.take(id)?.cut();
    }
  }
}
