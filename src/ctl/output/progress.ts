const WIDTH = 30;
const REDRAW_MS = 100;

/** A progress bar on standard error; draws nothing if that is not a terminal. */
export class ProgressBar {
  readonly #label: string;
  readonly #total: number;
  readonly #startedMs = performance.now();
  #done = 0;
  #drawnMs = 0;
  #isDrawn = false;

  constructor(label: string, total: number) {
    this.#label = label;
    this.#total = total;
  }

  /** @param count more items done since the last call */
  add(count: number): void {
    this.to(this.#done + count);
  }

  /**
   * Draws at most once per REDRAW_MS, so the last state may be missing; `end` erases the bar.
   *
   * @param note shown after the bar instead of count and rate
   */
  to(done: number, note?: string): void {
    this.#done = done;
    const monoMs = performance.now();
    if (!process.stderr.isTTY || monoMs - this.#drawnMs < REDRAW_MS) return;
    this.#drawnMs = monoMs;
    const seconds = (monoMs - this.#startedMs) / 1000;
    const text = note ?? `${done}/${this.#total}  ${Math.round(done / seconds)}/s`;
    // Carriage return, then erase to the end of the line: the new text may be shorter.
    process.stderr.write(`\r\u001b[K${bar(this.#label, done / Math.max(this.#total, 1))}  ${text}`);
    this.#isDrawn = true;
  }

  /** Erases the bar. */
  end(): void {
    if (this.#isDrawn) process.stderr.write("\r\u001b[K");
    this.#isDrawn = false;
  }
}

/**
 * A bar of WIDTH characters between brackets, then a percentage of fixed width.
 *
 * @param share from 0; above 1 is drawn as 1
 */
export function bar(label: string, share: number): string {
  const full = Math.round(Math.min(share, 1) * WIDTH);
  const percent = `${Math.floor(Math.min(share, 1) * 100)}`.padStart(3);
  return `${label} [${"#".repeat(full)}${"-".repeat(WIDTH - full)}] ${percent}%`;
}
