import type { Socket } from "node:net";
import { formatId } from "../cluster/ids.js";
import { RingdError } from "../lib/errors.js";
import { connectionError } from "../tls/go-errors.js";
import type { PeerTrust } from "../tls/peer-checks.js";
import { type PeerAddress, parsePeerAddress } from "./address.js";
import { KEEP_ALIVE_MS } from "./arrival.js";
import { Backoff } from "./backoff.js";
import { type DialResult, dialStream } from "./dial.js";
import { FrameBatch, FrameKind, FrameReader, PROBE_BYTES } from "./frame.js";
import type { LinkMetrics } from "./link-metrics.js";
import type { PeerLog } from "./peer-log.js";
import { SendQueue } from "./send-queue.js";

type OpenDial = Extract<DialResult, { kind: "open" }>;

/**
 * Limit of bytes queued for one member's socket; a longer message is sent if it is the only one.
 */
export const QUEUED_BYTES_MAX = 64 * 1024 * 1024;
const FIRST_WAIT_MS = 100;
/** Timeout for sending queued messages when a link ends. */
const LINGER_MS = 1000;
/** With less than this sent before it, a missing echo cannot be explained by load. */
const LIGHT_BYTES = 64 * 1024;
/** A stream counts as stuck after so many ping intervals of silence, or without an echo. */
const STUCK_PINGS = 3;
const STUCK_ECHO_PINGS = 6;
/** Interval between log lines about replaced streams, per member. */
const REPLACED_LOG_MS = 60_000;

/** Settings and callbacks of a link's owner. */
export interface LinkOwner {
  readonly log: PeerLog;
  /** Longest delay between two attempts. */
  readonly waitMostMs: number;
  /** Timeout of connecting and upgrade together. */
  readonly dialMs: number;
  /** Ping interval of both ends of a stream. */
  readonly pingMs: number;
  /** For https URLs. */
  readonly trust: PeerTrust | undefined;
  /** Headers of the request that opens a stream to `to`. */
  hello(to: bigint): Record<string, string>;
  /** Metrics of the messages sent to a member. */
  figures(id: bigint): LinkMetrics;
  /** @param format the newest level that the member supports */
  up(id: bigint, format: number): void;
  /** Why a member that supports levels up to `format` cannot join. */
  whyTooOld(id: bigint, format: number): string | undefined;
  down(id: bigint): void;
  overflow(id: bigint): void;
  /** The peer reports that this member was removed from the cluster. */
  goneForGood(refusal: Extract<DialResult, { kind: "refused" }>): void;
}

/**
 * The outgoing stream to one member, on a connection that we dialled.
 *
 *   waiting --delay over, or the member dialled us--> dialling --upgrade--> open
 *      ^----------------refused or failed----------------'                   |
 *      '--------------------------closed, broken, silent---------------------'
 *
 * Without an open stream, messages are dropped at once: raft repeats them as needed. The peer sends
 * only pings.
 *
 * A brief network failure leaves a stream stuck for much longer: TCP repeats lost packets after
 * 0.2, 0.4, 0.8 s and so on, even if the network is back. So once a stream seems stuck, a second
 * connection is dialled, and replaces the stream if it opens first.
 */
export class PeerLink {
  readonly id: bigint;
  readonly #owner: LinkOwner;
  readonly #figures: LinkMetrics;
  readonly #backoff: Backoff;
  readonly #probe = Buffer.alloc(PROBE_BYTES);
  readonly #batch = new FrameBatch();
  /** The last failure's reason by URL: each is logged once, not per attempt. */
  readonly #troubles = new Map<string, string>();
  #addresses: readonly PeerAddress[] = [];
  #next = 0;
  #socket: Socket | undefined;
  /** Of the socket. */
  #queue: SendQueue | undefined;
  /** Of the current stream, or the last one. */
  #url = "";
  #dialling: AbortController | undefined;
  /** The dialling of a replacement for a stuck stream. */
  #spare: AbortController | undefined;
  #spares = 0;
  #replacedLogMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #heardMs = 0;
  /** When the number in `#probe` was sent; undefined once it was echoed. */
  #probedMs: number | undefined;
  /** Bytes sent on the open stream: in all, before the probe, before the last echoed probe. */
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

  /** The member's URLs, the current or last used one first. */
  get likelyUrls(): readonly string[] {
    const { urls } = this;
    return urls.includes(this.#url)
      ? [this.#url, ...urls.filter((url) => url !== this.#url)]
      : urls;
  }

  /** Replaces the member's URLs. Ends a stream to a URL that is no longer among them. */
  setUrls(urls: readonly string[]): void {
    if (urls.join() === this.urls.join()) return;
    this.#addresses = urls.flatMap((url) => parsePeerAddress(url) ?? []);
    this.#next = 0;
    this.#backoff.reset();
    this.#troubles.clear();
    this.#spare?.abort();
    if (this.#socket !== undefined) {
      if (!urls.includes(this.#url)) this.#drop("the member's peer URLs have changed");
    } else {
      this.#dialling?.abort();
      this.#dialSoon(0);
    }
  }

  /** The member has just dialled us: dial it now. */
  nudge(): void {
    if (this.#timer === undefined) return;
    this.#backoff.reset();
    this.#dialSoon(0);
  }

  /** Copies one encoded raft message; `flush` sends it. */
  send(message: Uint8Array): void {
    const queue = this.#queue;
    if (queue === undefined) {
      this.#figures.add("sentFailures", 1);
      return;
    }
    const queuedBytes = queue.bytes + this.#batch.bytes;
    if (queuedBytes > 0 && queuedBytes + message.length > QUEUED_BYTES_MAX) {
      if (!this.#isOverflowing) this.#owner.overflow(this.id);
      this.#isOverflowing = true;
      this.#figures.add("sentFailures", 1);
      return;
    }
    if (this.#isOverflowing && queuedBytes < QUEUED_BYTES_MAX / 2) this.#isOverflowing = false;
    this.#batch.add(FrameKind.message, message, 0, message.length);
  }

  /** Writes all messages queued since the last flush at once. */
  flush(): void {
    const { bytes } = this.#batch;
    if (bytes === 0) return;
    const frames = this.#batch.take();
    const queue = this.#queue;
    if (queue === undefined) return;
    this.#figures.add("sentBytes", bytes);
    this.#sentBytes += bytes;
    queue.write(frames);
  }

  /**
   * Call regularly: sends a ping, and ends a silent stream.
   *
   * @param deadMs silence after which a stream is dead
   */
  tick(monoMs: number, deadMs: number): void {
    if (this.#socket === undefined) return;
    if (monoMs - this.#heardMs > deadMs) {
      this.#drop(`no data for ${Math.round(monoMs - this.#heardMs)} ms`);
      return;
    }
    // One probe at a time; a peer without room for the echo never sends it.
    const isProbing = this.#probedMs !== undefined && monoMs - this.#probedMs < deadMs;
    if (!isProbing) {
      this.#probedMs = performance.now();
      this.#probedBytes = this.#sentBytes;
      this.#probe.writeUInt32LE((this.#probe.readUInt32LE() + 1) >>> 0);
    }
    this.#batch.add(FrameKind.ping, this.#probe, 0, isProbing ? 0 : PROBE_BYTES);
    this.flush();
  }

  /** Call after `tick`, unless this thread itself was late: the silence may be its own. */
  replaceIfStuck(monoMs: number): void {
    if (this.#socket === undefined) return;
    if (!this.#isStuck(monoMs)) this.#spare?.abort();
    else if (this.#spare === undefined) void this.#dialSpare();
  }

  #isStuck(monoMs: number): boolean {
    const { pingMs } = this.#owner;
    if (monoMs - this.#heardMs > STUCK_PINGS * pingMs) return true;
    // We receive, but the peer may not. After large messages, an echo takes longer.
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
    // The stuck stream may have ended meanwhile: replace it all the same.
    if (this.#end()) this.#logReplaced();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#dialling?.abort();
    this.#spares = 0;
    this.#open(address, result);
  }

  /** Our own thread was stalled: do not count its silence against the peer. */
  forgiveSilence(monoMs: number): void {
    this.#heardMs = monoMs;
  }

  /** Closes the link once the peer has read all queued messages, or after LINGER_MS. */
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
    // The peer ends its half once it has read all. Closing earlier, with one of its pings unread,
    // would reset the connection and lose data in flight.
    this.#queue?.end();
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
      // Try the next URL, unless the link is closed or has a stream by now.
      if (this.#socket === undefined) this.#dialSoon(0);
      return;
    }
    if (result.kind === "open") {
      this.#open(address, result);
      this.#owner.log.info({ peer: formatId(this.id), url: address.text }, "opened stream to peer");
      return;
    }
    // Counted also without messages, as between followers.
    this.#figures.add("sentFailures", 1);
    this.#complain(address, result);
    if (result.kind === "refused" && result.status === 410) this.#owner.goneForGood(result);
    this.#next++;
    // Try all URLs before the delay grows.
    const isRound = this.#next % this.#addresses.length === 0;
    const isLate = result.kind === "failed" && result.isLate; // The timeout was delay enough.
    this.#dialSoon(isRound && !isLate ? this.#backoff.next() : 0);
  }

  async #connect(address: PeerAddress, signal: AbortSignal): Promise<DialResult> {
    const { dialMs: timeoutMs, trust } = this.#owner;
    const hello = this.#owner.hello(this.id);
    const result = await dialStream(address, hello, { trust, timeoutMs, signal });
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
    this.#queue = new SendQueue(socket);
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
      // Reset only with the first ping, which proves the stream; failures before it back off.
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
    socket.on("error", (error) => lost(connectionError(error)));
    socket.on("end", () => lost("closed by the peer"));
    socket.on("close", () => lost("closed"));
    this.#figures.set("activePeers", 1);
    this.#owner.up(this.id, format);
    if (early.length > 0) take(early);
  }

  /** @param payload the probe's echo, or empty */
  #onPing(payload: Buffer): void {
    if (this.#probedMs === undefined || !payload.equals(this.#probe)) return;
    this.#figures.observe("roundTrip", (performance.now() - this.#probedMs) / 1000);
    this.#probedMs = undefined;
    this.#echoedBytes = this.#probedBytes;
  }

  /** Ends the open stream; a new attempt follows. */
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
    this.#queue = undefined;
    this.#batch.take();
    socket.destroy();
    this.#figures.set("activePeers", 0);
    if (!this.#isClosed) this.#figures.add("sentFailures", 1); // Messages in flight are lost.
    this.#figures.add("disconnectedPeers", 1);
    this.#owner.down(this.id);
    return true;
  }

  /** Rate-limited: on a bad network it may happen every second. */
  #logReplaced(): void {
    const monoMs = performance.now();
    if (monoMs - this.#replacedLogMs < REPLACED_LOG_MS) return;
    this.#replacedLogMs = monoMs;
    const what = { peer: formatId(this.id), url: this.#url };
    this.#owner.log.warn(what, "replaced stuck stream to peer by a fresh connection");
  }
}
