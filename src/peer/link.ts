import type { Socket } from "node:net";
import { formatId } from "../cluster/ids.js";
import { RingdError } from "../lib/errors.js";
import { type PeerAddress, parsePeerAddress } from "./address.js";
import { KEEP_ALIVE_MS } from "./arrival.js";
import { Backoff } from "./backoff.js";
import { type DialResult, dialStream } from "./dial.js";
import type { PeerFigures } from "./figures.js";
import { FrameBatch, FrameKind, FrameReader, PROBE_BYTES } from "./frame.js";
import type { PeerLog } from "./peer-log.js";

/** Bytes waiting for one member's socket; a message longer than that goes if it is the only one. */
export const QUEUED_BYTES_MAX = 64 * 1024 * 1024;
const FIRST_WAIT_MS = 100;
/** What is queued may take so long to leave when a link ends. */
const LINGER_MS = 1000;

/** What a link needs from those around it. */
export interface LinkOwner {
  readonly log: PeerLog;
  /** The longest wait between two tries. */
  readonly waitMostMs: number;
  /** For connecting and the upgrade together. */
  readonly dialMs: number;
  /** Heads of the request that opens a stream to `to`. */
  hello(to: bigint): Record<string, string>;
  /** Where what is sent to a member is counted. */
  figures(id: bigint): PeerFigures;
  /** @param format the newest level that the member knows */
  up(id: bigint, format: number): void;
  /** Why the member, which knows levels up to `format`, cannot take part. */
  whyTooOld(id: bigint, format: number): string | undefined;
  down(id: bigint): void;
  overflow(id: bigint): void;
  /** The member says that we were removed from the cluster. */
  goneForGood(refusal: Extract<DialResult, { kind: "refused" }>): void;
}

/**
 * The stream to one member: what we send goes on a connection that we dialled.
 *
 *   waiting --time is up, or the member dialled us--> dialling --upgrade--> open
 *      ^----------------refused or failed----------------'                   |
 *      '--------------------------closed, broken, silent---------------------'
 *
 * Messages for a member without an open stream are dropped at once: raft sends again what matters. The
 * other side sends pings only.
 */
export class PeerLink {
  readonly id: bigint;
  readonly #owner: LinkOwner;
  readonly #figures: PeerFigures;
  readonly #backoff: Backoff;
  readonly #probe = Buffer.alloc(PROBE_BYTES);
  readonly #batch = new FrameBatch();
  /** Why the last try at each URL failed: said once, not with every try. */
  readonly #troubles = new Map<string, string>();
  #addresses: readonly PeerAddress[] = [];
  #next = 0;
  #socket: Socket | undefined;
  /** Of the open stream, or the one before. */
  #url = "";
  #dialling: AbortController | undefined;
  #timer: NodeJS.Timeout | undefined;
  #heardMs = 0;
  /** When the number in `#probe` was sent; undefined once its echo came. */
  #probedMs: number | undefined;
  #isOverflowing = false;
  #isClosed = false;

  constructor(id: bigint, urls: readonly string[], owner: LinkOwner) {
    this.id = id;
    this.#owner = owner;
    this.#figures = owner.figures(id);
    this.#backoff = new Backoff(FIRST_WAIT_MS, owner.waitMostMs);
    this.setUrls(urls);
  }

  get urls(): readonly string[] {
    return this.#addresses.map(({ text }) => text);
  }

  /** Where the member may be reached, beginning with where it is reached now or was last. */
  get likelyUrls(): readonly string[] {
    const { urls } = this;
    return urls.includes(this.#url)
      ? [this.#url, ...urls.filter((url) => url !== this.#url)]
      : urls;
  }

  /** Where the member is now. A stream to where it no longer is ends. */
  setUrls(urls: readonly string[]): void {
    if (urls.join() === this.urls.join()) return;
    this.#addresses = urls.flatMap((url) => parsePeerAddress(url) ?? []);
    this.#next = 0;
    this.#backoff.reset();
    this.#troubles.clear();
    if (this.#socket !== undefined) {
      if (!urls.includes(this.#url)) this.#drop("the member has other peer URLs now");
    } else {
      this.#dialling?.abort();
      this.#dialSoon(0);
    }
  }

  /** The member has just dialled us, so there is no need to wait any longer. */
  nudge(): void {
    if (this.#timer === undefined) return;
    this.#backoff.reset();
    this.#dialSoon(0);
  }

  /** Copies one encoded raft message; `flush` sends it. */
  send(source: Uint8Array, at: number, length: number): void {
    const socket = this.#socket;
    if (socket === undefined) {
      this.#figures.add("sentFailures", 1);
      return;
    }
    const queuedBytes = socket.writableLength + this.#batch.bytes;
    if (queuedBytes > 0 && queuedBytes + length > QUEUED_BYTES_MAX) {
      if (!this.#isOverflowing) this.#owner.overflow(this.id);
      this.#isOverflowing = true;
      this.#figures.add("sentFailures", 1);
      return;
    }
    if (this.#isOverflowing && queuedBytes < QUEUED_BYTES_MAX / 2) this.#isOverflowing = false;
    this.#batch.add(FrameKind.message, source, at, length);
  }

  /** One write for all that was sent since the last one. */
  flush(): void {
    const { bytes } = this.#batch;
    if (bytes === 0) return;
    const frames = this.#batch.take();
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#figures.add("sentBytes", bytes);
    socket.cork();
    for (const frame of frames) socket.write(frame);
    socket.uncork();
  }

  /**
   * Now and then: keeps the stream alive and sees whether it is.
   *
   * @param deadMs a stream that was silent for so long is dead
   */
  tick(nowMs: number, deadMs: number): void {
    if (this.#socket === undefined) return;
    if (nowMs - this.#heardMs > deadMs) {
      this.#drop(`nothing was heard for ${Math.round(nowMs - this.#heardMs)} ms`);
      return;
    }
    // One at a time; a member that had no room for the echo never sends it.
    const isProbing = this.#probedMs !== undefined && nowMs - this.#probedMs < deadMs;
    if (!isProbing) {
      this.#probedMs = performance.now();
      this.#probe.writeUInt32LE((this.#probe.readUInt32LE() + 1) >>> 0);
    }
    this.#batch.add(FrameKind.ping, this.#probe, 0, isProbing ? 0 : PROBE_BYTES);
    this.flush();
  }

  /** Our own thread stood still: nobody else is to blame for the silence. */
  forgiveSilence(nowMs: number): void {
    this.#heardMs = nowMs;
  }

  /** Ends the link for good, once the member has taken what is queued or LINGER_MS are over. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#dialling?.abort();
    this.flush();
    const socket = this.#socket;
    if (socket === undefined) return;
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    const patience = setTimeout(() => socket.destroy(), LINGER_MS);
    // The other side ends its half when it has read all. To close before that with one of its pings
    // unread would reset the connection, and what is still under way would be lost.
    socket.end();
    await closed;
    clearTimeout(patience);
  }

  #dialSoon(waitMs: number): void {
    if (this.#isClosed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#dial();
    }, waitMs);
  }

  async #dial(): Promise<void> {
    const address = this.#addresses[this.#next % this.#addresses.length];
    if (address === undefined || this.#dialling !== undefined) return;
    const dialling = new AbortController();
    this.#dialling = dialling;
    const { dialMs } = this.#owner;
    const hello = this.#owner.hello(this.id);
    let result = await dialStream(address, hello, dialMs, dialling.signal);
    this.#dialling = undefined;
    if (dialling.signal.aborted) {
      if (result.kind === "open") result.socket.destroy();
      // Another URL, unless the link is closed.
      this.#dialSoon(0);
      return;
    }
    if (result.kind === "open") {
      const reason = this.#owner.whyTooOld(this.id, result.format);
      if (reason === undefined) {
        this.#open(address, result);
        return;
      }
      result.socket.destroy();
      result = { kind: "failed", reason };
    }
    this.#figures.add("sentFailures", 1); // Also where raft has nothing to say, as between followers.
    this.#complain(address, result);
    if (result.kind === "refused" && result.status === 410) this.#owner.goneForGood(result);
    this.#next++;
    // All URLs in turn before the wait gets longer.
    const isRound = this.#next % this.#addresses.length === 0;
    this.#dialSoon(isRound ? this.#backoff.next() : 0);
  }

  #complain(address: PeerAddress, result: Exclude<DialResult, { kind: "open" }>): void {
    const { reason } = result;
    if (this.#troubles.get(address.text) === reason) return;
    this.#troubles.set(address.text, reason);
    const what = { peer: formatId(this.id), url: address.text, reason };
    if (result.kind === "refused") {
      this.#owner.log.warn({ ...what, status: result.status }, "the peer refuses the stream");
    } else this.#owner.log.warn(what, "cannot reach the peer");
  }

  #open(address: PeerAddress, result: Extract<DialResult, { kind: "open" }>): void {
    const { socket, early, format } = result;
    this.#socket = socket;
    this.#url = address.text;
    this.#heardMs = performance.now();
    this.#probedMs = undefined;
    this.#isOverflowing = false;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.setTimeout(0);
    const reader = new FrameReader((_kind, payload) => {
      this.#onPing(payload);
      // The first ping says that the stream works; until then a next try would wait longer.
      this.#backoff.reset();
      this.#troubles.clear();
    });
    const take = (piece: Buffer) => {
      this.#heardMs = performance.now();
      try {
        reader.push(piece);
      } catch (error) {
        if (!(error instanceof RingdError)) throw error;
        this.#drop(error.message);
      }
    };
    socket.on("data", take);
    socket.on("error", (error) => this.#drop(error.message));
    socket.on("end", () => this.#drop("the peer closed it"));
    socket.on("close", () => this.#drop("it was closed"));
    this.#owner.log.info({ peer: formatId(this.id), url: address.text }, "opened stream to peer");
    this.#figures.set("activePeers", 1);
    this.#owner.up(this.id, format);
    if (early.length > 0) take(early);
  }

  /** An echo of the probe, or an empty one. */
  #onPing(payload: Buffer): void {
    if (this.#probedMs === undefined || !payload.equals(this.#probe)) return;
    this.#figures.observe("roundTrip", (performance.now() - this.#probedMs) / 1000);
    this.#probedMs = undefined;
  }

  /** Ends the open stream; the next try follows. */
  #drop(why: string): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#socket = undefined;
    this.#batch.take();
    socket.destroy();
    const what = { peer: formatId(this.id), url: this.#url, reason: why };
    if (!this.#isClosed) this.#owner.log.warn(what, "lost stream to peer");
    this.#figures.set("activePeers", 0);
    if (!this.#isClosed) this.#figures.add("sentFailures", 1); // What was under way is lost.
    this.#figures.add("disconnectedPeers", 1);
    this.#owner.down(this.id);
    this.#dialSoon(this.#backoff.next());
  }
}
