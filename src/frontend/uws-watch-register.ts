import type { HttpResponse } from "uWebSockets.js";
import { resumeSending, sendBuffered } from "./uws-backlog.js";
import { ENDLESS_BYTES, LastingWatch, PLAIN_BYTES_MAX, type WatchStream } from "./uws-watch.js";

/**
 * What a closed socket swallows makes its write offset one that no open watch has. Never touched.
 */
const MARK = new Uint8Array(PLAIN_BYTES_MAX + 1);
/** Before the ten seconds after which the library closes a connection that it asked for room. */
const KEEP_MS = 4000;

/** A request that waits to know that its connection is not a watch's. */
export interface Checked {
  checked(): void;
}

/**
 * The open watches of a frontend, and what finds those that lost their connection to another
 * request. A handle must not be used any more once its connection's memory is free, which it is at
 * the end of the event loop's turn.
 *
 * A watch learns of the other request in the turn after it (`LastingWatch`), before any close can
 * go unnoticed. Only one whose client does not read what was written learns nothing; but its write
 * offset is no longer its own from then on. It is looked at before each use, and, in case the
 * connection is closed, in the turn of every close: one that closes swallows a mark, which no
 * offset of a watch equals. Without a request that takes a watch's callbacks there is nothing to
 * look for.
 */
export class WatchRegister {
  readonly #onLost = new Map<LastingWatch, () => void>();
  /** Those that may not have settled; they are looked at when it matters. */
  readonly #settling = new Set<LastingWatch>();
  /** Those that have sent an event. */
  readonly #written = new Set<LastingWatch>();
  #isLooking = false;
  #looksAtAll = false;
  /** Handed out by the library at the last close. */
  #closing: HttpResponse | undefined;
  /** Of this turn. */
  #polls: Checked[] | undefined;
  readonly #kept = new Set<HttpResponse>();
  #keeper: NodeJS.Timeout | undefined;
  /** A request that takes callbacks came since the first of the open watches. */
  #hadBody = false;

  add(watch: LastingWatch, onLost: () => void): void {
    this.#onLost.set(watch, onLost);
    this.#settling.add(watch);
  }

  delete(watch: WatchStream): void {
    this.#onLost.delete(watch as LastingWatch);
    this.#settling.delete(watch as LastingWatch);
    this.#written.delete(watch as LastingWatch);
    if (this.#onLost.size === 0) this.#hadBody = false;
  }

  /** No handle is used any more. */
  clear(): void {
    this.#onLost.clear();
    this.#settling.clear();
    this.#written.clear();
    this.#kept.clear();
    clearInterval(this.#keeper);
  }

  /**
   * A request came that takes the handler for its connection's body.
   *
   * @returns whether it must be found out if the connection is a watch's
   */
  onBodyRequest(): boolean {
    this.#hadBody = this.#onLost.size > 0;
    if (!this.#hadBody) return false;
    for (const watch of this.#settling) {
      if (watch.isSettling && !watch.isUnsafe) continue;
      this.#settling.delete(watch);
      if (!watch.isUnsafe) continue;
      this.#onLost.get(watch)?.();
      watch.cut();
    }
    return true;
  }

  /** Tells the request when all sockets that asked for room in this turn have been told. */
  afterPoll(request: Checked): void {
    if (this.#polls === undefined) {
      const polls: Checked[] = [];
      this.#polls = polls;
      // The first runs in this turn, the second after the next look at the sockets.
      setImmediate(() => {
        this.#polls = undefined;
        setImmediate(() => {
          for (const poll of polls) poll.checked();
        });
      });
    }
    this.#polls.push(request);
  }

  /**
   * Finds out whether all bytes of earlier responses have left, while the library still closes the
   * connection if another request comes. `res` may be closed when the result is there.
   */
  probe(res: HttpResponse, onResult: (isClear: boolean) => void): void {
    let isClear = false;
    res.onWritable(() => {
      isClear = true;
      return true;
    });
    res.resume(); // Asks for room only if nothing is left: see StreamBacklog.
    this.afterPoll({ checked: () => onResult(isClear) });
  }

  /**
   * A request whose connection the library would close after ten seconds, as it was asked for room.
   */
  keep(res: HttpResponse): void {
    this.#kept.add(res);
    this.#keeper ??= setInterval(() => this.#keepAll(), KEEP_MS).unref();
  }

  /** Its answer has come, or its client has gone. */
  release(res: HttpResponse): void {
    this.#kept.delete(res);
  }

  /** A writable event with a callback stops the library's timer. */
  #keepAll(): void {
    if (this.#kept.size === 0) {
      clearInterval(this.#keeper);
      this.#keeper = undefined;
    }
    for (const res of this.#kept) {
      res.onWritable(() => {
        sendBuffered(res); // The library leaves it to the callback.
        return true;
      });
      resumeSending(res);
    }
  }

  /** Before the first event of one that goes on. */
  wrote(watch: WatchStream): void {
    if (watch instanceof LastingWatch) this.#written.add(watch);
  }

  /** First, before the request that waits there is told. */
  onClose(res: HttpResponse): void {
    this.#closing = this.#hadBody ? res : undefined;
    if (!this.#hadBody || this.#written.size === 0) return;
    // 0 is no such watch's offset, and may be that of a chunked answer, which a mark would end.
    if (res.getWriteOffset() !== 0) mark(res);
    this.#lookSoon();
  }

  /**
   * The connection that is being closed has a request that was not checked: it may be any watch's.
   */
  onUncheckedGone(): void {
    if (this.#closing === undefined) return;
    mark(this.#closing);
    this.#closing = undefined;
    this.#looksAtAll = true;
    this.#lookSoon();
  }

  #lookSoon(): void {
    if (this.#isLooking) return;
    this.#isLooking = true;
    setImmediate(() => this.#look());
  }

  #look(): void {
    const watches = this.#looksAtAll ? this.#onLost.keys() : this.#written;
    this.#isLooking = false;
    this.#looksAtAll = false;
    this.#closing = undefined;
    for (const watch of watches) {
      if (watch.isLost) this.#onLost.get(watch)?.();
    }
  }
}

/** Of a connection that is being closed. */
function mark(res: HttpResponse): void {
  res.cork(() => res.tryEnd(MARK, ENDLESS_BYTES));
}
