import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { renderGet } from "./client.js";

const OPENING_AT_ONCE = 100;
/** A watch is open once its response headers have arrived; both servers send them at once. */
const HEAD_TIMEOUT_MS = 60_000;
const POLL_MS = 10;

/** Long polls, one per connection, each on another key. */
export class Watchers {
  readonly #sockets: Socket[] = [];
  #heads = 0;
  #fired = 0;
  #broken = 0;

  /** Watches that have delivered their event. */
  get fired(): number {
    return this.#fired;
  }

  get broken(): number {
    return this.#broken;
  }

  /**
   * Opens further watches.
   *
   * @throws if the response headers do not arrive in time
   */
  async open(url: string, count: number, pathOf: (watcher: number) => string): Promise<void> {
    const { hostname, port } = new URL(url);
    for (let first = 0; first < count; first += OPENING_AT_ONCE) {
      const last = Math.min(count, first + OPENING_AT_ONCE);
      const batch = Array.from({ length: last - first }, async (_, i) => {
        const socket = connect(Number(port), hostname);
        await once(socket, "connect");
        this.#sockets.push(socket);
        this.#follow(socket);
        socket.write(renderGet(`${pathOf(first + i)}?wait=true`));
      });
      await Promise.all(batch);
    }
    await this.#until(() => this.#heads === this.#sockets.length, "heads of the answers");
  }

  /** @throws if fewer than `count` watches deliver in time */
  async waitFired(count: number): Promise<void> {
    await this.#until(() => this.#fired >= count, "events");
  }

  async close(): Promise<void> {
    const closed = this.#sockets.map((socket) => socket.closed || once(socket, "close"));
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(closed);
  }

  #follow(socket: Socket): void {
    let head = false;
    let fired = false;
    socket.on("data", (bytes: Buffer) => {
      if (!head) this.#heads += 1;
      head = true;
      if (!fired && bytes.includes('"action"')) {
        fired = true;
        this.#fired += 1;
      }
    });
    socket.on("error", () => {
      this.#broken += 1;
    });
  }

  async #until(reached: () => boolean, what: string): Promise<void> {
    const deadlineMs = performance.now() + HEAD_TIMEOUT_MS;
    while (!reached()) {
      if (performance.now() > deadlineMs) {
        throw new Error(
          `Cannot watch: of ${this.#sockets.length} watches, ${this.#heads} have a head, ` +
            `${this.#fired} an event, ${this.#broken} broke, while waiting for ${what}`,
        );
      }
      await delay(POLL_MS);
    }
  }
}
