import { setTimeout as delay } from "node:timers/promises";
import { Latencies } from "#ringd/ctl/output/latencies.js";
import { Connection, renderPut } from "./client.js";

export interface PulseOptions {
  readonly url: string;
  readonly perSecond: number;
  readonly connections: number;
  readonly path: string;
  readonly value: string;
}

/**
 * PUTs at a steady rate, whatever the server does. A PUT that finds every connection busy waits
 * here, and its latency counts from when it was due: a stall delays all PUTs due meanwhile, not
 * only the few in flight.
 */
export class Pulse {
  readonly #idle: Connection[] = [];
  readonly #all: Connection[] = [];
  readonly #due: number[] = [];
  readonly #options: PulseOptions;
  readonly #rendered: Buffer;
  #latencies = new Latencies();
  #errors = 0;
  #inFlight = 0;
  #running = true;
  #loop: Promise<void> = Promise.resolve();

  private constructor(options: PulseOptions) {
    this.#options = options;
    this.#rendered = renderPut(options.path, options.value);
  }

  static async start(options: PulseOptions): Promise<Pulse> {
    const pulse = new Pulse(options);
    for (let i = 0; i < options.connections; i++) {
      pulse.#all.push(await Connection.open(options.url));
    }
    pulse.#idle.push(...pulse.#all);
    pulse.#loop = pulse.#beat();
    return pulse;
  }

  get errors(): number {
    return this.#errors;
  }

  /** Latencies recorded since the last call. */
  take(): Latencies {
    const taken = this.#latencies;
    this.#latencies = new Latencies();
    return taken;
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#loop;
    while (this.#inFlight > 0 || this.#due.length > 0) await delay(1);
    for (const connection of this.#all) connection.close();
  }

  async #beat(): Promise<void> {
    const periodMs = 1000 / this.#options.perSecond;
    let nextMs = performance.now();
    while (this.#running) {
      await delay(Math.max(0, nextMs - performance.now()));
      const nowMs = performance.now();
      // If this process itself was late, that is not the server's latency: due is now at the
      // earliest.
      this.#due.push(nowMs);
      nextMs = Math.max(nextMs + periodMs, nowMs);
      this.#sendDue();
    }
  }

  #sendDue(): void {
    while (this.#due.length > 0) {
      const connection = this.#idle.pop();
      if (connection === undefined) return;
      const dueMs = this.#due.shift() ?? performance.now();
      this.#inFlight += 1;
      void this.#put(connection, dueMs);
    }
  }

  async #put(connection: Connection, dueMs: number): Promise<void> {
    try {
      await connection.send(this.#rendered);
      this.#latencies.record(performance.now() - dueMs);
    } catch {
      this.#errors += 1; // Shown with the result; a broken connection fails the PUTs after it too.
    }
    this.#inFlight -= 1;
    this.#idle.push(connection);
    this.#sendDue();
  }
}
