/** Distance of the cells, one to a cache line of 64 bytes: threads beat at every turn. */
const CELL_STEP = 16;

/** Shared cells in which each thread counts its beats, so that a thread that hangs shows. */
export function createPulse(threads: number): SharedArrayBuffer {
  return new SharedArrayBuffer(threads * CELL_STEP * Int32Array.BYTES_PER_ELEMENT);
}

/** Interval of the beats of a thread with an event loop; those without beat at each turn. */
const BEAT_MS = 500;

/** One thread's cell. */
export class Pulse {
  readonly #cells: Int32Array;
  readonly #at: number;

  constructor(memory: SharedArrayBuffer, thread: number) {
    this.#cells = new Int32Array(memory);
    this.#at = thread * CELL_STEP;
  }

  /** Costs nanoseconds: this thread is the cell's only writer. */
  beat(): void {
    const beats = this.#cells[this.#at] as number;
    this.#cells[this.#at] = (beats + 1) | 0;
  }

  /** For a thread with an event loop. */
  beatByTimer(): void {
    this.beat();
    setInterval(() => this.beat(), BEAT_MS).unref();
  }
}

/** Tells for how long threads have not beaten, by this thread's clock alone. */
export class PulseWatch {
  readonly #cells: Int32Array;
  readonly #seen: Int32Array;
  readonly #seenMs: Float64Array;

  constructor(memory: SharedArrayBuffer, monoMs: number) {
    this.#cells = new Int32Array(memory);
    this.#seen = this.#cells.filter((_, at) => at % CELL_STEP === 0);
    this.#seenMs = new Float64Array(this.#seen.length).fill(monoMs);
  }

  /** Call often: what it returns is as exact as the interval between calls. */
  look(monoMs: number): void {
    for (const [thread, seen] of this.#seen.entries()) {
      const beats = this.#cells[thread * CELL_STEP] as number;
      if (beats === seen) continue;
      this.#seen[thread] = beats;
      this.#seenMs[thread] = monoMs;
    }
  }

  /** @returns milliseconds since the last beat; 0 for a thread that has not begun */
  silentMs(thread: number, monoMs: number): number {
    if (this.#seen[thread] === 0) return 0;
    return monoMs - (this.#seenMs[thread] ?? monoMs);
  }
}
