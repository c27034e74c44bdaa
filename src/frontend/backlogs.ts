/** Limit of `Backlogs.bytes`: above it, streams that lag are disconnected. */
const BYTES_MAX = 256 * 1024 * 1024;
/** From here on, the thread takes less from the core, so that streams can catch up. */
const PAUSE_BYTES = BYTES_MAX / 4;
const PAUSE_MS_MAX = 1000;
/**
 * Bytes that a stream may write before it is found out whether its client still reads; fewer where
 * there are many streams, so that what is not yet known of them is less than what is allowed.
 */
const PROBE_BYTES_MAX = 256 * 1024;
const PROBE_BYTES_MIN = 4 * 1024;

/**
 * Unread bytes of the streams of one thread.
 *
 * Events leave faster than most clients can read them. A few slow clients are disconnected at their
 * own limit; where all of them fall behind, it is the member that is too fast: it pauses between
 * batches, the core's responses wait, and so the writers do.
 */
export class Backlogs {
  /** Sum over all streams that lag: what is not known to be sent. */
  bytes = 0;
  /** Open ones. */
  streams = 0;

  get probeBytes(): number {
    const share = PAUSE_BYTES / Math.max(1, this.streams);
    return Math.min(PROBE_BYTES_MAX, Math.max(PROBE_BYTES_MIN, share));
  }

  get isFull(): boolean {
    return this.bytes > BYTES_MAX;
  }

  /**
   * How long to take nothing from the core. As long as the last batch took where it begins, 16
   * times as long just below the limit; so that clients that never read slow others down, but do
   * not stop them.
   *
   * @param batchMs what the last batch took
   */
  pauseMs(batchMs: number): number {
    const fill = this.bytes / PAUSE_BYTES;
    return fill < 1 ? 0 : Math.min(PAUSE_MS_MAX, batchMs * fill * fill);
  }
}
