import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Served } from "../../support/client.js";
import type { Prng } from "../../support/prng.js";

/** Faults of a server; `none` and `cuts` are legal. */
export type Lie =
  | "none"
  | "cuts" // Some answers never come, whether or not the request was carried out.
  | "stale-reads"
  | "lost-writes"
  | "repeated-writes" // Carried out a second time, a little later, as by a careless retry.
  | "blind-swaps" // Compared with a value that is a little old.
  | "split-brain" // Two members that both take writes.
  | "forgetful-watches"
  | "swapped-watches";

interface Stored {
  readonly key: string;
  readonly value?: string;
  readonly createdIndex: number;
  readonly modifiedIndex: number;
}

interface StoredEvent {
  readonly action: string;
  readonly node: Stored;
  readonly prevNode?: Stored;
}

/** One response in so many is wrong. */
const LIE_ONE_IN = 25;

/** Just enough of a v2 store, in one process, to show that the harness finds the planted faults. */
export class LyingServer implements Served {
  readonly name: string;
  readonly #lie: Lie;
  readonly #prng: Prng;
  readonly #server: Server;
  readonly #nodes = new Map<string, Stored>();
  /** The nodes some writes ago. */
  #oldNodes = new Map<string, Stored>();
  readonly #events: StoredEvent[] = [];
  #waiting: (() => void)[] = [];
  #index = 3;

  constructor(name: string, lie: Lie, prng: Prng) {
    this.name = name;
    this.#lie = lie;
    this.#prng = prng;
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  async listen(): Promise<void> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
  }

  get clientUrl(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** Creations under a directory, as the harness reads them from a listing. */
  listing(prefix: string): Map<string, { value: string; index: number }> {
    const nodes = [...this.#nodes.values()].filter(({ key }) => key.includes("/log/"));
    return new Map(
      nodes.map(({ key, value = "", modifiedIndex }) => [
        key.slice(prefix.length + 1),
        { value, index: modifiedIndex },
      ]),
    );
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let form = "";
    for await (const part of request) form += part;
    const url = new URL(request.url ?? "/", this.clientUrl);
    const key = url.pathname.slice("/v2/keys".length);
    if (url.searchParams.has("wait")) {
      const next = Number(url.searchParams.get("waitIndex"));
      return this.#watch(key, next, response);
    }
    // The watcher waits for the last key: were that write lost, the test would not end.
    const isLie = !key.endsWith("/end") && this.#prng.oneIn(LIE_ONE_IN);
    if (isLie && this.#lie === "cuts" && this.#prng.oneIn(2)) return void request.socket.destroy();
    const value = new URLSearchParams(form).get("value") ?? undefined;
    const [status, body] = this.#answer(request.method ?? "", key, value, url.searchParams, isLie);
    if (isLie && this.#lie === "cuts") return void request.socket.destroy();
    // A delay between execution and response, so that requests overlap.
    await new Promise(setImmediate);
    response.writeHead(status, { "X-Etcd-Index": this.#index }).end(JSON.stringify(body));
  }

  #answer(
    method: string,
    key: string,
    value: string | undefined,
    query: URLSearchParams,
    isLie: boolean,
  ): [number, object] {
    const refuse = (status: number, errorCode: number, cause: string): [number, object] => [
      status,
      { errorCode, message: "", cause, index: this.#index },
    ];
    const is = (lie: Lie) => isLie && this.#lie === lie;
    const isOld =
      method === "GET" ? is("stale-reads") : is("blind-swaps") && query.has("prevValue");
    const found = (isOld ? this.#oldNodes : this.#nodes).get(key);
    if (method === "GET") {
      if (found === undefined) return refuse(404, 100, key);
      return [200, { action: "get", node: found }];
    }
    const [prevValue, prevIndex] = [query.get("prevValue"), query.get("prevIndex")];
    if (query.get("prevExist") === "false") {
      if (found !== undefined) return refuse(412, 105, key);
      return [201, this.#write("create", key, value, is("lost-writes"))];
    }
    if (prevValue === null && prevIndex === null) {
      const event = this.#write("set", key, value, is("lost-writes"));
      if (is("repeated-writes")) setTimeout(() => this.#write("set", key, value, false), 20);
      return [200, event];
    }
    if (found === undefined) return refuse(404, 100, key);
    const index = String(found.modifiedIndex);
    if (prevValue !== null && found.value !== prevValue) {
      return refuse(412, 101, `[${prevValue} != ${found.value}]`);
    }
    if (prevIndex !== null && index !== prevIndex) {
      return refuse(412, 101, `[${prevIndex} != ${index}]`);
    }
    const action = method === "DELETE" ? "compareAndDelete" : "compareAndSwap";
    // The response repeats the compared value, as such a server knows nothing else.
    const { prevNode: _, ...event } = this.#write(action, key, value, is("lost-writes"));
    return [200, { ...event, prevNode: found }];
  }

  #write(action: string, key: string, value: string | undefined, isLost: boolean): StoredEvent {
    const modifiedIndex = ++this.#index;
    const prevNode = this.#nodes.get(key);
    const createdIndex = prevNode?.createdIndex ?? modifiedIndex;
    const held = value === undefined ? {} : { value };
    const node: Stored = { key, ...held, createdIndex, modifiedIndex };
    const event = { action, node, ...(prevNode === undefined ? {} : { prevNode }) };
    if (isLost) return event;
    if (modifiedIndex % 60 === 0) this.#oldNodes = new Map(this.#nodes);
    if (value === undefined) this.#nodes.delete(key);
    else this.#nodes.set(key, node);
    const isForgotten = this.#lie === "forgetful-watches" && this.#prng.oneIn(LIE_ONE_IN);
    if (!isForgotten || key.endsWith("/end")) this.#events.push(event);
    for (const wake of this.#waiting.splice(0)) wake();
    return event;
  }

  #watch(prefix: string, next: number, response: ServerResponse): void {
    const events = this.#events.filter(
      ({ node }) => node.modifiedIndex >= next && node.key.startsWith(`${prefix}/`),
    );
    const isSwapped = this.#lie === "swapped-watches" && this.#prng.oneIn(LIE_ONE_IN);
    const event = (isSwapped ? events[1] : undefined) ?? events[0];
    if (event === undefined) this.#waiting.push(() => this.#watch(prefix, next, response));
    else response.end(JSON.stringify(event));
  }
}
