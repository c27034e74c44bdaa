import type { MetricCells } from "../metrics/cells.js";
import { cellOf, type HttpMethod, httpFailedCell } from "../metrics/families.js";
import type { Event } from "../store/event.js";
import { Refusal } from "../store/refusal.js";
import { Stat } from "../store/stats.js";
import type { Store } from "../store/store.js";
import { V2_ERRORS } from "../v2/errors.js";
import { eventStatus, keysHead, writeEvent, writeFile, writeRefusal } from "../v2/keys-render.js";
import { parseKeysRequest } from "../v2/keys-request.js";
import type { ApiRequest } from "../v2/request.js";
import type { Listings } from "./listings.js";
import type { Proposal } from "./proposals.js";
import type { Client, ClientPort } from "./replies.js";

/** What requests under /v2/keys need of the member. */
export interface Consensus {
  /** Puts a write into the log, or answers the client why not. */
  propose(proposal: Proposal): void;
  /** Calls back once this member has applied everything committed before now. */
  readIndex(client: Client, then: () => void): void;
}

/** Ids of watches: the frontend's number in front of the request's. */
const WATCHER_ID_FRONTEND = 2 ** 32;

/** The methods of Method's first five, as metrics name them. */
const HTTP_METHOD_OF: readonly HttpMethod[] = ["GET", "HEAD", "PUT", "POST", "DELETE"];
/** By Method, GET first; QGET is a GET with quorum=true. */
const RECEIVED = HTTP_METHOD_OF.map((method) => cellOf("httpReceived", method));
const RECEIVED_QGET = cellOf("httpReceived", "QGET");
const DURATION = HTTP_METHOD_OF.map((method) => cellOf("httpDuration", method));
const READS = { one: cellOf("storeReads", "get"), all: cellOf("storeReads", "getRecursive") };
const READS_FAILED = {
  one: cellOf("storeReadsFailed", "get"),
  all: cellOf("storeReadsFailed", "getRecursive"),
};
const WATCH_REQUESTS = cellOf("storeWatchRequests");
const WATCHERS = cellOf("storeWatchers");

/** /v2/keys: reads, writes and watches. */
export class KeysService {
  readonly #store: Store;
  readonly #port: ClientPort;
  readonly #consensus: Consensus;
  readonly #listings: Listings;
  readonly #metrics: MetricCells;

  constructor(
    store: Store,
    port: ClientPort,
    consensus: Consensus,
    listings: Listings,
    metrics: MetricCells,
  ) {
    this.#store = store;
    this.#port = port;
    this.#consensus = consensus;
    this.#listings = listings;
    this.#metrics = metrics;
  }

  /** @param path decoded, "/v2/keys" or below */
  handle(client: Client, request: ApiRequest, path: string, nowMs: number, startMs: number): void {
    const parsed = parseKeysRequest(request, path, nowMs);
    if (parsed.kind !== "refusal" && parsed.kind !== "answer") {
      // etcd looks up the switch of its auth system on every valid request; here there is none to find.
      this.#store.stats.add(Stat.getsFail);
    }
    switch (parsed.kind) {
      case "write": {
        const { command, noValueOnSuccess } = parsed;
        this.#metrics.add(RECEIVED[client.method] as number, 1);
        this.#consensus.propose({ command, client, noValueOnSuccess, startMs });
        return;
      }
      case "get": {
        const { path: node, isRecursive } = parsed;
        if (!parsed.isQuorum) {
          this.#metrics.add(RECEIVED[client.method] as number, 1);
          this.#get(client, node, isRecursive, nowMs);
          return;
        }
        this.#metrics.add(RECEIVED_QGET, 1);
        this.#consensus.readIndex(client, () => this.#get(client, node, isRecursive, nowMs));
        return;
      }
      case "watch":
        this.#watch(client, parsed);
        return;
      case "refusal":
        this.refuse(client, parsed.refusal);
        return;
      case "answer":
        this.#port.answerWhole(client, parsed.answer);
        return;
    }
  }

  /**
   * The outcome of a write, for who asked for it.
   *
   * @param seconds since the request came
   */
  answerWrite(
    client: Client,
    result: Event | Refusal,
    noValueOnSuccess: boolean,
    seconds: number,
  ): void {
    if (result instanceof Refusal) {
      this.refuse(client, result);
      return;
    }
    this.#metrics.observe(DURATION[client.method] as number, seconds);
    writeEvent(this.#port.body, result, noValueOnSuccess);
    this.#port.answer(client, keysHead(eventStatus(result), result.index));
  }

  refuse(client: Client, refusal: Refusal): void {
    const method = HTTP_METHOD_OF[client.method] ?? "GET";
    this.#metrics.add(httpFailedCell(method, V2_ERRORS[refusal.code].status), 1);
    this.#port.answer(client, writeRefusal(this.#port.body, refusal));
  }

  /** Sends what watches are to be told since the last call: one body for all that share an event. */
  deliver(frontends: number): void {
    for (const { event, oneShots, streams } of this.#store.hub.takeDeliveries()) {
      const { body } = this.#port;
      body.clear();
      writeEvent(body, event, false);
      for (let frontend = 0; frontend < frontends; frontend++) {
        const isHere = (id: number) => Math.floor(id / WATCHER_ID_FRONTEND) === frontend;
        const ended = oneShots.filter(isHere).map(requestIdOf);
        const going = streams.filter(isHere).map(requestIdOf);
        if (going.length > 0) this.#port.chunk(frontend, going, false);
        if (ended.length > 0) this.#port.chunk(frontend, ended, true);
      }
      body.clear();
    }
    this.#metrics.set(WATCHERS, this.#store.hub.count);
  }

  /** The client has gone. */
  abort(client: Client): void {
    this.#store.hub.remove(watcherIdOf(client));
    this.#metrics.set(WATCHERS, this.#store.hub.count);
  }

  /** Ends all watches in the middle of their answers, as etcd does when it stops. */
  cutWatches(): void {
    for (const id of this.#store.hub.clear()) {
      this.#port.cut(Math.floor(id / WATCHER_ID_FRONTEND), [requestIdOf(id)]);
    }
  }

  #get(client: Client, path: string, isRecursive: boolean, nowMs: number): void {
    const found = this.#store.read(path);
    const cells = found instanceof Refusal ? READS_FAILED : READS;
    this.#metrics.add(isRecursive ? cells.all : cells.one, 1);
    if (found instanceof Refusal) this.refuse(client, found);
    else if (found.isDirectory) {
      this.#listings.start(client, this.#store, found, isRecursive, nowMs);
    } else {
      writeFile(this.#port.body, found, nowMs);
      this.#port.answer(client, keysHead(200, this.#store.index));
    }
  }

  #watch(
    client: Client,
    watch: { path: string; isRecursive: boolean; isStream: boolean; waitIndex: number },
  ): void {
    this.#metrics.add(WATCH_REQUESTS, 1);
    const { index, hub } = this.#store;
    const { path, isRecursive, isStream, waitIndex } = watch;
    const watcherId = watcherIdOf(client);
    const sinceIndex = waitIndex === 0 ? index + 1 : waitIndex;
    const found = hub.add({ watcherId, path, isRecursive, isStream, sinceIndex }, index);
    if (found instanceof Refusal) {
      this.refuse(client, found);
      return;
    }
    this.#metrics.set(WATCHERS, hub.count);
    this.#port.open(client, keysHead(200, index));
    if (found === undefined) return;
    writeEvent(this.#port.body, found, false);
    this.#port.chunk(client.frontend, [client.requestId], !isStream);
    this.#port.body.clear();
  }
}

function watcherIdOf(client: Client): number {
  return client.frontend * WATCHER_ID_FRONTEND + client.requestId;
}

function requestIdOf(watcherId: number): number {
  return watcherId % WATCHER_ID_FRONTEND;
}
