import { BODY_BYTES_MAX } from "./body-room.js";

/** Shorter bodies are not counted here: other limits bound them. */
const LARGE_BYTES = 100_000;

export interface LargeLimits {
  /** Limit of admitted bodies together, until their responses; a single one is always admitted. */
  readonly bytesMax: number;
  /** Limit of waiting bodies together; more are rejected at once. */
  readonly waitingBytesMax: number;
  /** Timeout of the wait; the request is then rejected. */
  readonly patienceMs: number;
}

export const LARGE_LIMITS: LargeLimits = {
  bytesMax: 4 * BODY_BYTES_MAX,
  waitingBytesMax: 1024 * 1024 * 1024,
  patienceMs: 5000,
};

/** Callbacks to the owner of a large request. */
export interface LargeOwner {
  /** Admitted after a wait, or its whole body came with its first bytes: read its connection. */
  proceed(): void;
  /** The wait timed out. */
  refuse(): void;
}

/**
 * Admits requests with large bodies in order of arrival, from their first byte until their
 * response. Waiting ones are not read: TCP's flow control keeps their bytes with the clients.
 * Without admission all would progress at once, each too slowly, until clients time out and the
 * work for them is wasted.
 */
export class LargeRequests {
  readonly #limits: LargeLimits;
  /** In order of arrival. */
  readonly #waiting = new Set<LargeRequest>();
  #waitingBytes = 0;
  #bytes = 0;

  constructor(limits: LargeLimits) {
    this.#limits = limits;
  }

  /** @returns undefined if the request must be rejected at once */
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
    // A request that leaves the queue may have blocked smaller ones after it.
    if (!this.#unqueue(request)) this.#bytes -= request.bytes;
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

  /** @param bytes of the body; may be less than declared to `enter` */
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
  /** Length of its body, or an upper bound. */
  bytes: number;
  readonly owner: LargeOwner;
  /** Set while it waits. */
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

  /** Its body is complete, perhaps before it was admitted: it stops waiting. */
  whole(bytes: number): void {
    if (this.#onLeave !== undefined) this.#onWhole(this, bytes);
  }

  /** It has its response, or its client disconnected before the body was complete. Idempotent. */
  leave(): void {
    const onLeave = this.#onLeave;
    this.#onLeave = undefined;
    onLeave?.(this);
  }
}

/**
 * Bytes to admit for a request.
 *
 * @param contentLength undefined if not declared: the maximum is assumed
 * @returns 0 if it is not large, or above the limit of bodies, which are not kept then
 */
export function largeBytes(contentLength: number | undefined): number {
  if (contentLength === undefined) return BODY_BYTES_MAX;
  return contentLength >= LARGE_BYTES && contentLength <= BODY_BYTES_MAX ? contentLength : 0;
}
