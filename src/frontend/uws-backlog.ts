import type { HttpResponse } from "uWebSockets.js";
import type { Backlogs } from "./backlogs.js";
import { STREAM_BACKLOG_BYTES_MAX } from "./frontend.js";

/** Bytes a stream may write before we probe whether the client still reads. */
const PROBE_BYTES = 256 * 1024;
/** Limit of a burst within one turn of the event loop, which no probe can interrupt. */
const BURST_BYTES_MAX = 4 * STREAM_BACKLOG_BYTES_MAX;

/** Delays before a stream that lags is probed again without a sign of the client. */
const LOOKS_MS = [20, 60, 200, 500, 1500];

/** The library's timeout of 10 s counts in steps of 4 s, and may begin in the middle of a step. */
const STALLED_MS = 7000;

/**
 * Resumes a socket whose earlier responses may not have been sent completely. `resume` alone would
 * stop polling for room, and the rest would never be sent: see StreamBacklog.
 */
export function resumeSending(res: HttpResponse): void {
  res.resume();
  sendBuffered(res);
}

/** An empty cork only sends the buffered bytes; it polls for room if not all are accepted. */
export function sendBuffered(res: HttpResponse): void {
  res.cork(() => undefined);
}

/**
 * Tells whether the client of an open stream reads it.
 *
 * uWebSockets.js buffers without limit, and reports that only from `write` and `tryEnd`, which a
 * stream with its own framing cannot call. It can call `resume`, which restores the poll flags that
 * a socket in the same state (buffer empty or not) was last paused with. So each thread first
 * pauses one socket of each kind on purpose (uws-calibration.ts): one with an empty buffer while
 * polled for writability, one with buffered bytes while not. From then on `resume` polls for
 * writability only if the buffer is empty: a writable event in the next turn proves that all has
 * been sent, silence that bytes are left. It costs one epoll_ctl.
 *
 * The library closes a socket without progress for about ten seconds unless more was written
 * meanwhile: each failed write restarts its timer, a writable event stops it.
 *
 * Invariants:
 *   1. Everything before the last proof has been sent; `#unprovenBytes` were written since.
 *   2. While a probe is pending, each write is followed by a `resume`.
 *   3. `#countedBytes` of `Backlogs.bytes` are this stream's: its unproven bytes while it
 *      lags, else 0.
 */
export class StreamBacklog {
  readonly #res: HttpResponse;
  readonly #all: Backlogs;
  #unprovenBytes = 0;
  #countedBytes = 0;
  #isProbing = false;
  /** Time of the last write while it lagged. */
  #writtenMs = 0;
  /** The last probe found bytes left to send. */
  #isBehind = false;
  /** Probes since the last write or sign of the client. */
  #looks = 0;
  #lookTimer: NodeJS.Timeout | undefined;
  #isClosed = false;
  #onTaken: (() => void) | undefined;
  readonly #onRoom: () => void;

  /** @param onRoom called first at each writable event; it may close the response */
  constructor(res: HttpResponse, all: Backlogs, onRoom: () => void = () => undefined) {
    this.#res = res;
    this.#all = all;
    this.#onRoom = onRoom;
    this.listen();
  }

  /** Sets the callback, again where the library has dropped it. */
  listen(): void {
    this.#res.onWritable(() => {
      this.#onWritable();
      return true;
    });
  }

  /** Whether it is the library's timeout, not the client, that closes the connection now. */
  get isStalled(): boolean {
    return this.#isBehind && performance.now() - this.#writtenMs > STALLED_MS;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Upper bound of the unread bytes. */
  get bytes(): number {
    return this.#unprovenBytes;
  }

  /** Call after each write. @returns false if the client must be disconnected */
  wrote(bytes: number): boolean {
    this.#unprovenBytes += bytes;
    if (this.#unprovenBytes < PROBE_BYTES) return true;
    if (this.#isBehind) {
      this.#writtenMs = performance.now();
      this.#looks = 0;
      this.#count(this.#unprovenBytes);
      if (this.#unprovenBytes > STREAM_BACKLOG_BYTES_MAX) return false;
      if (this.#all.isFull) return false;
    } else if (this.#unprovenBytes > BURST_BYTES_MAX) return false;
    this.#probe();
    return true;
  }

  /**
   * Call after the last write: calls back once the kernel has everything, unless the connection
   * closes first.
   */
  whenTaken(onTaken: () => void): void {
    this.#onTaken = onTaken;
    this.#probe();
  }

  /** The response must not be used any more. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#lookTimer);
    this.#count(0);
  }

  #count(bytes: number): void {
    this.#all.add(bytes - this.#countedBytes);
    this.#countedBytes = bytes;
  }

  #probe(): void {
    this.#res.resume();
    if (this.#isProbing) return;
    this.#isProbing = true;
    // The first may run before sockets are polled again, the second runs after.
    setImmediate(() => setImmediate(() => this.#onSilence()));
  }

  #onWritable(): void {
    const wasClosed = this.#isClosed;
    this.#onRoom();
    if (this.#isClosed && !wasClosed) return;
    if (this.#isClosed) {
      sendBuffered(this.#res); // The stream has ended; its last bytes may still be buffered.
      return;
    }
    this.#looks = 0;
    if (this.#isProbing) {
      this.#isProbing = false;
      this.#isBehind = false;
      this.#unprovenBytes = 0;
      this.#count(0);
      const onTaken = this.#onTaken;
      this.#onTaken = undefined;
      onTaken?.();
      return;
    }
    sendBuffered(this.#res);
    if (this.#unprovenBytes < PROBE_BYTES && this.#onTaken === undefined) return;
    setImmediate(() => {
      if (!this.#isClosed) this.#probe();
    });
  }

  #onSilence(): void {
    if (this.#isClosed || !this.#isProbing) return;
    this.#isProbing = false;
    this.#isBehind = true;
    this.#writtenMs = performance.now();
    this.#count(this.#unprovenBytes);
    sendBuffered(this.#res); // Also polls for writability again, which the probe ended.
    this.#lookAgain();
  }

  /**
   * If the drain has sent all bytes, no writable event follows, and the library's timer would close
   * a client that has caught up: only a probe stops it. Few probes, as each without a proof
   * restarts the timer.
   */
  #lookAgain(): void {
    const ms = LOOKS_MS[this.#looks];
    if (ms === undefined || this.#lookTimer !== undefined) return;
    this.#looks++;
    this.#lookTimer = setTimeout(() => {
      this.#lookTimer = undefined;
      if (this.#isBehind && !this.#isProbing) this.#probe();
    }, ms);
  }
}
