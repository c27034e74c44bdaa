import { assert } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import type { Node } from "../store/node.js";
import { ErrorCode, Refusal } from "../store/refusal.js";
import type { Store } from "../store/store.js";
import { keysHead, writeRefusal } from "../v2/keys-render.js";
import { Listing } from "../v2/listing.js";
import { Method } from "../v2/request.js";
import type { ResponseHead } from "../v2/response.js";
import { LIMIT_REACHED, type MemberLimits, TOO_MANY } from "./limits.js";
import type { ClientPort, ClientRequest } from "./replies.js";

/** A slice takes about half a millisecond to make. */
const SLICE_BYTES = 64 * 1024;

const OPEN = cellOf("openListings");
const VIEW_BYTES = cellOf("listingViewBytes");

export interface ListingsPorts {
  readonly store: Pick<Store, "outBytes">;
  readonly metrics: MetricCells;
  readonly log: Pick<Logger, "warn">;
  readonly limits: Pick<MemberLimits, "listingsMax" | "listingViewBytesMax">;
}

interface Job {
  readonly client: ClientRequest;
  readonly listing: Listing;
  isHeld: boolean;
  /** Of the store, when the view was taken. */
  readonly outBytes: number;
  /** Of a HEAD, which is answered once it is known how long the answer to a GET would be. */
  readonly head: ResponseHead | undefined;
  countedBytes: number;
}

/**
 * Listings of directories that did not fit into one slice. One slice is made in each turn of the
 * core's loop, so that a listing of any size holds up other clients by no more than that. Each
 * keeps what it is made from, whatever writes replace meanwhile: a client that reads slowly could
 * keep the core's whole heap, so the oldest end when together they keep too much.
 */
export class Listings {
  readonly #port: ClientPort;
  readonly #ports: ListingsPorts;
  readonly #jobs: Job[] = [];

  constructor(port: ClientPort, ports: ListingsPorts) {
    this.#port = port;
    this.#ports = ports;
  }

  /**
   * Answers a GET of a directory: at once if it is short, else in slices.
   *
   * @returns false if there is no room for another one: it is not answered
   */
  start(
    client: ClientRequest,
    store: Store,
    directory: Node,
    isRecursive: boolean,
    clusterMs: number,
  ): boolean {
    const { body } = this.#port;
    const head = keysHead(200, store.index);
    // A short listing is over before the store changes, and needs no view.
    const quick = new Listing(directory, store.cursor(), isRecursive, clusterMs);
    if (quick.next(body, SLICE_BYTES)) {
      this.#port.answer(client, head);
      return true;
    }
    body.clear();
    const { metrics, limits } = this.#ports;
    if (this.#jobs.length >= limits.listingsMax) {
      metrics.add(LIMIT_REACHED.listings, 1);
      return false;
    }
    const listing = new Listing(directory, store.view().cursor(""), isRecursive, clusterMs);
    const job = { client, listing, isHeld: false, outBytes: store.outBytes, countedBytes: 0 };
    if (client.method === Method.head) {
      this.#jobs.push({ ...job, head });
      return true;
    }
    listing.next(body, SLICE_BYTES);
    this.#port.answer(client, head, true);
    this.#jobs.push({ ...job, head: undefined });
    return true;
  }

  /** With the clock: ends the oldest ones while they keep too much. */
  check(): void {
    const { metrics, log, limits, store } = this.#ports;
    let viewBytes = this.viewBytes();
    let ended = 0;
    for (; viewBytes > limits.listingViewBytesMax; viewBytes = this.viewBytes()) {
      const oldest = store.outBytes - viewBytes;
      for (const job of this.#jobs.filter(({ outBytes }) => outBytes === oldest)) {
        this.#end(job);
        ended++;
      }
    }
    metrics.set(OPEN, this.#jobs.length);
    metrics.set(VIEW_BYTES, viewBytes);
    if (ended === 0) return;
    metrics.add(LIMIT_REACHED.listingViews, ended);
    log.warn({ listings: ended }, "ended the oldest listings: they kept too much of the store");
  }

  /** What views keep although it left the tree, at most. */
  viewBytes(): number {
    const { store } = this.#ports;
    let oldest = store.outBytes;
    for (const { outBytes } of this.#jobs) oldest = Math.min(oldest, outBytes);
    assert(oldest <= store.outBytes, "bytes that left the store only grow");
    return store.outBytes - oldest;
  }

  /** Whether `step` would do something. */
  hasWork(): boolean {
    return this.#jobs.some((job) => this.#canGoOn(job));
  }

  /** Makes one slice of the listing whose turn it is. */
  step(): void {
    const i = this.#jobs.findIndex((job) => this.#canGoOn(job));
    if (i < 0) return;
    const [job] = this.#jobs.splice(i, 1);
    assert(job !== undefined, "a listing that was found is there");
    const { body } = this.#port;
    const isEnd = job.listing.next(body, SLICE_BYTES);
    const { client, head } = job;
    if (head === undefined) this.#port.chunk(client.frontend, [client.requestId], isEnd);
    else job.countedBytes += body.length;
    body.clear();
    if (head !== undefined && isEnd) this.#port.answerLength(client, head, job.countedBytes);
    if (!isEnd) this.#jobs.push(job);
  }

  /** The client is slow, or has caught up. */
  hold(client: ClientRequest, isHeld: boolean): void {
    const job = this.#find(client);
    if (job !== undefined) job.isHeld = isHeld;
  }

  abort(client: ClientRequest): void {
    const job = this.#find(client);
    if (job !== undefined) this.#jobs.splice(this.#jobs.indexOf(job), 1);
  }

  /** Before its time. A HEAD has no answer yet. */
  #end(job: Job): void {
    const { client, head } = job;
    this.#jobs.splice(this.#jobs.indexOf(job), 1);
    if (head === undefined) {
      this.#port.cut(client.frontend, [client.requestId]);
      return;
    }
    const refusal = new Refusal(ErrorCode.raftInternal, TOO_MANY, 0);
    this.#port.answer(client, writeRefusal(this.#port.body, refusal));
  }

  #canGoOn(job: Job): boolean {
    return !job.isHeld && !this.#port.isBehind(job.client.frontend);
  }

  #find(client: ClientRequest): Job | undefined {
    return this.#jobs.find(
      (job) => job.client.requestId === client.requestId && job.client.frontend === client.frontend,
    );
  }
}
