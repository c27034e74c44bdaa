import type { Socket } from "node:net";
import { formatId } from "../cluster/ids.js";
import { RingdError } from "../lib/errors.js";
import { type PeerAddress, parsePeerAddress } from "./address.js";
import { KEEP_ALIVE_MS } from "./arrival.js";
import { Backoff } from "./backoff.js";
import { type DialResult, dialStream } from "./dial.js";
import { FrameBatch, FrameKind, FrameReader, PROBE_BYTES } from "./frame.js";
import type { LinkMetrics } from "./link-metrics.js";
import type { PeerLog } from "./peer-log.js";

type OpenDial = Extract<DialResult, { kind: "open" }>;

/** Bytes waiting for one member's socket; a message longer than that goes if it is the only one. */
export const QUEUED_BYTES_MAX = 64 * 1024 * 1024;
const FIRST_WAIT_MS = 100;
/** What is queued may take so long to leave when a link ends. */
const LINGER_MS = 1000;
/** With less than this behind it, an echo that does not come is not just slow. */
const LIGHT_BYTES = 64 * 1024;
/**
 * A stream is stuck after so much silence, or so much time without an echo, in intervals of pings.
 */
const STUCK_PINGS = 3;
const STUCK_ECHO_PINGS = 6;
/** About streams that are replaced, for one member. */
const REPLACED_LOG_MS = 60_000;

/** What a link needs from those around it. */
export interface LinkOwner {
  readonly log: PeerLog;
  /** The longest wait between two tries. */
  readonly waitMostMs: number;
  /** For connecting and the upgrade together. */
  readonly dialMs: number;
  /** How often both ends of a stream send pings. */
  readonly pingMs: number;
  /** Heads of the request that opens a stream to `to`. */
  hello(to: bigint): Record<string, string>;
  /** Where what is sent to a member is counted. */
  figures(id: bigint): LinkMetrics;
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
 * Messages for a member without an open stream are dropped at once: raft sends again what matters.
 * The other side sends pings only.
 *
 * A link that is cut for a moment leaves a stream stuck for much longer: TCP repeats lost packets
 * after 0.2, 0.4, 0.8 seconds and so on, whatever the link does meanwhile. So as soon as a stream
 * seems stuck, a fresh connection is tried beside it, which replaces it if it is open first.
 */
export class PeerLink {
  readonly id: bigint;
  readonly #owner: LinkOwner;
  readonly #figures: LinkMetrics;
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
  /** A connection that is to replace a stuck stream. */
  #spare: AbortController | undefined;
  #spares = 0;
  #replacedLogMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #heardMs = 0;
  /** When the number in `#probe` was sent; undefined once its echo came. */
  #probedMs: number | undefined;
  /** Sent on the open stream in all, before the probe, and before the last probe that came back. */
  #sentBytes = 0;
  #probedBytes = 0;
  #echoedBytes = 0;
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
    this.#spare?.abort();
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
  send(message: Uint8Array): void {
    const socket = this.#socket;
    if (socket === undefined) {
      this.#figures.add("sentFailures", 1);
      return;
    }
    const queuedBytes = socket.writableLength + this.#batch.bytes;
    if (queuedBytes > 0 && queuedBytes + message.length > QUEUED_BYTES_MAX) {
      if (!this.#isOverflowing) this.#owner.overflow(this.id);
      this.#isOverflowing = true;
      this.#figures.add("sentFailures", 1);
      return;
    }
    if (this.#isOverflowing && queuedBytes < QUEUED_BYTES_MAX / 2) this.#isOverflowing = false;
    this.#batch.add(FrameKind.message, message, 0, message.length);
  }

  /** One write for all that was sent since the last one. */
  flush(): void {
    const { bytes } = this.#batch;
    if (bytes === 0) return;
    const frames = this.#batch.take();
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#figures.add("sentBytes", bytes);
    this.#sentBytes += bytes;
    socket.cork();
    for (const frame of frames) socket.write(frame);
    socket.uncork();
  }

  /**
   * Now and then: keeps the stream alive and sees whether it is.
   *
   * @param deadMs a stream that was silent for so long is dead
   */
  tick(monoMs: number, deadMs: number): void {
    if (this.#socket === undefined) return;
    if (monoMs - this.#heardMs > deadMs) {
      this.#drop(`no data for ${Math.round(monoMs - this.#heardMs)} ms`);
      return;
    }
    // One at a time; a member that had no room for the echo never sends it.
    const isProbing = this.#probedMs !== undefined && monoMs - this.#probedMs < deadMs;
    if (!isProbing) {
      this.#probedMs = performance.now();
      this.#probedBytes = this.#sentBytes;
      this.#probe.writeUInt32LE((this.#probe.readUInt32LE() + 1) >>> 0);
    }
    this.#batch.add(FrameKind.ping, this.#probe, 0, isProbing ? 0 : PROBE_BYTES);
    this.flush();
  }

  /** After `tick`, unless this thread itself was late: its own silence is nobody's. */
  replaceIfStuck(monoMs: number): void {
    if (this.#socket === undefined) return;
    if (!this.#isStuck(monoMs)) this.#spare?.abort();
    else if (this.#spare === undefined) void this.#dialSpare();
  }

  #isStuck(monoMs: number): boolean {
    const { pingMs } = this.#owner;
    if (monoMs - this.#heardMs > STUCK_PINGS * pingMs) return true;
    // The other side is heard, but may not hear us. Behind large messages an echo takes its time.
    const isLight = this.#sentBytes - this.#echoedBytes < LIGHT_BYTES;
    const probedMs = this.#probedMs ?? monoMs;
    return isLight && monoMs - probedMs > STUCK_ECHO_PINGS * pingMs;
  }

  async #dialSpare(): Promise<void> {
    const urls = this.likelyUrls;
    const url = urls[this.#spares++ % urls.length];
    const address = this.#addresses.find(({ text }) => text === url);
    if (address === undefined) return;
    const spare = new AbortController();
    this.#spare = spare;
    const result = await this.#connect(address, spare.signal);
    this.#spare = undefined;
    if (result.kind !== "open") return;
    if (spare.signal.aborted || this.#isClosed) {
      result.socket.destroy();
      return;
    }
    // The stuck stream may have ended meanwhile: then this one is its successor all the same.
    if (this.#end()) this.#logReplaced();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#dialling?.abort();
    this.#spares = 0;
    this.#open(address, result);
  }

  /** Our own thread stood still: nobody else is to blame for the silence. */
  forgiveSilence(monoMs: number): void {
    this.#heardMs = monoMs;
  }

  /** Ends the link for good, once the member has taken what is queued or LINGER_MS are over. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#dialling?.abort();
    this.#spare?.abort();
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
    const result = await this.#connect(address, dialling.signal);
    this.#dialling = undefined;
    if (dialling.signal.aborted) {
      if (result.kind === "open") result.socket.destroy();
      // Another URL, unless the link is closed, or has its stream by now.
      if (this.#socket === undefined) this.#dialSoon(0);
      return;
    }
    if (result.kind === "open") {
      this.#open(address, result);
      this.#owner.log.info({ peer: formatId(this.id), url: address.text }, "opened stream to peer");
      return;
    }
    // Also where raft has nothing to say, as between followers.
    this.#figures.add("sentFailures", 1);
    this.#complain(address, result);
    if (result.kind === "refused" && result.status === 410) this.#owner.goneForGood(result);
    this.#next++;
    // All URLs in turn before the wait gets longer.
    const isRound = this.#next % this.#addresses.length === 0;
    const isLate = result.kind === "failed" && result.isLate; // It has waited long enough.
    this.#dialSoon(isRound && !isLate ? this.#backoff.next() : 0);
  }

  async #connect(address: PeerAddress, signal: AbortSignal): Promise<DialResult> {
    const { dialMs } = this.#owner;
    const result = await dialStream(address, this.#owner.hello(this.id), dialMs, signal);
    if (result.kind !== "open") return result;
    const reason = this.#owner.whyTooOld(this.id, result.format);
    if (reason === undefined) return result;
    result.socket.destroy();
    return { kind: "failed", reason, isLate: false };
  }

  #complain(address: PeerAddress, result: Exclude<DialResult, { kind: "open" }>): void {
    const { reason } = result;
    if (this.#troubles.get(address.text) === reason) return;
    this.#troubles.set(address.text, reason);
    const what = { peer: formatId(this.id), url: address.text, reason };
    if (result.kind === "refused") {
      this.#owner.log.warn({ ...what, status: result.status }, "peer rejected stream");
    } else this.#owner.log.warn(what, "cannot reach peer");
  }

  #open(address: PeerAddress, { socket, early, format }: OpenDial): void {
    this.#socket = socket;
    this.#url = address.text;
    this.#heardMs = performance.now();
    this.#probedMs = undefined;
    this.#sentBytes = 0;
    this.#echoedBytes = 0;
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
      if (this.#socket !== socket) return;
      this.#heardMs = performance.now();
      try {
        reader.push(piece);
      } catch (error) {
        if (!(error instanceof RingdError)) throw error;
        this.#drop(error.message);
      }
    };
    const lost = (why: string) => {
      if (this.#socket === socket) this.#drop(why);
    };
    socket.on("data", take);
    socket.on("error", (error) => lost(error.message));
    socket.on("end", () => lost("the peer closed it"));
    socket.on("close", () => lost("it was closed"));
    this.#figures.set("activePeers", 1);
    this.#owner.up(this.id, format);
    if (early.length > 0) take(early);
  }

  /** An echo of the probe, or an empty one. */
  #onPing(payload: Buffer): void {
    if (this.#probedMs === undefined || !payload.equals(this.#probe)) return;
    this.#figures.observe("roundTrip", (performance.now() - this.#probedMs) / 1000);
    this.#probedMs = undefined;
    this.#echoedBytes = this.#probedBytes;
  }

  /** Ends the open stream; the next try follows. */
  #drop(why: string): void {
    const what = { peer: formatId(this.id), url: this.#url, reason: why };
    if (!this.#end()) return;
    if (!this.#isClosed) this.#owner.log.warn(what, "lost stream to peer");
    this.#dialSoon(this.#backoff.next());
  }

  /** @returns whether there was an open stream */
  #end(): boolean {
    const socket = this.#socket;
    if (socket === undefined) return false;
    this.#socket = undefined;
    this.#batch.take();
    socket.destroy();
    this.#figures.set("activePeers", 0);
    if (!this.#isClosed) this.#figures.add("sentFailures", 1); // What was under way is lost.
    this.#figures.add("disconnectedPeers", 1);
    this.#owner.down(this.id);
    return true;
  }

  /** Not each time: on a bad link that may be every second. */
  #logReplaced(): void {
    const monoMs = performance.now();
    if (monoMs - this.#replacedLogMs < REPLACED_LOG_MS) return;
    this.#replacedLogMs = monoMs;
    const what = { peer: formatId(this.id), url: this.#url };
    this.#owner.log.warn(what, "replaced stuck stream to peer by a fresh connection");
  }
}
