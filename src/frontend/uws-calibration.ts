import type { HttpResponse, TemplatedApp } from "uWebSockets.js";
import { connect, type Socket } from "node:net";

type Uws = typeof import("uWebSockets.js");

/** More than any socket buffer holds. */
const ANSWER_BYTES = 32 * 1024 * 1024;
/** Small, as the library copies bytes that do not fit. */
const PIECE_BYTES = 256 * 1024;
const CALIBRATION_MS = 15_000;

/**
 * Brings this thread's uWebSockets.js into the state that StreamBacklog relies on, over a
 * short-lived loopback listener.
 *
 * @throws Error if the library does not behave as expected
 */
export async function calibrate(uws: Uws): Promise<void> {
  const calibration = new Calibration(uws);
  try {
    await calibration.run();
  } finally {
    calibration.end();
  }
}

/**
 * One connection after another: /left is paused with bytes buffered, /none with none, /probe
 * verifies.
 */
class Calibration {
  readonly #uws: Uws;
  readonly #app: TemplatedApp;
  readonly #bytes = Buffer.alloc(ANSWER_BYTES);
  readonly #sockets: Socket[] = [];
  #port = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(uws: Uws) {
    this.#uws = uws;
    this.#app = uws.App();
  }

  run(): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (why: string) => reject(new Error(`uWebSockets.js: ${why}`));
      this.#timer = setTimeout(() => fail("a client's backlog cannot be told"), CALIBRATION_MS);
      this.#app.get("/left", (res) => this.#leaveBytes(res));
      this.#app.get("/none", (res) => this.#leaveNone(res, fail));
      this.#app.get("/probe", (res) => probe(res, resolve));
      this.#app.listen("127.0.0.1", 0, (socket) => {
        if (!socket) {
          fail("cannot listen on 127.0.0.1");
          return;
        }
        this.#port = this.#uws.us_socket_local_port(socket);
        this.#open("/left").resume();
      });
    });
  }

  end(): void {
    clearTimeout(this.#timer);
    for (const socket of this.#sockets) socket.destroy();
    this.#app.close();
  }

  #open(path: string): Socket {
    const socket = connect(this.#port, "127.0.0.1", () => {
      socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    });
    socket.on("error", () => undefined);
    this.#sockets.push(socket);
    return socket;
  }

  #leaveBytes(res: HttpResponse): void {
    res.onAborted(() => undefined);
    // Without a write in this callback, bytes stay buffered and polling ends.
    res.onWritable(() => {
      setImmediate(() => {
        res.pause();
        this.#open("/none").pause();
      });
      return true;
    });
    const piece = this.#bytes.subarray(0, PIECE_BYTES);
    for (let left = ANSWER_BYTES; left > 0 && res.write(piece); ) left -= PIECE_BYTES;
  }

  #leaveNone(res: HttpResponse, fail: (why: string) => void): void {
    res.onAborted(() => undefined);
    // `tryEnd` does not buffer the rest, and polls for writability.
    const [isAll] = res.tryEnd(this.#bytes, ANSWER_BYTES);
    if (isAll) fail("a socket took everything");
    res.pause();
    this.#open("/probe");
  }
}

function probe(res: HttpResponse, done: () => void): void {
  res.onAborted(() => undefined);
  res.onWritable(() => {
    done();
    return true;
  });
  res.resume();
}
