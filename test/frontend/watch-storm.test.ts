import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";
import { answer, answerHead, chunkOf, type SeenRequest, type Served, serve } from "./harness.js";
import { head, RawConnection } from "./raw.js";
import { StrictReader } from "./strict-reader.js";

/** CONNECTIONS=50000 for the long form. */
const CONNECTIONS = Number(process.env.CONNECTIONS ?? 1500);
const CLIENTS = 20;
/** Time for a half-closed client to receive the rest. */
const GRACE_MS = 100;
const MIB = 1024 * 1024;

/** Requests of a client named `at`; all its responses contain that name. */
const REQUESTS: readonly ((at: string) => string)[] = [
  (at) => head("PUT", at, "Content-Length: 0"),
  (at) => `${head("PUT", at, "Content-Length: 9")}half`,
  (at) => `${head("POST", at, "Content-Length: 4")}full`,
  (at) => `${head("POST", at, "Transfer-Encoding: chunked")}4\r\nhalf\r\n`,
  (at) => `${head("POST", at, "Transfer-Encoding: chunked")}4\r\nfull\r\n0\r\n\r\n`,
  (at) => head("PUT", at, "Content-Length: 1", "Content-Length: 2"),
  (at) => head("GET", at),
  (at) => head("GET", at, "Content-Length: 9"),
  (at) => head("GET", at, "Transfer-Encoding: chunked"),
  (at) => `${head("DELETE", at, "Content-Length: 1")}x`,
  (at) => head("GET", `${at}?wait=true`),
  (at) => head("GET", `${at}?wait=true&stream=true`),
  (at) => head("PUT", at, "Content-Length: 0") + head("GET", at),
];
const WATCHES = REQUESTS.filter((request) => request("").includes("wait"));

/** The library closes a connection with this on a parse error. */
const LIBRARY_ERROR = /HTTP\/1\.1 (?:400|505) [^\r]*\r\nConnection: close\r\n\r\n<h1>.*$/s;

/**
 * The text must consist of complete responses to this client, perhaps followed by the start of one.
 */
function check(text: string, at: string): void {
  const about = () => `SEED=${SEED} ${at}: ${JSON.stringify(text.slice(-600))}`;
  let rest = text.replace(LIBRARY_ERROR, "");
  while (rest !== "") {
    const found = /^HTTP\/1\.1 (\d+) [^\r]*\r\n((?:[A-Za-z-]+: [^\r\n]*\r\n)+)\r\n/.exec(rest);
    assert.ok(found !== null || /^[^{]*$/.test(rest), about());
    if (found === null) return;
    rest = rest.slice(found[0].length);
    const length = /Content-Length: (\d+)/.exec(found[2] ?? "")?.[1];
    if (length !== undefined) {
      const body = rest.slice(0, Number(length));
      rest = rest.slice(body.length);
      if (found[1] === "200") assert.ok(`{"of":"${at}|"}`.startsWith(body), about());
      continue;
    }
    const chunks = /^0?(?:[1-9a-f][0-9a-f]*\r\n\{"of":"([^"|]*)\|+","createdIndex": ?1\}\n\r\n)*/;
    const events = (chunks.exec(rest) ?? [""])[0];
    for (const [, of] of events.matchAll(/"of":"([^"|]*)/g)) assert.equal(of, at, about());
    rest = rest.slice(events.length).replace(/^(?:0\r\n|\r\n)\r\n/, "\n");
    if (rest.startsWith("\n")) {
      rest = rest.slice(1); // The last chunk.
      continue;
    }
    assert.doesNotMatch(rest, /HTTP|200 OK/, about());
    assert.ok(rest.split("{").length <= 2, about()); // A truncated event.
    assert.ok(!rest.includes('"of":"/') || rest.includes(`"of":"${at}|`), about());
    return;
  }
}

class Storm {
  readonly #served: Served;
  readonly #prng: Prng;
  readonly #open = new Set<SeenRequest>();
  events = 0;
  answers = 0;

  constructor(served: Served, prng: Prng) {
    this.#served = served;
    this.#prng = prng;
    served.gateway.onRequest = (request) => this.#onRequest(request);
  }

  /** Watches that have not ended. */
  get open(): number {
    for (const watch of this.#open) {
      if (this.#served.gateway.aborted.has(watch.id)) this.#open.delete(watch);
    }
    return this.#open.size;
  }

  #onRequest(request: SeenRequest): void {
    const { exchange, path, query } = request;
    if (query.includes("wait")) {
      exchange.open(answerHead(), Buffer.alloc(0));
      this.#open.add(request);
      return;
    }
    const answerIt = () => {
      this.answers++;
      answer(request, `{"of":"${path}|"}`);
    };
    const when = this.#prng.below(4);
    if (when === 0) answerIt();
    else if (when < 3) setTimeout(answerIt, this.#prng.below(8));
  }

  /** Sends some of the watches an event, sometimes a large one, or the end. */
  pump(): void {
    if (this.open === 0) return;
    for (const watch of this.#open) {
      if (!this.#prng.oneIn(4)) continue;
      const isEnd = this.#prng.oneIn(6) && watch.path !== "/honest";
      const isEmpty = isEnd && this.#prng.oneIn(2);
      const bars = "|".repeat(this.#prng.oneIn(100) ? MIB : 1);
      const event = isEmpty ? "" : `{"of":"${watch.path}${bars}","createdIndex":1}\n`;
      if (watch.path === "/honest") this.events++;
      if (isEnd) this.#open.delete(watch);
      watch.exchange.chunk(chunkOf(event), isEnd);
    }
  }

  async client(at: string): Promise<void> {
    const prng = this.#prng;
    const first = prng.oneIn(3) ? prng.pick(REQUESTS) : prng.pick(WATCHES);
    const connection = await RawConnection.open(this.#served.port, first(at));
    if (prng.oneIn(4)) connection.socket.pause();
    for (let n = prng.below(3); n >= 0; n--) {
      await new Promise((resolve) => setTimeout(resolve, prng.below(12)));
      if (connection.isClosed) break;
      if (prng.oneIn(5)) break;
      connection.send(prng.pick(REQUESTS)(at));
    }
    if (prng.oneIn(2)) await new Promise((resolve) => setTimeout(resolve, prng.below(12)));
    const end = prng.below(4);
    if (end === 0) connection.reset();
    else if (end === 1) connection.close();
    else {
      // uWebSockets.js keeps a few open afterwards.
      connection.socket.end();
      setTimeout(() => connection.close(), GRACE_MS);
    }
    connection.socket.resume();
    await connection.untilClosed();
    check(connection.text, at);
  }
}

test(`uws: random requests behind watches mix no responses and crash nothing, seed ${SEED}`, async (t) => {
  const served = await serve("uws");
  const storm = new Storm(served, new Prng(SEED));
  const honest = await StrictReader.open(served.port);
  honest.send(head("GET", "/honest?wait=true&stream=true"));
  await honest.head();
  let read = 0;
  const readAll = (async () => {
    for (; ; read++) assert.match(`${await honest.chunk()}`, /^\{"of":"\/honest\|+","created/);
  })().catch((error: Error) => error);
  const pump = setInterval(() => storm.pump(), 3);
  let next = 0;
  await Promise.all(
    Array.from({ length: CLIENTS }, async () => {
      while (next < CONNECTIONS) await storm.client(`/c${next++}`);
    }),
  );
  clearInterval(pump);
  await served.gateway.until(() => storm.open === 1, "the watches' aborts");
  // A waiting large request is not read, so its close is seen once the wait times out.
  await served.gateway.until(() => served.connections.open === 1, "the closes", 30_000);
  await served.gateway.until(() => read === storm.events, "the honest client's events");
  t.diagnostic(`${next} connections, ${storm.answers} answers, ${storm.events} honest events`);
  honest.close();
  assert.match(`${await readAll}`, /closed after/);
  served.frontend.stopListening();
  served.frontend.close();
});
