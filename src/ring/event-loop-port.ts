import { assert } from "../lib/assert.js";
import type { Bell } from "./bell.js";
import type { Inlet, Outlet } from "./fragments.js";

/** Records consumed per turn before sockets are served again. */
const BATCH_RECORDS = 1024;
/**
 * Messages after which the outlet is published within a turn of the event loop. With one large
 * batch per turn the threads would run one after the other, and each core would be idle half of the
 * time; with small ones they wake each other all the time: 32 took 0.2 us more per write of 256
 * connections, and 128 spared no more.
 */
const PUBLISH_MESSAGES = 64;

/** Metrics of the owner. */
export interface PortMetrics {
  woken(): void;
  /** The outgoing ring was full; called once until its queue is empty again. */
  ringFull(): void;
}

/** When the owner takes nothing from the inlet for a while. */
export interface Pauses {
  /** Monotonic. */
  readonly nowMs: () => number;
  /** @param batchMs what the last batch took, until `monoMs` @returns how long; 0: not at all */
  readonly lengthMs: (batchMs: number, monoMs: number) => number;
  /** @returns what cancels it */
  readonly start: (ms: number, onEnd: () => void) => () => void;
}

/** Dependencies of an EventLoopPort. */
export interface PortParts {
  readonly outlet: Outlet;
  readonly inlet: Inlet;
  /** The owner's bell, rung for messages in the inlet and for room in the outlet. */
  readonly bell: Bell;
  /** `setImmediate`: runs after all sockets that are readable in this turn. */
  readonly later: (turn: () => void) => unknown;
  /**
   * Called after each batch from the inlet.
   *
   * @returns whether to take the next turn at once, even without known work
   */
  readonly onTurn: () => boolean;
  /** Undefined: it never pauses. */
  readonly pauses?: Pauses;
  readonly figures: PortMetrics;
}

/**
 * An event-loop thread's ends of a pair of rings.
 *
 * Socket callbacks only write to the outlet; once per turn of the event loop it is published and
 * the inlet is drained. An idle thread sleeps in its event loop until its bell is rung.
 */
export class EventLoopPort {
  readonly #outlet: Outlet;
  readonly #inlet: Inlet;
  readonly #bell: Bell;
  readonly #later: (turn: () => void) => unknown;
  readonly #onTurn: () => boolean;
  readonly #pauses: Pauses | undefined;
  readonly #figures: PortMetrics;
  readonly #turnBound = () => this.#turn();
  readonly #hasWorkBound = () => this.#inlet.hasWork() || this.#outlet.canMove();
  #isScheduled = false;
  /** A promise of the bell is pending, with the bell armed or not. */
  #isParked = false;
  #isClosed = false;
  /** Ends the pause without a turn; set while the inlet is left alone. */
  #cancelPause: (() => void) | undefined;
  /** The ring is full, and messages are queued. */
  #isBehind = false;
  #unpublished = 0;

  constructor({ outlet, inlet, bell, later, onTurn, pauses, figures }: PortParts) {
    this.#outlet = outlet;
    this.#inlet = inlet;
    this.#bell = bell;
    this.#later = later;
    this.#onTurn = onTurn;
    this.#pauses = pauses;
    this.#figures = figures;
  }

  /** Takes the first turn. */
  start(): void {
    assert(!this.#isParked, "a port starts once");
    this.#turn();
  }

  /** Call after each message written to the outlet. */
  sent(): void {
    if (++this.#unpublished >= PUBLISH_MESSAGES) this.#publish();
    this.#schedule();
  }

  /** Publishes, and stops scheduling turns. Messages sent later need another close(). */
  close(): void {
    this.#isClosed = true;
    this.#cancelPause?.();
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
    if (this.#isParked) this.#bell.disarm(); // The turn checks the inlet anyway.
    this.#later(this.#turnBound);
  }

  #turn(): void {
    this.#isScheduled = false;
    this.#publish();
    if (this.#cancelPause !== undefined) return;
    const startMs = this.#pauses?.nowMs() ?? 0;
    const taken = this.#inlet.drain(BATCH_RECORDS);
    assert(taken <= BATCH_RECORDS, "a turn has an end: sockets wait for it");
    const isFull = taken === BATCH_RECORDS;
    const isEager = this.#onTurn();
    if (taken > 0 && this.#beginPause(startMs)) return;
    if (isFull || isEager) this.#schedule();
    this.#park();
  }

  /** @returns whether a pause has begun; its end takes the next turn */
  #beginPause(startMs: number): boolean {
    if (this.#pauses === undefined || this.#isClosed) return false;
    const monoMs = this.#pauses.nowMs();
    const ms = this.#pauses.lengthMs(monoMs - startMs, monoMs);
    if (ms === 0) return false;
    if (this.#isParked) this.#bell.disarm();
    this.#cancelPause = this.#pauses.start(ms, () => {
      this.#cancelPause = undefined;
      this.#schedule();
    });
    return true;
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
