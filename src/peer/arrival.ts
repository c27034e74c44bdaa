import type { Socket } from "node:net";
import { formatId } from "../cluster/ids.js";
import { RingdError } from "../lib/errors.js";
import { type MessageAddress, readMessageAddress } from "../raft/message-codec.js";
import { encodeFrameHead, FRAME_HEAD_BYTES, FrameKind, FrameReader, PROBE_BYTES } from "./frame.js";

/** A whole frame with a message that does not belong on this stream. */
export class StrayMessageError extends RingdError {
  override readonly name = "StrayMessageError";
  readonly code = "STRAY_MESSAGE";
}

/** Of an idle connection, for what lies between the members; they themselves send pings. */
export const KEEP_ALIVE_MS = 30_000;

const PING = Buffer.alloc(FRAME_HEAD_BYTES);
encodeFrameHead(PING, 0, FrameKind.ping, Buffer.alloc(0));

export interface ArrivalOwner {
  readonly memberId: bigint;
  /** @param payload an encoded raft message, the callee's until it returns */
  message(payload: Buffer): void;
  /** Once, when the stream is of no more use. */
  ended(arrival: Arrival, why: string): void;
}

/** A stream that another member dialled: its messages to us. */
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

  /** False for one that nothing came on: perhaps a try that its sender has given up long ago. */
  get hasSpoken(): boolean {
    return this.#hasSpoken;
  }

  /** @param early what was sent right behind the request for the stream */
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
    socket.on("error", (error) => this.close(error.message));
    socket.on("end", () => this.close("the peer closed it"));
    socket.on("close", () => this.close("it was closed"));
    socket.write(PING);
    if (early.length > 0) take(early);
    socket.on("data", take);
    if (this.#isPaused) socket.pause();
  }

  /** While our own core is behind: TCP then tells the sender. */
  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#heardMs = performance.now();
    this.#socket.resume();
  }

  /** Now and then: tells the sender that we are here, and sees whether it is. */
  tick(monoMs: number, deadMs: number): void {
    if (!this.#isPaused && monoMs - this.#heardMs > deadMs) {
      this.close(`no data for ${Math.round(monoMs - this.#heardMs)} ms`);
      return;
    }
    // Who does not even take pings need not be sent more of them.
    if (this.#socket.writableLength === 0) this.#socket.write(PING);
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
    if (this.#socket.writableLength > 0) return;
    const frame = Buffer.alloc(FRAME_HEAD_BYTES + PROBE_BYTES);
    probe.copy(frame, FRAME_HEAD_BYTES);
    encodeFrameHead(frame, 0, FrameKind.ping, frame.subarray(FRAME_HEAD_BYTES));
    this.#socket.write(frame);
  }

  /** @throws StrayMessageError */
  #check(address: MessageAddress | undefined): void {
    if (address === undefined) throw new StrayMessageError("Cannot read a message's beginning");
    const { type, from, to } = address;
    if (from !== this.from || to !== this.#owner.memberId) {
      const way = `from ${formatId(from)} to ${formatId(to)}`;
      throw new StrayMessageError(`A message ${way} came on the stream of ${formatId(this.from)}`);
    }
    // It counts only with its file, which comes another way.
    if (type === "snapshot") throw new StrayMessageError("A snapshot came without its file");
  }
}
