import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import type { StoreLimits } from "../process/heap.js";
import { type Command, CommandOp } from "../store/command.js";
import { newNodeBytes, newParentsBytes } from "../store/size.js";
import type { Store } from "../store/store.js";

const STORE_BYTES = cellOf("storeBytes");
const STORE_QUOTA = cellOf("storeQuota");
const STORE_FULL = cellOf("storeFull");

/**
 * The store is full when less than this share of the quota is left, and no longer when there is
 * twice as much.
 */
const FULL_SHARE = 1 / 64;

/** More voters than a cluster has, and more bytes than a node takes beside its strings. */
const VOTERS_MAX = 16;
const NODE_BYTES_MAX = 1024;

/**
 * What happens to a write: proposed, refused for want of space, or refused until others are
 * through.
 */
export type Admission = "admitted" | "full" | "busy";

/** What is under way beside the store. */
export interface Underway {
  /** Of writes that were proposed here and are not applied. */
  readonly openBytes: number;
  /** Of nodes that a snapshot or a listing keeps although they left the tree. */
  readonly viewBytes: number;
  /** Voting members: each may have as much under way as this one. */
  readonly members: number;
}

/**
 * Whether there is room for a write, as this member sees it before it proposes one. Beyond the
 * quota only what adds is refused: deletes, refreshes, and new values that are no longer than what
 * they replace go on, as does what the member itself writes, which is never asked about here.
 */
export class Space {
  readonly #store: Store;
  readonly #limits: StoreLimits;
  readonly #metrics: MetricCells;
  readonly #log: Pick<Logger, "info" | "warn">;
  /** Below this nothing can be refused. */
  readonly #plentyBytes: number;
  #isFull = false;

  constructor(
    store: Store,
    limits: StoreLimits,
    metrics: MetricCells,
    log: Pick<Logger, "info" | "warn">,
  ) {
    this.#log = log;
    this.#store = store;
    this.#limits = limits;
    this.#metrics = metrics;
    this.#plentyBytes = Math.min(limits.quotaBytes * (1 - 2 * FULL_SHARE), limits.heapBytes);
    const { quotaBytes } = limits;
    metrics.set(STORE_QUOTA, quotaBytes === Number.POSITIVE_INFINITY ? 0 : quotaBytes);
    this.look();
  }

  get isFull(): boolean {
    return this.#isFull;
  }

  /** Now and then; before anything is refused, anyway. */
  look(): void {
    const { bytes } = this.#store;
    const { quotaBytes } = this.#limits;
    const share = this.#isFull ? 2 * FULL_SHARE : FULL_SHARE;
    const wasFull = this.#isFull;
    this.#isFull = bytes > quotaBytes * (1 - share);
    this.#metrics.set(STORE_BYTES, bytes);
    this.#metrics.set(STORE_FULL, this.#isFull ? 1 : 0);
    if (this.#isFull === wasFull) return;
    const sizes = { storeBytes: bytes, quotaBytes };
    if (wasFull) this.#log.info(sizes, "database space available again; accepting writes");
    else {
      this.#log.warn(
        sizes,
        "database space exceeded; rejecting writes that add data until keys are deleted",
      );
    }
  }

  /** @param underway looked at only where there may be too little room */
  admit(command: Command, underway: Underway): Admission {
    return this.hasPlenty(command, underway.openBytes) ? "admitted" : this.judge(command, underway);
  }

  /**
   * The common case, without counting what is under way: as if every byte of the store were in a
   * view, too.
   */
  hasPlenty({ path, value }: Command, openBytes: number): boolean {
    const parents = newParentsBytes(path);
    const own = openBytes + parents + path.length + value.length + NODE_BYTES_MAX;
    return 2 * this.#store.bytes + VOTERS_MAX * own <= this.#plentyBytes;
  }

  judge(command: Command, { openBytes, viewBytes, members }: Underway): Admission {
    const { bytes } = this.#store;
    const { path, value } = command;
    const need = newNodeBytes(path.length, value.length) + newParentsBytes(path);
    const open = (openBytes + need) * members;
    if (bytes + open + viewBytes <= this.#plentyBytes) return "admitted";
    if (isRemoval(command)) return "admitted";
    const { quotaBytes, heapBytes } = this.#limits;
    if (this.#grows(command)) {
      this.look();
      if (this.#isFull || bytes + need > quotaBytes) return "full";
      if (bytes + open > quotaBytes) return "busy";
    }
    return bytes + open + viewBytes > heapBytes ? "busy" : "admitted";
  }

  /** Whether the store will be larger for it. What will be refused for another reason may be. */
  #grows({ op, path, value, isRefresh }: Command): boolean {
    if (op === CommandOp.createInOrder) return true;
    const old = this.#store.get(path);
    if (old !== undefined)
      return op !== CommandOp.create && !isRefresh && value.length > old.value.length;
    return (op === CommandOp.set || op === CommandOp.create) && !isRefresh;
  }
}

function isRemoval({ op }: Command): boolean {
  return op === CommandOp.delete || op === CommandOp.compareAndDelete;
}
