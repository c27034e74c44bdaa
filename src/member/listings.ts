import { assert } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import type { Node } from "../store/node.js";
import { ErrorCode, Refusal } from "../store/refusal.js";
import type { Store } from "../store/store.js";
import type { ByteWriter } from "../v2/byte-writer.js";
import { keysHead, writeRefusal } from "../v2/keys-render.js";
import { Listing } from "../v2/listing.js";
import { Method } from "../v2/request.js";
import type { ResponseHead } from "../v2/response.js";
import { LIMIT_REACHED, type MemberLimits, TOO_MANY } from "./limits.js";
import type { ClientPort, ClientRequest } from "./replies.js";
import type { TurnTimes } from "./times.js";

/**
 * A slice of a snapshot is made no more often. Without a pause the core would never sleep, and on
 * a busy machine threads that never sleep wait for their turn on a processor, and writes with them.
 */
const SNAPSHOT_SLICE_MS = 2;
/** Rendering a slice takes about half a millisecond. */
const SLICE_BYTES = 64 * 1024;
/**
 * Limit of what is on its way to a frontend when a slice is made: the responses to others wait
 * behind it, and their requests while the frontend sends it.
 */
const AHEAD_BYTES = 512 * 1024;

const OPEN = cellOf("openListings");
const OPEN_SNAPSHOTS = cellOf("openSnapshots");
const VIEW_BYTES = cellOf("listingViewBytes");

export interface ListingsPorts {
  readonly store: Pick<Store, "outBytes">;
  readonly times: Pick<TurnTimes, "monoMs">;
  readonly metrics: MetricCells;
  readonly log: Pick<Logger, "warn">;
  readonly limits: Pick<MemberLimits, "listingsMax" | "snapshotsMax" | "listingViewBytesMax">;
}

/** The body of a response, made in slices. */
export interface SlicedBody {
  /** Appends up to about `bytesMax` bytes. @returns whether it is complete */
  next(body: ByteWriter, bytesMax: number): boolean;
}

/** What a frozen view may keep alive. */
interface View {
  /** `Store.outBytes` when the view was taken. */
  readonly outBytes: number;
  /** All of it. */
  readonly viewBytesMax: number;
}

interface Job extends View {
  readonly client: ClientRequest;
  readonly listing: SlicedBody;
  readonly isSnapshot: boolean;
  isHeld: boolean;
  /** HEAD only: sent at the end, when the length of the body that a GET would get is known. */
  readonly head: ResponseHead | undefined;
  countedBytes: number;
}

/**
 * Listings of directories larger than one slice. The core renders one slice per turn of its loop,
 * so even a huge listing delays other clients by only one slice. Each keeps alive all nodes of its
 * view that writes replace meanwhile. As slow clients could fill the core's heap in this way, the
 * oldest listings are ended when their views exceed a limit. Snapshots for clients are made in the
 * same way.
 */
export class Listings {
  readonly #port: ClientPort;
  readonly #ports: ListingsPorts;
  readonly #jobs: Job[] = [];
  #nextSnapshotMs = 0;

  constructor(port: ClientPort, ports: ListingsPorts) {
    this.#port = port;
    this.#ports = ports;
  }

  /**
   * Responds to a GET of a directory: at once if one slice holds it, else in slices.
   *
   * @returns false, without a response, if there are too many listings
   */
  start(
    client: ClientRequest,
    store: Store,
    directory: Node,
    isRecursive: boolean,
    clusterMs: number,
  ): boolean {
    const { body } = this.#port;
    assert(body.length === 0, "a response begins with an empty body");
    const head = keysHead(200, store.index);
    // A short listing is finished before the store can change, so it needs no frozen view.
    const quick = new Listing(directory, store.cursor(), isRecursive, clusterMs);
    if (quick.next(body, SLICE_BYTES)) {
      this.#port.answer(client, head);
      return true;
    }
    body.clear();
    const { metrics, limits } = this.#ports;
    if (this.#jobs.length - this.#snapshots >= limits.listingsMax) {
      metrics.add(LIMIT_REACHED.listings, 1);
      return false;
    }
    assert(this.#find(client) === undefined, "a request has one listing");
    const listing = new Listing(directory, store.view().cursor(""), isRecursive, clusterMs);
    const view = { outBytes: store.outBytes, viewBytesMax: store.treeBytes };
    const job = { client, listing, isSnapshot: false, isHeld: false, countedBytes: 0, ...view };
    if (client.method === Method.head) {
      this.#jobs.push({ ...job, head });
      this.#assertBounded();
      return true;
    }
    listing.next(body, SLICE_BYTES);
    this.#port.answer(client, head, true);
    this.#jobs.push({ ...job, head: undefined });
    this.#assertBounded();
    return true;
  }

  /** Counts a rejection if there is none. */
  hasRoomForSnapshot(): boolean {
    const { metrics, limits } = this.#ports;
    if (this.#snapshots < limits.snapshotsMax) return true;
    metrics.add(LIMIT_REACHED.snapshots, 1);
    return false;
  }

  /** Responds with a snapshot, after `hasRoomForSnapshot`. */
  startSnapshot(client: ClientRequest, head: ResponseHead, listing: SlicedBody, view: View): void {
    const { body } = this.#port;
    assert(this.#find(client) === undefined, "a request has one body");
    assert(this.#snapshots < this.#ports.limits.snapshotsMax, "there is room for a snapshot");
    assert(body.length === 0, "a response begins with an empty body");
    const isEnd = listing.next(body, SLICE_BYTES);
    assert(!isEnd && body.length > 0, "a snapshot has a header, and an end");
    this.#port.answer(client, head, true);
    this.#jobs.push({
      ...{ client, listing, head: undefined, isSnapshot: true, isHeld: false, countedBytes: 0 },
      ...view,
    });
    this.#assertBounded();
  }

  get #snapshots(): number {
    return this.#jobs.reduce((sum, { isSnapshot }) => sum + (isSnapshot ? 1 : 0), 0);
  }

  /** Called once per raft tick: ends the oldest listings while their views exceed the limit. */
  check(): void {
    const { metrics, log, limits } = this.#ports;
    this.#assertBounded();
    let viewBytes = this.viewBytes();
    let ended = 0;
    for (; viewBytes > limits.listingViewBytesMax; viewBytes = this.viewBytes()) {
      assert(this.#jobs.length > 0, "what views keep alive is kept by a listing");
      const oldest = this.#oldest;
      for (const job of this.#jobs.filter(({ outBytes }) => outBytes === oldest)) {
        this.#end(job);
        ended++;
      }
    }
    assert(viewBytes <= limits.listingViewBytesMax, "what listings keep alive is bounded");
    const snapshots = this.#snapshots;
    metrics.set(OPEN, this.#jobs.length - snapshots);
    metrics.set(OPEN_SNAPSHOTS, snapshots);
    metrics.set(VIEW_BYTES, viewBytes);
    if (ended === 0) return;
    metrics.add(LIMIT_REACHED.listingViews, ended);
    log.warn(
      { listings: ended },
      "ended the oldest listings and snapshots: they kept too much of the store",
    );
  }

  /** Upper bound of the bytes that left the tree but are kept alive by views. */
  viewBytes(): number {
    const { outBytes } = this.#ports.store;
    assert(this.#oldest <= outBytes, "bytes that left the store only grow");
    let each = 0;
    for (const job of this.#jobs) each += Math.min(outBytes - job.outBytes, job.viewBytesMax);
    return Math.min(outBytes - this.#oldest, each);
  }

  /** `Store.outBytes` when the oldest view was taken; the current one if there is none. */
  get #oldest(): number {
    let oldest = this.#ports.store.outBytes;
    for (const job of this.#jobs) oldest = Math.min(oldest, job.outBytes);
    return oldest;
  }

  /** Milliseconds until the next slice of a snapshot is due; Infinity if none waits for that. */
  msToNext(monoMs: number): number {
    const isWaiting = this.#jobs.some((job) => job.isSnapshot && this.#isTaken(job));
    return isWaiting ? Math.max(0, this.#nextSnapshotMs - monoMs) : Number.POSITIVE_INFINITY;
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
    assert(body.length === 0, "a slice begins with an empty body");
    if (job.isSnapshot) this.#nextSnapshotMs = this.#ports.times.monoMs + SNAPSHOT_SLICE_MS;
    const isEnd = job.listing.next(body, SLICE_BYTES);
    assert(isEnd || body.length > 0, "each slice takes its listing further");
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

  /** Ends a listing early. A HEAD has no response yet. */
  #end(job: Job): void {
    const { client, head } = job;
    assert(this.#jobs.includes(job), "a listing that ends is open");
    this.#jobs.splice(this.#jobs.indexOf(job), 1);
    if (head === undefined) {
      this.#port.cut(client.frontend, [client.requestId]);
      return;
    }
    const refusal = new Refusal(ErrorCode.raftInternal, TOO_MANY, 0);
    this.#port.answer(client, writeRefusal(this.#port.body, refusal));
  }

  #assertBounded(): void {
    const { listingsMax, snapshotsMax } = this.#ports.limits;
    assert(this.#jobs.length <= listingsMax + snapshotsMax, "the open listings are bounded");
  }

  #canGoOn(job: Job): boolean {
    const isDue = !job.isSnapshot || this.#ports.times.monoMs >= this.#nextSnapshotMs;
    return isDue && this.#isTaken(job);
  }

  /** Whether its client and frontend take more of it. */
  #isTaken(job: Job): boolean {
    const { frontend } = job.client;
    if (job.isHeld || this.#port.isBehind(frontend)) return false;
    return this.#port.isWithin(frontend, AHEAD_BYTES);
  }

  #find(client: ClientRequest): Job | undefined {
    return this.#jobs.find(
      (job) => job.client.requestId === client.requestId && job.client.frontend === client.frontend,
    );
  }
}
