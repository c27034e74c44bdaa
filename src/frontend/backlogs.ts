/** Limit of `Backlogs.bytes`: above it, streams that lag are disconnected. */
const BYTES_MAX = 256 * 1024 * 1024;
/** From here on, the thread takes less from the core, so that streams can catch up. */
const PAUSE_BYTES = BYTES_MAX / 4;
const PAUSE_MS_MAX = 1000;
/** No timer is shorter. */
const PAUSE_MS_MIN = 1;
/** A writer that has not come back for so long has stopped. */
const WRITER_MS = 1000;
/**
 * Unread bytes of the streams of one thread.
 *
 * Events leave faster than most clients can read them. A few slow clients are disconnected at their
 * own limit; where all of them fall behind, it is the member that is too fast: it pauses between
 * batches, the core's responses wait, and so the writers do. Where none of them is at this thread,
 * that would be in vain: events would only wait in the core, those for fast clients too.
 */
export class Backlogs {
  /** Set for each request that may write. */
  hasWriter = false;
  #bytes = 0;
  /** Since the last batch, streams that lag were written to. */
  #hasGrown = false;
  /** Of a pause too short for a timer. */
  #owedMs = 0;
  #writerMs = Number.NEGATIVE_INFINITY;

  /** Sum over all streams that lag: what is not known to be sent. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @param bytes negative for those that were read, or whose stream has ended */
  add(bytes: number): void {
    this.#bytes += bytes;
    if (bytes > 0) this.#hasGrown = true;
  }

  get isFull(): boolean {
    return this.#bytes > BYTES_MAX;
  }

  /**
   * How long to take nothing from the core: call after each batch. As long as the batch took where
   * it begins, 16 times as long just below the limit; so that clients that never read slow others
   * down, but do not stop them. Not at all after a batch without events for streams that lag.
   *
   * @param batchMs what the last batch took
   * @param monoMs now
   */
  pauseMs(batchMs: number, monoMs: number): number {
    if (this.hasWriter) this.#writerMs = monoMs;
    this.hasWriter = false;
    const hasGrown = this.#hasGrown;
    this.#hasGrown = false;
    const fill = this.#bytes / PAUSE_BYTES;
    if (!hasGrown || fill < 1 || monoMs - this.#writerMs > WRITER_MS) return 0;
    this.#owedMs += batchMs * fill * fill;
    if (this.#owedMs < PAUSE_MS_MIN) return 0;
    const ms = Math.min(PAUSE_MS_MAX, this.#owedMs);
    this.#owedMs = 0;
    return ms;
  }
}
