import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { Connection, renderPut } from "./client.js";
import type { StreamsInput, StreamsOrder, StreamsReport } from "./stream-clients.js";
import { VALUE } from "./workload.js";

const DIRECTORY = "/v2/keys/streams";
/** Keys that the writers change in turn. */
const KEYS = 100;

/** Many streams of one directory, read by a thread of their own. */
export class Streams {
  readonly #worker: Worker;
  readonly #url: string;
  readonly #count: number;
  #writes = 0;

  static async open(url: string, count: number): Promise<Streams> {
    const input: StreamsInput = { url, path: DIRECTORY, count };
    const worker = new Worker(new URL("stream-clients.js", import.meta.url), { workerData: input });
    await once(worker, "message");
    return new Streams(worker, url, count);
  }

  private constructor(worker: Worker, url: string, count: number) {
    this.#worker = worker;
    this.#url = url;
    this.#count = count;
  }

  /** @returns milliseconds from a PUT until all streams have its event */
  async oneEventMs(): Promise<number> {
    const connection = await Connection.open(this.#url);
    const startNs = process.hrtime.bigint();
    await connection.send(this.#put());
    const { atNs } = await this.#until(this.#writes * this.#count);
    connection.close();
    return Number(atNs - startNs) / 1e6;
  }

  /**
   * Writers that send the next PUT when the last one is answered.
   *
   * @returns events/s that arrived at the streams together
   */
  async eventsPerSecond(writers: number, seconds: number): Promise<number> {
    const { events: before } = await this.#until(0);
    const startMs = performance.now();
    let isRunning = true;
    const write = async () => {
      const connection = await Connection.open(this.#url);
      while (isRunning) await connection.send(this.#put());
      connection.close();
    };
    const all = Promise.all(Array.from({ length: writers }, write));
    await delay(seconds * 1000);
    const { events } = await this.#until(0);
    const measuredSeconds = (performance.now() - startMs) / 1000;
    isRunning = false;
    await all;
    await this.#until(this.#writes * this.#count); // None is lost.
    return (events - before) / measuredSeconds;
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #put(): Buffer {
    const key = this.#writes++ % KEYS;
    return renderPut(`${DIRECTORY}/key-${key}`, VALUE);
  }

  async #until(events: number): Promise<StreamsReport> {
    const answer = once(this.#worker, "message");
    this.#worker.postMessage({ events } satisfies StreamsOrder);
    const [report] = (await answer) as [StreamsReport];
    return report;
  }
}
