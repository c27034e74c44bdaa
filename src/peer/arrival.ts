import type { Socket } from "node:net";
import { formatId } from "../cluster/ids.js";
import { RingdError } from "../lib/errors.js";
import { type MessageAddress, readMessageAddress } from "../raft/message-codec.js";
import { connectionError } from "../tls/go-errors.js";
import { encodeFrameHead, FRAME_HEAD_BYTES, FrameKind, FrameReader, PROBE_BYTES } from "./frame.js";

/** A valid frame whose message does not belong on this stream. */
export class StrayMessageError extends RingdError {
  override readonly name = "StrayMessageError";
  readonly code = "STRAY_MESSAGE";
}

/** TCP keep-alive, for devices on the network path; the members themselves send pings. */
export const KEEP_ALIVE_MS = 30_000;

/**
 * Unread bytes above which a peer gets no more pings and echoes. Not 0: a TLS socket reports what
 * it was given as unsent until the event loop's next turn.
 */
const UNREAD_BYTES_MAX = 1024;

const PING = Buffer.alloc(FRAME_HEAD_BYTES);
encodeFrameHead(PING, 0, FrameKind.ping, Buffer.alloc(0));

export interface ArrivalOwner {
  readonly memberId: bigint;
  /** @param payload an encoded raft message, valid until return */
  message(payload: Buffer): void;
  /** Called once, when the stream has ended. */
  ended(arrival: Arrival, why: string): void;
}

/** An incoming stream: another member dialled it, and sends us its messages on it. */
export class Arrival {
  readonly from: bigint;
  readonly #socket: Socket;
  readonly #owner: ArrivalOwner;
  #heardMs = performance.now();
  #hasSpoken = false;
  #isPaused = false;
  #isEnded = false;

  constructor(from: bigint, socket: Socket, owner: ArrivalOwner) {
    this.from = from;
    this.#socket = socket;
    this.#owner = owner;
  }

  /** False if nothing was received: perhaps an attempt its sender has abandoned long ago. */
  get hasSpoken(): boolean {
    return this.#hasSpoken;
  }

  /** @param early bytes received along with the upgrade request */
  start(early: Buffer): void {
    const socket = this.#socket;
    const reader = new FrameReader((kind, payload) => this.#onFrame(kind, payload));
    const take = (piece: Buffer) => {
      this.#heardMs = performance.now();
      this.#hasSpoken = true;
      try {
        reader.push(piece);
      } catch (error) {
        if (!(error instanceof RingdError)) throw error;
        this.close(error.message);
      }
    };
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.setTimeout(0);
    socket.on("error", (error) => this.close(connectionError(error)));
    socket.on("end", () => this.close("closed by the peer"));
    socket.on("close", () => this.close("closed"));
    socket.write(PING);
    if (early.length > 0) take(early);
    socket.on("data", take);
    if (this.#isPaused) socket.pause();
  }

  /** Stops reading while the core lags: TCP's flow control slows the sender. */
  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#heardMs = performance.now();
    this.#socket.resume();
  }

  /** Call regularly: sends a ping, and closes the stream if the peer is silent. */
  tick(monoMs: number, deadMs: number): void {
    if (!this.#isPaused && monoMs - this.#heardMs > deadMs) {
      this.close(`no data for ${Math.round(monoMs - this.#heardMs)} ms`);
      return;
    }
    if (this.#socket.writableLength < UNREAD_BYTES_MAX) this.#socket.write(PING);
  }

  forgiveSilence(monoMs: number): void {
    this.#heardMs = monoMs;
  }

  close(why: string): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#socket.destroy();
    this.#owner.ended(this, why);
  }

  #onFrame(kind: FrameKind, payload: Buffer): void {
    if (this.#isEnded) return;
    if (kind === FrameKind.ping) {
      if (payload.length === PROBE_BYTES) this.#echo(payload);
      return;
    }
    this.#check(readMessageAddress(payload));
    this.#owner.message(payload);
  }

  #echo(probe: Buffer): void {
    if (this.#socket.writableLength >= UNREAD_BYTES_MAX) return;
    const frame = Buffer.alloc(FRAME_HEAD_BYTES + PROBE_BYTES);
    probe.copy(frame, FRAME_HEAD_BYTES);
    encodeFrameHead(frame, 0, FrameKind.ping, frame.subarray(FRAME_HEAD_BYTES));
    this.#socket.write(frame);
  }

  /** @throws StrayMessageError */
  #check(address: MessageAddress | undefined): void {
    if (address === undefined) throw new StrayMessageError("Cannot decode message header");
    const { type, from, to } = address;
    if (from !== this.from || to !== this.#owner.memberId) {
      const way = `from ${formatId(from)} to ${formatId(to)}`;
      throw new StrayMessageError(
        `Message ${way} does not belong on the stream of ${formatId(this.from)}`,
      );
    }
    // Useless without its file, which has its own connection.
    if (type === "snapshot") throw new StrayMessageError("Snapshot message without its file");
  }
}
