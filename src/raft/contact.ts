import { assert } from "../lib/assert.js";

/** Heartbeats without a word from a majority after which contact counts as lost. */
const SILENT_HEARTBEATS = 3;
/** A leader that lost contact so often within so many election timeouts is better replaced. */
const LOSSES = 3;
const WINDOW_ELECTIONS = 5;

/**
 * How well the leader's contact with a majority holds.
 *
 * On links that fail for a moment again and again, a leader keeps its office: each time it is back
 * before anybody's election timeout is over, and until the next time nothing is committed. Where
 * only its own links fail, another member would serve all of the time.
 */
export class QuorumContact {
  readonly #silentTicksMax: number;
  readonly #windowTicks: number;
  #nowTicks = 0;
  #isLost = false;
  /** Ascending, the last LOSSES. */
  #lostAtTicks: number[] = [];

  constructor(heartbeatTicks: number, electionTicks: number) {
    assert(heartbeatTicks > 0 && electionTicks > 0, "timeouts take a tick at least");
    this.#silentTicksMax = SILENT_HEARTBEATS * heartbeatTicks;
    this.#windowTicks = WINDOW_ELECTIONS * electionTicks;
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  /** @param silentTicks since all of some majority were heard */
  tick(silentTicks: number): void {
    assert(silentTicks >= 0, "silence is counted from 0");
    this.#nowTicks++;
    if (this.#isLost || silentTicks < this.#silentTicksMax) return;
    this.#isLost = true;
    this.#lostAtTicks = [...this.#lostAtTicks, this.#nowTicks].slice(-LOSSES);
  }

  /**
   * A member was heard while contact was lost.
   *
   * @returns whether contact is back, but has not held for long
   */
  isShaky(silentTicks: number): boolean {
    assert(this.#isLost, "contact that comes back was lost");
    if (silentTicks >= this.#silentTicksMax) return false;
    this.#isLost = false;
    const [first] = this.#lostAtTicks;
    if (first === undefined || this.#lostAtTicks.length < LOSSES) return false;
    return this.#nowTicks - first <= this.#windowTicks;
  }
}
