import { ResponseRecord } from "../messages/requests.js";
import { addressOfText } from "./addresses.js";
import type { Exchange } from "./frontend.js";

const WINDOW_MS = 1000;
/** Tries of one address in a window that are answered at once. */
const TRIES_MAX = 10;
/** How long further ones wait for their answer. */
const HOLD_MS = 1000;
/** Addresses that are remembered; the oldest are forgotten. */
const ADDRESSES_MAX = 10_000;

/** Schedules a call, and returns what cancels it. */
export type Later = (call: () => void, ms: number) => () => void;

export interface WrongTriesClock {
  /** Monotonic, milliseconds. */
  readonly monoMs: () => number;
  readonly later: Later;
}

/** The timers and the clock of this thread. */
export const REAL_CLOCK: WrongTriesClock = {
  monoMs: () => performance.now(),
  later: (call, ms) => {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};

/**
 * Holds back the responses to wrong credentials of an address that tries many: status and body stay
 * the same, and other addresses do not notice.
 */
export class WrongTries {
  readonly #clock: WrongTriesClock;
  /** By address, of IPv6 by /64, in the order of their windows' starts. */
  readonly #windows = new Map<string, { readonly startMs: number; tries: number }>();
  readonly #held = new Map<Exchange, () => void>();

  constructor(clock: WrongTriesClock) {
    this.#clock = clock;
  }

  /** @param body valid until return */
  answer(exchange: Exchange, head: ResponseRecord, body: Uint8Array): void {
    if (this.#count(addressOfText(exchange.remoteAddress)) <= TRIES_MAX) {
      exchange.answer(head, body);
      return;
    }
    const kept = Object.assign(new ResponseRecord(), head);
    // To HEAD only the length matters, and the bytes may be absent.
    const bytes = head.isHeadOnly ? body : Buffer.from(body);
    const cancel = this.#clock.later(() => {
      this.#held.delete(exchange);
      exchange.answer(kept, bytes);
    }, HOLD_MS);
    this.#held.set(exchange, cancel);
  }

  /** Ends the exchanges whose responses are held back. */
  close(): void {
    for (const [exchange, cancel] of this.#held) {
      cancel();
      exchange.cut();
    }
    this.#held.clear();
  }

  /** @returns the number of tries in the address's window */
  #count(address: string): number {
    const nowMs = this.#clock.monoMs();
    const window = this.#windows.get(address);
    if (window !== undefined && nowMs - window.startMs < WINDOW_MS) return ++window.tries;
    this.#windows.delete(address);
    this.#windows.set(address, { startMs: nowMs, tries: 1 });
    if (this.#windows.size > ADDRESSES_MAX) {
      for (const oldest of this.#windows.keys()) {
        this.#windows.delete(oldest);
        break;
      }
    }
    return 1;
  }
}
