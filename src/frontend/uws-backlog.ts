import type { HttpResponse } from "uWebSockets.js";
import { ALL_BACKLOGS_BYTES_MAX, STREAM_BACKLOG_BYTES_MAX } from "./frontend.js";

/** What a stream may send before it is looked whether the client takes it. */
const PROBE_BYTES = 256 * 1024;
/** A burst that no look at the socket interrupts may not exceed this either. */
const BURST_BYTES_MAX = 4 * STREAM_BACKLOG_BYTES_MAX;

/** When a stream that is behind is looked at again without having been heard of. */
const LOOKS_MS = [20, 200, 1500];

/**
 * The library's time-out of ten seconds counts in steps of four and may begin in the middle of one.
 */
const STALLED_MS = 7000;

/** What the streams of one frontend have left unread. */
export class Backlogs {
  /** Of streams that are behind: the sum of their unproven bytes. */
  bytes = 0;
}

/**
 * Tells whether the client of an open stream reads it.
 *
 * uWebSockets.js keeps what the kernel does not take, without limit, and says so only to callers of
 * `write` and `tryEnd`; a stream whose chunks are framed here has neither. What it has is `resume`:
 * that sets what the socket is polled for to what a socket in the same state (nothing left to send,
 * or something) was last paused with. So each thread first pauses one socket of each kind on
 * purpose, see uws-calibration.ts: one with nothing left while it was polled for room, one with
 * bytes left while it was not. From then on `resume` asks the kernel for room if nothing is left,
 * and a writable event in the next turn of the event loop is the proof; if bytes are left, there is
 * silence. It costs one epoll_ctl.
 *
 * A socket that took nothing for about ten seconds is closed by the library unless more was written
 * meanwhile: its timer starts with each write that fails, and a writable event stops it.
 *
 * Invariants:
 *   1. Everything before the last proof has left; `#unprovenBytes` were written since.
 *   2. While a probe is under way, each write is followed by a `resume`.
 *   3. `#countedBytes` of `Backlogs.bytes` are this stream's: its unproven bytes while it is
 *      behind, else 0.
 */
export class StreamBacklog {
  readonly #res: HttpResponse;
  readonly #all: Backlogs;
  #unprovenBytes = 0;
  #countedBytes = 0;
  #isProbing = false;
  /** Of the last write while behind. */
  #writtenMs = 0;
  /** The last probe met with silence. */
  #isBehind = false;
  /** Since the last write or sign of the client. */
  #looks = 0;
  #lookTimer: NodeJS.Timeout | undefined;
  #isClosed = false;
  #onTaken: (() => void) | undefined;

  constructor(res: HttpResponse, all: Backlogs) {
    this.#res = res;
    this.#all = all;
    res.onWritable(() => {
      this.#onWritable();
      return true;
    });
  }

  /** For a writable event, which stops the library's timer, as soon as nothing is left. */
  askForRoom(): void {
    this.#res.resume();
    this.#drain(); // Also polls for room again if something is left.
  }

  /** Whether the library's time-out, rather than the client, is what ends the connection now. */
  get isStalled(): boolean {
    return this.#isBehind && performance.now() - this.#writtenMs > STALLED_MS;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Upper bound of what the client did not take. */
  get bytes(): number {
    return this.#unprovenBytes;
  }

  /** After each write. @returns false if the client is to be cut off */
  wrote(bytes: number): boolean {
    this.#unprovenBytes += bytes;
    if (this.#unprovenBytes < PROBE_BYTES) return true;
    if (this.#isBehind) {
      this.#writtenMs = performance.now();
      this.#looks = 0;
      this.#count(this.#unprovenBytes);
      if (this.#unprovenBytes > STREAM_BACKLOG_BYTES_MAX) return false;
      if (this.#all.bytes > ALL_BACKLOGS_BYTES_MAX) return false;
    } else if (this.#unprovenBytes > BURST_BYTES_MAX) return false;
    this.#probe();
    return true;
  }

  /**
   * After the last write: calls back when the kernel has everything, unless the connection ends
   * before.
   */
  whenTaken(onTaken: () => void): void {
    this.#onTaken = onTaken;
    this.#probe();
  }

  /** The response may not be used any more. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#lookTimer);
    this.#count(0);
  }

  #count(bytes: number): void {
    this.#all.bytes += bytes - this.#countedBytes;
    this.#countedBytes = bytes;
  }

  #probe(): void {
    this.#res.resume();
    if (this.#isProbing) return;
    this.#isProbing = true;
    // The first may run before sockets are looked at again, the second comes after.
    setImmediate(() => setImmediate(() => this.#onSilence()));
  }

  #onWritable(): void {
    if (this.#isClosed) {
      this.#drain(); // The stream has ended; its last bytes may still be here.
      return;
    }
    this.#looks = 0;
    if (this.#isProbing) {
      this.#isProbing = false;
      this.#isBehind = false;
      this.#unprovenBytes = 0;
      this.#count(0);
      this.#onTaken?.();
      return;
    }
    this.#drain();
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
    this.#drain(); // Also polls for room again, which the probe ended.
    this.#lookAgain();
  }

  /**
   * If that drain has sent all that was left, there is nothing to be polled for, no writable event
   * follows, and the library's timer runs on, to close a client that has caught up: only a probe
   * stops it. A few, as each that meets with silence starts the timer anew.
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

  /** An empty cork sends what is left and nothing else. */
  #drain(): void {
    this.#res.cork(() => undefined);
  }
}
