import { assert } from "../lib/assert.js";
import { BELL_BYTES } from "./layout.js";

const AWAKE = 0;
const PARKED = 1;

/**
 * Wakes a thread that reads several rings.
 *
 * No wake-up is lost, because both sides write first and read second, and Atomics are sequentially
 * consistent: the owner stores PARKED and then checks for work; a producer publishes and then
 * checks for PARKED. Whichever comes second sees the other's write.
 */
export class Bell {
  readonly #cell: Int32Array<SharedArrayBuffer>;

  static create(): SharedArrayBuffer {
    return new SharedArrayBuffer(BELL_BYTES);
  }

  constructor(memory: SharedArrayBuffer) {
    assert(memory.byteLength === BELL_BYTES, "the memory is that of a bell");
    this.#cell = new Int32Array(memory);
  }

  /**
   * Any thread, after publishing. Makes a system call only while the owner sleeps.
   *
   * @returns whether it made the call
   */
  ring(): boolean {
    if (Atomics.load(this.#cell, 0) === AWAKE) return false;
    // Two producers may both see PARKED; only one of them needs to make the system call.
    if (Atomics.compareExchange(this.#cell, 0, PARKED, AWAKE) !== PARKED) return false;
    Atomics.notify(this.#cell, 0);
    return true;
  }

  /**
   * Owner, on a thread without an event loop: sleeps until rung or until the timeout.
   *
   * @param hasWork called once the bell is armed; true keeps the thread awake
   */
  park(hasWork: () => boolean, timeoutMs: number): void {
    assert(timeoutMs >= 0, "a thread sleeps forward in time");
    this.#assertAwake();
    Atomics.store(this.#cell, 0, PARKED);
    if (!hasWork()) Atomics.wait(this.#cell, 0, PARKED, timeoutMs);
    Atomics.store(this.#cell, 0, AWAKE);
  }

  /**
   * Owner, while awake for another reason with its promise pending: spares producers the system
   * call.
   */
  disarm(): void {
    Atomics.store(this.#cell, 0, AWAKE);
  }

  /**
   * Owner, after disarm(): the pending promise will resolve when rung again. (A store to the cell
   * does not end a wait; only a notify does.)
   *
   * @returns false if there is work already; the bell is then not armed
   */
  rearm(hasWork: () => boolean): boolean {
    this.#assertAwake();
    Atomics.store(this.#cell, 0, PARKED);
    if (!hasWork()) return true;
    Atomics.store(this.#cell, 0, AWAKE);
    return false;
  }

  /**
   * Owner, on a thread with an event loop: a promise that resolves when rung, or undefined if there
   * is work already. A pending promise does not keep the process alive.
   */
  parkAsync(hasWork: () => boolean): Promise<unknown> | undefined {
    Atomics.store(this.#cell, 0, PARKED);
    if (hasWork()) {
      Atomics.store(this.#cell, 0, AWAKE);
      return undefined;
    }
    const wait = Atomics.waitAsync(this.#cell, 0, PARKED);
    return wait.async ? wait.value : undefined; // Not async: rung between check and wait.
  }

  /**
   * Not for parkAsync: when it is called from the callback of a promise that resolved, the bell may
   * have been armed again meanwhile.
   */
  #assertAwake(): void {
    assert(Atomics.load(this.#cell, 0) === AWAKE, "a bell is armed while its owner is awake");
  }
}
