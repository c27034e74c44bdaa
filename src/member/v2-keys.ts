import type { KeyAccess } from "../auth/access.js";
import { assert, unreachable } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf, type HttpMethod, httpFailedCell } from "../metrics/families.js";
import type { Command } from "../store/command.js";
import type { Event } from "../store/event.js";
import { KEYS_PREFIX } from "../store/node.js";
import { ErrorCode, Refusal } from "../store/refusal.js";
import type { Store } from "../store/store.js";
import type { Delivery } from "../store/watch-hub.js";
import { V2_ERRORS } from "../v2/errors.js";
import { eventStatus, keysHead, writeEvent, writeFile, writeRefusal } from "../v2/keys-render.js";
import { type KeysRequest, parseKeysRequest } from "../v2/keys-request.js";
import { type ApiRequest, Method } from "../v2/request.js";
import type { Gate } from "./gate.js";
import { LIMIT_REACHED, type MemberLimits, TOO_MANY } from "./limits.js";
import type { Listings } from "./listings.js";
import type { Reads } from "./reads.js";
import type { ClientPort, ClientRequest } from "./replies.js";
import type { SlowWarnings } from "./slow-warnings.js";
import type { Space, Underway } from "./space.js";
import type { TurnTimes } from "./times.js";
import { type KeysAnswers, type KeysGet, KeysWrite, QuorumGet } from "./waiting-keys.js";
import type { Writes } from "./writes.js";

export interface KeysParts {
  readonly store: Store;
  readonly port: ClientPort;
  readonly gate: Gate;
  /** Number of frontends of `port`. */
  readonly frontends: number;
  readonly space: Space;
  readonly underway: Underway;
  readonly writes: Writes;
  readonly reads: Reads;
  readonly listings: Listings;
  readonly times: TurnTimes;
  readonly metrics: MetricCells;
  readonly limits: Pick<
    MemberLimits,
    "watchesMax" | "watchBytesMax" | "responseBytesMax" | "keyBytesMax" | "keyLevelsMax"
  >;
  readonly slow: SlowWarnings;
  readonly log: Pick<Logger, "warn">;
}

const KEYS_PATH = "/v2/keys";
const SLASH = 0x2f;
const NO_SPACE = "etcdserver: database space exceeded";

/** A watcher id is frontend * WATCHER_ID_FRONTEND + request id. */
const WATCHER_ID_FRONTEND = 2 ** 32;

/** Metric labels of Method's first five values. */
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
const WATCH_BYTES = cellOf("watchBytes");
const PROPOSAL_SECONDS = cellOf("proposalDuration");

/**
 * /v2/keys: reads, writes and watches. A write is parsed and admitted here, proposed, logged, and
 * applied by the v2 machine, which calls the proposal back for the response.
 */
export class KeysService implements KeysAnswers {
  readonly #parts: KeysParts;
  readonly #store: Store;
  readonly #port: ClientPort;
  readonly #metrics: MetricCells;
  /** Whose watches were ended, as their response queue exceeded the limit. */
  readonly #cutFrontends = new Set<number>();
  #isStopping = false;

  constructor(parts: KeysParts) {
    assert(parts.frontends > 0, "a member has a frontend");
    this.#parts = parts;
    this.#store = parts.store;
    this.#port = parts.port;
    this.#metrics = parts.metrics;
  }

  /** @param path decoded, "/v2/keys" or below */
  handle(client: ClientRequest, request: ApiRequest, path: string): void {
    const { clusterMs } = this.#parts.times;
    if (this.#hasRefusedKey(client, path)) return;
    const parsed = parseKeysRequest(request, path, clusterMs);
    // As in etcd, only valid requests are looked at for permissions.
    if (parsed.kind !== "refusal" && parsed.kind !== "answer") {
      const { gate } = this.#parts;
      if (!gate.admitsAll() && !gate.admitsKey(client, request, accessOf(parsed, path))) return;
    }
    switch (parsed.kind) {
      case "write":
        this.#write(client, parsed.command, parsed.noValueOnSuccess);
        return;
      case "get":
        this.#get(client, parsed, clusterMs);
        return;
      case "watch":
        this.#watch(client, parsed);
        return;
      case "refusal":
        this.refuse(client, parsed.refusal);
        return;
      case "answer":
        this.#port.answerWhole(client, parsed.answer);
        return;
      default:
        unreachable(parsed);
    }
  }

  /** Rejects a write to a key above the limits of this member. */
  #hasRefusedKey(client: ClientRequest, path: string): boolean {
    if (client.method !== Method.put && client.method !== Method.post) return false;
    const { keyBytesMax, keyLevelsMax } = this.#parts.limits;
    const bytes = path.length - KEYS_PATH.length;
    assert(bytes >= 0, "the path of a key begins with that of all keys");
    // Each level has a slash and a name, so that most keys need no counting.
    const isLong = bytes > keyBytesMax;
    if (!isLong && (bytes <= 2 * keyLevelsMax || levelsOf(path) <= keyLevelsMax)) return false;
    this.#metrics.add(LIMIT_REACHED.keys, 1);
    const why = isLong ? "the key is too long" : "the key has too many levels";
    this.refuse(client, new Refusal(ErrorCode.invalidField, why, 0));
    return true;
  }

  /** Responds to a write that was applied. */
  answerWrite(write: KeysWrite, result: Event | Refusal): void {
    const { client, startMs, noValueOnSuccess } = write;
    const { times, slow } = this.#parts;
    assert(client.method < DURATION.length, "the duration of each method is measured");
    const seconds = Math.max(0, times.monoMs - startMs) / 1000;
    this.#metrics.observe(PROPOSAL_SECONDS, seconds);
    if (seconds > slow.requestSeconds) slow.wrote(write, seconds, times);
    if (result instanceof Refusal) {
      this.refuse(client, result);
      return;
    }
    assert(this.#port.body.length === 0, "a response begins with an empty body");
    assert(result.index > 0, "events are numbered from 1");
    this.#metrics.observe(DURATION[client.method] as number, seconds);
    writeEvent(this.#port.body, result, noValueOnSuccess);
    this.#port.answer(client, keysHead(eventStatus(result), result.index));
  }

  refuse(client: ClientRequest, refusal: Refusal): void {
    assert(this.#port.body.length === 0, "a response begins with an empty body");
    const method = HTTP_METHOD_OF[client.method] ?? "GET";
    this.#metrics.add(httpFailedCell(method, V2_ERRORS[refusal.code].status), 1);
    this.#port.answer(client, writeRefusal(this.#port.body, refusal));
  }

  /** The request was not carried out, or timed out. @param why etcd's error text */
  fail(client: ClientRequest, why: string): void {
    assert(why !== "", "a client is told why");
    if (!this.#isStopping) this.#parts.log.warn({ reason: why }, "rejected a request");
    this.refuse(client, new Refusal(ErrorCode.raftInternal, why, 0));
  }

  /** From here on requests fail because of the stop, so failures are not logged. */
  beginStop(): void {
    this.#isStopping = true;
  }

  /** Delivers the events since the last call to their watches, rendering each event once. */
  deliver(): void {
    const deliveries = this.#store.hub.takeDeliveries();
    if (deliveries.length === 0) return;
    const { frontends, limits } = this.#parts;
    /** Of this call's. */
    const cut = new Set<number>();
    for (const [i, { event, oneShots, streams }] of deliveries.entries()) {
      const { body } = this.#port;
      assert(oneShots.length + streams.length > 0, "an event is delivered to a watch");
      body.clear();
      writeEvent(body, event, false);
      for (let frontend = 0; frontend < frontends; frontend++) {
        if (cut.has(frontend)) continue;
        if (this.#port.queuedBytes(frontend) > limits.responseBytesMax) {
          this.#cutWatchesOf(frontend, deliveries.slice(i));
          cut.add(frontend);
          continue;
        }
        this.#cutFrontends.delete(frontend);
        const isHere = isAt(frontend);
        const ended = oneShots.filter(isHere).map(requestIdOf);
        const going = streams.filter(isHere).map(requestIdOf);
        if (going.length > 0) this.#port.chunk(frontend, going, false);
        if (ended.length > 0) this.#port.chunk(frontend, ended, true);
      }
      body.clear();
    }
    this.#showWatches();
  }

  /** The client disconnected. */
  abort(client: ClientRequest): void {
    this.#store.hub.remove(watcherIdOf(client));
    this.#showWatches();
    this.#parts.writes.abandon(
      (proposal) => proposal instanceof KeysWrite && proposal.isOf(client),
    );
  }

  /** Disconnects all watches mid-response, as etcd does when it stops. */
  cutWatches(): void {
    const ids = this.#store.hub.clear();
    for (let frontend = 0; frontend < this.#parts.frontends; frontend++) {
      const here = ids.filter(isAt(frontend)).map(requestIdOf);
      if (here.length > 0) this.#port.cut(frontend, here);
    }
    assert(this.#store.hub.count === 0, "a watch that is cut is closed");
    this.#showWatches();
  }

  /**
   * Ends the watches of a frontend whose response queue exceeds the limit, as their events would
   * pile up here. Their clients resume from their last index.
   *
   * @param unmade deliveries not sent; their long polls have already left the hub
   */
  #cutWatchesOf(frontend: number, unmade: readonly Delivery[]): void {
    const { metrics, log } = this.#parts;
    const isHere = isAt(frontend);
    assert(frontend < this.#parts.frontends, "a watch is at one of the frontends");
    // Once per overflow: until the queue is empty, the frontend's requests wait, watches included.
    const open = this.#cutFrontends.has(frontend) ? [] : this.#store.hub.removeAll(isHere);
    this.#cutFrontends.add(frontend);
    const cut = new Set(open);
    for (const { oneShots, streams } of unmade) {
      for (const id of [...oneShots, ...streams]) {
        if (!isHere(id)) continue;
        cut.add(id);
        this.#store.hub.remove(id);
      }
    }
    if (cut.size === 0) return;
    this.#port.cut(frontend, [...cut].map(requestIdOf));
    metrics.add(LIMIT_REACHED.responses, cut.size);
    const queuedBytes = this.#port.queuedBytes(frontend);
    log.warn(
      { frontend, watches: cut.size, queuedBytes },
      "ended all watches of a frontend that does not take its responses",
    );
  }

  #hasTooManyWatches(): boolean {
    const { watchesMax, watchBytesMax } = this.#parts.limits;
    const { hub } = this.#store;
    return hub.count > watchesMax || hub.bytes > watchBytesMax;
  }

  #showWatches(): void {
    const { hub } = this.#store;
    assert(hub.count > 0 || hub.bytes === 0, "an empty hub holds no bytes");
    this.#metrics.set(WATCHERS, hub.count);
    this.#metrics.set(WATCH_BYTES, hub.bytes);
  }

  /**
   * From here a PUT goes through Writes, raft and the log to Applier, V2Machine and
   * KeysWrite.applied.
   */
  #write(client: ClientRequest, command: Command, noValueOnSuccess: boolean): void {
    const { space, underway, writes, times } = this.#parts;
    assert(client.method < RECEIVED.length, "each method that writes is counted");
    assert(isOfClients(command.path), "a client writes below the clients' root alone");
    this.#metrics.add(RECEIVED[client.method] as number, 1);
    switch (space.admit(command, underway)) {
      case "admitted":
        writes.propose(new KeysWrite(this, client, command, noValueOnSuccess, times.monoMs));
        return;
      case "busy":
        this.fail(client, TOO_MANY);
        return;
      case "full":
        this.refuse(client, new Refusal(ErrorCode.noSpace, NO_SPACE, this.#store.index));
        return;
    }
  }

  #get(client: ClientRequest, get: KeysGet, clusterMs: number): void {
    assert(isOfClients(get.path), "a client reads below the clients' root alone");
    if (get.isQuorum) {
      const { reads, times } = this.#parts;
      this.#metrics.add(RECEIVED_QGET, 1);
      reads.add(new QuorumGet(this, client, get, clusterMs, times.monoMs));
      return;
    }
    assert(client.method < RECEIVED.length, "each method that reads is counted");
    this.#metrics.add(RECEIVED[client.method] as number, 1);
    this.answerGet(client, get, clusterMs);
  }

  /**
   * @param clusterMs the cluster's time when the request came; remaining TTLs are computed for it
   */
  answerGet(client: ClientRequest, { path, isRecursive }: KeysGet, clusterMs: number): void {
    const found = this.#store.read(path);
    const cells = found instanceof Refusal ? READS_FAILED : READS;
    this.#metrics.add(isRecursive ? cells.all : cells.one, 1);
    if (found instanceof Refusal) this.refuse(client, found);
    else if (found.isDirectory) {
      const { listings } = this.#parts;
      const isStarted = listings.start(client, this.#store, found, isRecursive, clusterMs);
      if (!isStarted) this.fail(client, TOO_MANY);
    } else {
      assert(this.#port.body.length === 0, "a response begins with an empty body");
      writeFile(this.#port.body, found, clusterMs);
      this.#port.answer(client, keysHead(200, this.#store.index));
    }
  }

  answerQuorumGet(client: ClientRequest, get: KeysGet, clusterMs: number, startMs: number): void {
    const { times, slow } = this.#parts;
    const tookMs = times.monoMs - startMs;
    assert(tookMs >= 0, "the monotonic clock never goes back");
    if (tookMs > slow.applyMs) slow.read(client, get.path, get.isRecursive, tookMs, times);
    this.answerGet(client, get, clusterMs);
  }

  #watch(
    client: ClientRequest,
    watch: { path: string; isRecursive: boolean; isStream: boolean; waitIndex: number },
  ): void {
    assert(watch.waitIndex >= 0, "0 stands for no index to wait for");
    this.#metrics.add(WATCH_REQUESTS, 1);
    const { index, hub } = this.#store;
    const { path, isRecursive, isStream, waitIndex } = watch;
    assert(isOfClients(path), "a client watches below the clients' root alone");
    const watcherId = watcherIdOf(client);
    const sinceIndex = waitIndex === 0 ? index + 1 : waitIndex;
    assert(sinceIndex > 0, "events are numbered from 1");
    const found = hub.add({ watcherId, path, isRecursive, isStream, sinceIndex }, index);
    if (found instanceof Refusal) {
      this.refuse(client, found);
      return;
    }
    if (found === undefined && this.#hasTooManyWatches()) {
      hub.remove(watcherId);
      this.#metrics.add(LIMIT_REACHED.watches, 1);
      this.fail(client, TOO_MANY);
      return;
    }
    this.#showWatches();
    this.#port.open(client, keysHead(200, index));
    if (found === undefined) return;
    writeEvent(this.#port.body, found, false);
    this.#port.chunk(client.frontend, [client.requestId], !isStream);
    this.#port.body.clear();
  }
}

/** @param path decoded, with its trailing slash: permissions are compared with it as it is */
function accessOf(
  parsed: Extract<KeysRequest, { kind: "write" | "get" | "watch" }>,
  path: string,
): KeyAccess {
  const isWrite = parsed.kind === "write";
  const { isRecursive } = isWrite ? parsed.command : parsed;
  return { key: path.slice(KEYS_PATH.length), isWrite, isRecursive };
}

/** Whether an internal path is KEYS_PREFIX or below it. */
function isOfClients(path: string): boolean {
  const end = path.charCodeAt(KEYS_PREFIX.length);
  return path.startsWith(KEYS_PREFIX) && (end === SLASH || path.length === KEYS_PREFIX.length);
}

/** @param path clean, below KEYS_PATH */
function levelsOf(path: string): number {
  let levels = 0;
  for (let at = KEYS_PATH.length; at >= 0; at = path.indexOf("/", at + 1)) levels++;
  return path.endsWith("/") ? levels - 1 : levels;
}

function watcherIdOf(client: ClientRequest): number {
  assert(client.requestId < WATCHER_ID_FRONTEND, "a request's number leaves room for its frontend");
  return client.frontend * WATCHER_ID_FRONTEND + client.requestId;
}

function isAt(frontend: number): (watcherId: number) => boolean {
  return (id) => Math.floor(id / WATCHER_ID_FRONTEND) === frontend;
}

function requestIdOf(watcherId: number): number {
  assert(watcherId > 0, "requests are numbered from 1");
  return watcherId % WATCHER_ID_FRONTEND;
}
