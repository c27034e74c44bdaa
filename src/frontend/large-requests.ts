import { BODY_BYTES_MAX } from "./body-room.js";

/** Bodies shorter than this are not worth the look: what they take is bounded elsewhere. */
const LARGE_BYTES = 100_000;

export interface LargeLimits {
  /** Large requests that are read, or wait for their answer, together; a single one always may. */
  readonly bytesMax: number;
  /** Those that wait for their turn; beyond it they are refused at once. */
  readonly waitingBytesMax: number;
  /** One that has waited so long is refused. */
  readonly patienceMs: number;
}

export const LARGE_LIMITS: LargeLimits = {
  bytesMax: 4 * BODY_BYTES_MAX,
  waitingBytesMax: 1024 * 1024 * 1024,
  patienceMs: 5000,
};

/** What a request with a large body is told. */
export interface LargeOwner {
  /**
   * Its turn has come after a wait, or its body has, with the first bytes of it: its connection may
   * be read.
   */
  proceed(): void;
  /** It has waited too long. */
  refuse(): void;
}

/**
 * Admits requests with large bodies, first come, first served, from their first byte until their
 * answer. Those that wait are not read: their bytes stay with the clients, and TCP tells them so.
 * Without that, all of them would be carried at a time, each slower than the one before, until the
 * first of them time out and nobody waits for what is still carried.
 */
export class LargeRequests {
  readonly #limits: LargeLimits;
  /** In the order they came. */
  readonly #waiting = new Set<LargeRequest>();
  #waitingBytes = 0;
  #bytes = 0;

  constructor(limits: LargeLimits) {
    this.#limits = limits;
  }

  /** @returns undefined if it is to be refused at once */
  enter(bytes: number, owner: LargeOwner): LargeRequest | undefined {
    if (this.#waiting.size === 0 && this.#hasRoom(bytes)) {
      this.#bytes += bytes;
      return this.#make(bytes, owner);
    }
    const { waitingBytesMax, patienceMs } = this.#limits;
    if (this.#waitingBytes + bytes > waitingBytesMax) return undefined;
    const request = this.#make(bytes, owner);
    request.timer = setTimeout(() => {
      request.leave();
      owner.refuse();
    }, patienceMs);
    this.#waiting.add(request);
    this.#waitingBytes += bytes;
    return request;
  }

  #make(bytes: number, owner: LargeOwner): LargeRequest {
    return new LargeRequest(
      bytes,
      owner,
      (request) => this.#leave(request),
      (request, whole) => this.#onWhole(request, whole),
    );
  }

  #hasRoom(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#limits.bytesMax;
  }

  #leave(request: LargeRequest): void {
    if (this.#unqueue(request)) return;
    this.#bytes -= request.bytes;
    this.#admitNext();
  }

  #admitNext(): void {
    for (const next of this.#waiting) {
      if (!this.#hasRoom(next.bytes)) return;
      this.#unqueue(next);
      this.#bytes += next.bytes;
      next.owner.proceed();
    }
  }

  /** @param bytes of the body, which may be shorter than was assumed */
  #onWhole(request: LargeRequest, bytes: number): void {
    const hasWaited = this.#unqueue(request);
    this.#bytes += hasWaited ? bytes : bytes - request.bytes;
    request.bytes = bytes;
    if (hasWaited) request.owner.proceed();
    this.#admitNext();
  }

  /** @returns whether it waited */
  #unqueue(request: LargeRequest): boolean {
    if (!this.#waiting.delete(request)) return false;
    clearTimeout(request.timer);
    request.timer = undefined;
    this.#waitingBytes -= request.bytes;
    return true;
  }
}

export class LargeRequest {
  /** Of its body, or the most that it may be. */
  bytes: number;
  readonly owner: LargeOwner;
  /** While it waits. */
  timer: NodeJS.Timeout | undefined;
  #onLeave: ((request: LargeRequest) => void) | undefined;
  readonly #onWhole: (request: LargeRequest, bytes: number) => void;

  constructor(
    bytes: number,
    owner: LargeOwner,
    onLeave: (request: LargeRequest) => void,
    onWhole: (request: LargeRequest, bytes: number) => void,
  ) {
    this.bytes = bytes;
    this.owner = owner;
    this.#onLeave = onLeave;
    this.#onWhole = onWhole;
  }

  get isWaiting(): boolean {
    return this.timer !== undefined;
  }

  /** Its body has come whole, perhaps before its turn: it waits no longer. */
  whole(bytes: number): void {
    if (this.#onLeave !== undefined) this.#onWhole(this, bytes);
  }

  /** It is answered, or its client is gone before its body was whole. Once is enough. */
  leave(): void {
    const onLeave = this.#onLeave;
    this.#onLeave = undefined;
    onLeave?.(this);
  }
}

/**
 * What a request may bring.
 *
 * @param contentLength undefined if it does not say: then it is taken for the longest
 * @returns 0 for what is not large, or longer than is kept of any body
 */
export function largeBytes(contentLength: number | undefined): number {
  if (contentLength === undefined) return BODY_BYTES_MAX;
  return contentLength >= LARGE_BYTES && contentLength <= BODY_BYTES_MAX ? contentLength : 0;
}
