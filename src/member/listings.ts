import { assert } from "../lib/assert.js";
import type { Node } from "../store/node.js";
import type { Store } from "../store/store.js";
import { keysHead } from "../v2/keys-render.js";
import { Listing } from "../v2/listing.js";
import { Method } from "../v2/request.js";
import type { ResponseHead } from "../v2/response.js";
import type { ClientPort, ClientRequest } from "./replies.js";

/** Rendering a slice takes about half a millisecond. */
const SLICE_BYTES = 64 * 1024;

interface Job {
  readonly client: ClientRequest;
  readonly listing: Listing;
  isHeld: boolean;
  /** `Store.outBytes` when the view was taken. */
  readonly outBytes: number;
  /** HEAD only: sent at the end, when the length of the body that a GET would get is known. */
  readonly head: ResponseHead | undefined;
  countedBytes: number;
}

/**
 * Listings of directories larger than one slice. The core renders one slice per turn of its loop,
 * so even a huge listing delays other clients by only one slice.
 */
export class Listings {
  readonly #port: ClientPort;
  readonly #jobs: Job[] = [];

  constructor(port: ClientPort) {
    this.#port = port;
  }

  /** Responds to a GET of a directory: at once if one slice holds it, else in slices. */
  start(
    client: ClientRequest,
    store: Store,
    directory: Node,
    isRecursive: boolean,
    clusterMs: number,
  ): void {
    const { body } = this.#port;
    const head = keysHead(200, store.index);
    // A short listing is finished before the store can change, so it needs no frozen view.
    const quick = new Listing(directory, store.cursor(), isRecursive, clusterMs);
    if (quick.next(body, SLICE_BYTES)) {
      this.#port.answer(client, head);
      return;
    }
    body.clear();
    const listing = new Listing(directory, store.view().cursor(""), isRecursive, clusterMs);
    const job = { client, listing, isHeld: false, outBytes: store.outBytes, countedBytes: 0 };
    if (client.method === Method.head) {
      this.#jobs.push({ ...job, head });
      return;
    }
    listing.next(body, SLICE_BYTES);
    this.#port.answer(client, head, true);
    this.#jobs.push({ ...job, head: undefined });
  }

  /** Upper bound of the bytes that left the tree but are kept alive by views. */
  viewBytes(store: Store): number {
    let oldest = store.outBytes;
    for (const { outBytes } of this.#jobs) oldest = Math.min(oldest, outBytes);
    assert(oldest <= store.outBytes, "bytes that left the store only grow");
    return store.outBytes - oldest;
  }

  /** Whether `step` would do something. */
  hasWork(): boolean {
    return this.#jobs.some((job) => this.#canGoOn(job));
  }

  /** Renders one slice, taking turns among the listings. */
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

  /** The client reads too slowly, or has caught up. */
  hold(client: ClientRequest, isHeld: boolean): void {
    const job = this.#find(client);
    if (job !== undefined) job.isHeld = isHeld;
  }

  abort(client: ClientRequest): void {
    const job = this.#find(client);
    if (job !== undefined) this.#jobs.splice(this.#jobs.indexOf(job), 1);
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
