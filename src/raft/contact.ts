import { assert } from "../lib/assert.js";

/** Heartbeat intervals without a message from a majority after which contact counts as lost. */
const SILENT_HEARTBEATS = 3;
/**
 * A leader that lost contact this many times within WINDOW_ELECTIONS election timeouts should be
 * replaced.
 */
const LOSSES = 3;
const WINDOW_ELECTIONS = 5;

/**
 * Tracks how stable the leader's contact with a majority is.
 *
 * On flapping links a leader stays in office, as it is back before any election timeout expires,
 * but nothing is committed during each outage. If only its own links flap, another member would
 * serve without interruption.
 */
export class QuorumContact {
  readonly #silentTicksMax: number;
  readonly #windowTicks: number;
  #nowTicks = 0;
  #isLost = false;
  /** When contact was last lost, ascending, at most LOSSES. */
  #lostAtTicks: number[] = [];

  constructor(heartbeatTicks: number, electionTicks: number) {
    assert(heartbeatTicks > 0 && electionTicks > 0, "timeouts take a tick at least");
    this.#silentTicksMax = SILENT_HEARTBEATS * heartbeatTicks;
    this.#windowTicks = WINDOW_ELECTIONS * electionTicks;
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  /** @param silentTicks since every member of some majority was heard */
  tick(silentTicks: number): void {
    assert(silentTicks >= 0, "silence is counted from 0");
    this.#nowTicks++;
    if (this.#isLost || silentTicks < this.#silentTicksMax) return;
    this.#isLost = true;
    this.#lostAtTicks = [...this.#lostAtTicks, this.#nowTicks].slice(-LOSSES);
  }

  /**
   * Called when a member was heard while contact was lost.
   *
   * @returns whether contact is back, but was lost too often lately
   */
  isShaky(silentTicks: number): boolean {
    assert(this.#isLost, "contact that comes back was lost");
    if (silentTicks >= this.#silentTicksMax) return false;
    this.#isLost = false;
    const [first] = this.#lostAtTicks;
    if (first === undefined || this.#lostAtTicks.length < LOSSES) return false;
    assert(first <= this.#nowTicks, "contact was lost in the past");
    return this.#nowTicks - first <= this.#windowTicks;
  }
}
