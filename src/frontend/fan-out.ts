import { chunkRecipients, readChunk } from "../messages/requests.js";
import type { RecordCursor } from "../ring/record-cursor.js";
import { ChunkBody } from "./chunk-body.js";

/** Sends part of a response to these requests. */
export type Deliver = (requestIds: readonly number[], body: ChunkBody, isEnd: boolean) => void;

/** Limit of the events that leave together: framed, they fit into a cork of uWebSockets.js. */
const TOGETHER_BYTES_MAX = 12_000;
/** Each takes a size and two line ends as well. */
const FRAMING_BYTES = 8;
/**
 * Limit of what all streams get in one turn, so that others are served, and it is seen which
 * clients read: 12 kB each for 5,000.
 */
const TURN_BYTES_MAX = 64 * 1024 * 1024;
/** A write takes as long as these. */
const WRITE_BYTES = 1024;
const NO_IDS = Buffer.alloc(0);

/**
 * Events for the same streams that came in one turn leave together: one write to each stream, not
 * one for each event.
 */
export class FanOut {
  readonly #deliver: Deliver;
  #recipients = NO_IDS;
  #requestIds: readonly number[] = [];
  /** Copies. */
  readonly #events: Buffer[] = [];
  #bytes = 0;
  /** Delivered in this turn. */
  #turnBytes = 0;

  constructor(deliver: Deliver) {
    this.#deliver = deliver;
  }

  /** @param record a chunk */
  add(record: RecordCursor): void {
    const recipients = chunkRecipients(record);
    const isSame = recipients.equals(this.#recipients);
    const { requestIds, isEnd, body } = readChunk(record);
    const bytes = body.length + FRAMING_BYTES;
    if (!isSame || isEnd || this.#bytes + bytes > TOGETHER_BYTES_MAX) this.flush();
    if (isEnd || bytes > TOGETHER_BYTES_MAX) {
      this.#send(requestIds, new ChunkBody(body), isEnd);
      return;
    }
    if (this.#events.length === 0) {
      this.#recipients = Buffer.from(recipients);
      this.#requestIds = requestIds;
    }
    this.#events.push(Buffer.from(body));
    this.#bytes += bytes;
  }

  /** The turn should end. */
  get isEnough(): boolean {
    return this.#turnBytes + this.#bytes * this.#requestIds.length >= TURN_BYTES_MAX;
  }

  endTurn(): void {
    this.flush();
    this.#turnBytes = 0;
  }

  /** Call before anything else is sent to a stream. */
  flush(): void {
    const last = this.#events.pop();
    if (last === undefined) return;
    const body = new ChunkBody(last, this.#events.splice(0));
    const requestIds = this.#requestIds;
    this.#bytes = 0;
    this.#recipients = NO_IDS;
    this.#requestIds = [];
    this.#send(requestIds, body, false);
  }

  #send(requestIds: readonly number[], body: ChunkBody, isEnd: boolean): void {
    this.#turnBytes += requestIds.length * (body.length + WRITE_BYTES);
    this.#deliver(requestIds, body, isEnd);
  }
}
