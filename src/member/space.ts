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
 * The store counts as full when less than this share of the quota is free, and until twice as much
 * is free: hysteresis.
 */
const FULL_SHARE = 1 / 64;

/** Upper bounds of the voters of a cluster, and of a node's bytes beside its strings. */
const VOTERS_MAX = 16;
const NODE_BYTES_MAX = 1024;

/**
 * Verdict on a write: propose it; reject it, as the quota is reached; or reject it for now, as too
 * much is in flight.
 */
export type Admission = "admitted" | "full" | "busy";

/** Memory in flight, in addition to the store. */
export interface Underway {
  /** Of writes proposed here that are not applied yet. */
  readonly openBytes: number;
  /**
   * Of open watches, and of nodes and pages that left the tree but are kept alive by a snapshot or
   * listing.
   */
  readonly viewBytes: number;
  /** Voting members: each may have as much in flight as this one. */
  readonly members: number;
}

/**
 * Admission control: whether there is room for a write, checked by this member before it proposes
 * one. Over the quota only writes that add data are rejected: deletes, refreshes and values no
 * longer than the replaced ones are admitted. The member's own commands are not checked.
 */
export class Space {
  readonly #store: Store;
  readonly #limits: StoreLimits;
  readonly #metrics: MetricCells;
  readonly #log: Pick<Logger, "info" | "warn">;
  /** Below this every write is admitted. */
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

  /** Refreshes `isFull`. Called periodically, and before a write is rejected. */
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

  /** @param underway read only if there may be too little room */
  admit(command: Command, underway: Underway): Admission {
    return this.hasPlenty(command, underway.openBytes) ? "admitted" : this.judge(command, underway);
  }

  /**
   * The cheap common case. Does not read `viewBytes`, but assumes the worst: a view of the whole
   * store. Watches have room beside the quota (limits.ts).
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

  /**
   * Whether the store may grow. Commands that will fail for another reason may count as growing.
   */
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
