import { assert } from "../lib/assert.js";
import type { Bell } from "./bell.js";
import type { Inlet, Outlet } from "./fragments.js";

/** Records consumed in one turn before sockets get their turn again. */
const BATCH_RECORDS = 1024;
/**
 * Messages after which the outlet is published before the turn of the event loop is over. Otherwise
 * all threads work one after the other on one large batch, and half of each core is idle.
 */
const PUBLISH_MESSAGES = 32;

/** Metrics of the owner. */
export interface PortMetrics {
  woken(): void;
  /** The outgoing ring had no room: counted once until its queue is empty again. */
  ringFull(): void;
}

/** Dependencies of a port. */
export interface PortParts {
  readonly outlet: Outlet;
  readonly inlet: Inlet;
  /** The owner's bell: rung for messages in the inlet, and for room in the outlet. */
  readonly bell: Bell;
  /** `setImmediate`: runs after all sockets that became readable in this turn. */
  readonly later: (turn: () => void) => unknown;
  /**
   * Called after each batch from the inlet.
   *
   * @returns whether to take the next turn at once, without knowing of any work
   */
  readonly onTurn: () => boolean;
  readonly figures: PortMetrics;
}

/**
 * An event-loop thread's end of a ring in each direction.
 *
 * Socket callbacks only append to the outlet; once per turn of the event loop everything is
 * published together, and the inlet is drained. While there is nothing to do the thread sleeps in
 * its event loop until its bell wakes it.
 */
export class EventLoopPort {
  readonly #outlet: Outlet;
  readonly #inlet: Inlet;
  readonly #bell: Bell;
  readonly #later: (turn: () => void) => unknown;
  readonly #onTurn: () => boolean;
  readonly #figures: PortMetrics;
  readonly #turnBound = () => this.#turn();
  readonly #hasWorkBound = () => this.#inlet.hasWork() || this.#outlet.canMove();
  #isScheduled = false;
  /** A promise of the bell is pending, whether the bell is armed or not. */
  #isParked = false;
  #isClosed = false;
  /** Messages are queued that the ring had no room for. */
  #isBehind = false;
  #unpublished = 0;

  constructor({ outlet, inlet, bell, later, onTurn, figures }: PortParts) {
    this.#outlet = outlet;
    this.#inlet = inlet;
    this.#bell = bell;
    this.#later = later;
    this.#onTurn = onTurn;
    this.#figures = figures;
  }

  /** Takes the first turn. */
  start(): void {
    assert(!this.#isParked, "a port starts once");
    this.#turn();
  }

  /** After each message put into the outlet. */
  sent(): void {
    if (++this.#unpublished >= PUBLISH_MESSAGES) this.#publish();
    this.#schedule();
  }

  /** Publishes, and schedules no more turns. Messages sent later need another close(). */
  close(): void {
    this.#isClosed = true;
    this.#publish();
  }

  #publish(): void {
    this.#unpublished = 0;
    this.#outlet.publish();
    const isBehind = this.#outlet.queuedBytes > 0;
    if (isBehind && !this.#isBehind) this.#figures.ringFull();
    this.#isBehind = isBehind;
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isClosed) return;
    this.#isScheduled = true;
    if (this.#isParked) this.#bell.disarm(); // The turn looks at the inlet anyway.
    this.#later(this.#turnBound);
  }

  #turn(): void {
    this.#isScheduled = false;
    this.#publish();
    const taken = this.#inlet.drain(BATCH_RECORDS);
    assert(taken <= BATCH_RECORDS, "a turn has an end: sockets wait for it");
    const isFull = taken === BATCH_RECORDS;
    const isEager = this.#onTurn();
    if (isFull || isEager) this.#schedule();
    this.#park();
  }

  #park(): void {
    if (this.#isClosed || this.#isScheduled) return;
    assert(this.#unpublished === 0, "whatever was sent has a turn or is published");
    if (this.#isParked) {
      if (!this.#bell.rearm(this.#hasWorkBound)) this.#schedule();
      return;
    }
    const rung = this.#bell.parkAsync(this.#hasWorkBound);
    if (rung === undefined) {
      this.#schedule();
      return;
    }
    this.#isParked = true;
    void rung.then(() => {
      assert(this.#isParked, "one promise of the bell is pending at a time");
      this.#isParked = false;
      this.#figures.woken();
      if (!this.#isClosed && !this.#isScheduled) this.#turn();
    });
  }
}
