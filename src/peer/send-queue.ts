import type { Socket } from "node:net";

/**
 * Bytes that a TLS socket gets at a time. It encrypts all that it gets at once, in memory of its
 * own: 64 MiB that waited for a slow peer would stop this thread, and heartbeats, for 0.2 to 0.5 s.
 */
const PIECE_BYTES = 512 * 1024;

/** Used up frames are dropped from the list when it has so many. */
const USED_MAX = 1024;

/** A frame that was given to the socket, of which nothing is kept. */
const USED = Buffer.alloc(0);

/** What is to be sent on one stream, in order. */
export class SendQueue {
  readonly #socket: Socket;
  readonly #isSecure: boolean;
  /** Not given to the socket yet; used up to `#at`. */
  #waiting: Buffer[] = [];
  #at = 0;
  #waitingBytes = 0;
  #isWriting = false;
  #isEnding = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#isSecure = "encrypted" in socket; // Of a TLSSocket; node:tls is not loaded without need.
  }

  /** Bytes that the system has not taken yet. */
  get bytes(): number {
    return this.#socket.writableLength + this.#waitingBytes;
  }

  write(frames: readonly Buffer[]): void {
    if (!this.#isSecure) {
      this.#send(frames);
      return;
    }
    for (const frame of frames) {
      this.#waiting.push(frame);
      this.#waitingBytes += frame.length;
    }
    if (!this.#isWriting) this.#sendPiece();
  }

  /** Ends the stream once all is sent. */
  end(): void {
    this.#isEnding = true;
    if (this.#waitingBytes === 0) this.#socket.end();
  }

  #send(frames: readonly Buffer[], sent?: () => void): void {
    const socket = this.#socket;
    socket.cork();
    for (const [i, frame] of frames.entries()) {
      if (i === frames.length - 1) socket.write(frame, sent);
      else socket.write(frame);
    }
    socket.uncork();
  }

  #sendPiece(): void {
    this.#isWriting = true;
    this.#send(this.#takePiece(), () => {
      this.#isWriting = false;
      if (this.#socket.destroyed) return;
      if (this.#waitingBytes > 0) this.#sendPiece();
      else if (this.#isEnding) this.#socket.end();
    });
  }

  #takePiece(): Buffer[] {
    const piece: Buffer[] = [];
    let room = PIECE_BYTES;
    while (room > 0 && this.#at < this.#waiting.length) {
      const frame = this.#waiting[this.#at] as Buffer;
      const part = frame.subarray(0, room);
      piece.push(part);
      room -= part.length;
      // A queue that is never empty, as that of a slow peer, must not keep what it has sent.
      if (part.length === frame.length) this.#waiting[this.#at++] = USED;
      else this.#waiting[this.#at] = frame.subarray(part.length);
    }
    this.#waitingBytes -= PIECE_BYTES - room;
    if (this.#at === this.#waiting.length || this.#at >= USED_MAX) {
      this.#waiting.splice(0, this.#at);
      this.#at = 0;
    }
    return piece;
  }
}
