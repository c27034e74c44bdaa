import { setTimeout as sleep } from "node:timers/promises";
import { Follower } from "./follower.js";
import { Replica, type ReplicaOptions } from "./replica.js";
import type { ScopeListing, Side } from "./side.js";

/** TTLs are looked up in the source when they would end in the target. */
const RENEW_EVERY_MS = 1000;
const RENEW_WITHIN_MS = 3000;
/** Followers that read nothing for so long have caught up. */
const QUIET_MS = 500;
const SAVE_EVERY_MS = 1000;
const IDLE_MS = 200;

export interface MigrationOptions extends ReplicaOptions {
  /** "/", and directories that listings do not show. */
  readonly scopes: readonly string[];
  /** By scope, of an earlier run: all changes up to them are in the target. */
  readonly indexes: Readonly<Record<string, number>>;
  /** Ends everything at once. */
  readonly signal: AbortSignal;
  /** Keeps the indexes for a later run. */
  readonly save: (indexes: Readonly<Record<string, number>>) => void;
  readonly say: (text: string) => void;
  /** Number of nodes of a listing that have to be written. */
  readonly onCount: (count: number) => void;
}

/** A node that differs in the end. */
export interface LeftDifference {
  readonly key: string;
  readonly why: "missing or different in the target" | "only in the target";
}

/** The result of comparing source and target. */
export interface Comparison {
  readonly nodes: number;
  /** Nodes that were written once more. */
  readonly repaired: number;
  readonly left: readonly LeftDifference[];
}

/**
 * Copies the source, and then follows it:
 *
 *   copy     list a scope at some index, read its changes from there on, write what differs
 *   follow   apply the changes
 *   compare  list the source at some index, apply changes up to it, list the target
 *
 * Every step is idempotent, so an interrupted run is resumed from the last saved index, or from a
 * listing of which most is in the target already.
 */
export class Migration {
  readonly replica: Replica;
  readonly #options: MigrationOptions;
  readonly #source: Side;
  readonly #followers: Follower[] = [];
  readonly #indexes: Record<string, number>;
  #savedMs = 0;

  constructor(options: MigrationOptions) {
    this.replica = new Replica(options);
    this.#options = options;
    this.#source = options.source;
    this.#indexes = { ...options.indexes };
  }

  /** @returns the number of scopes that are resumed without a listing */
  async copy(): Promise<number> {
    const { scopes, signal, onCount } = this.#options;
    let resumed = 0;
    for (const scope of scopes) {
      const begun = this.#indexes[scope];
      if (begun !== undefined && (await this.#isStillThere(scope, begun))) {
        this.#followers.push(new Follower(this.#source, scope, begun, signal));
        resumed++;
        continue;
      }
      const listing = await this.#source.list(scope);
      this.#followers.push(new Follower(this.#source, scope, listing.index, signal));
      await this.replica.sync(scope, listing, onCount);
      this.#indexes[scope] = listing.index;
      this.#save(true);
    }
    return resumed;
  }

  /** Applies changes until `stop` fires. */
  async follow(stop: AbortSignal): Promise<void> {
    const stopped = () => stop.aborted || this.#options.signal.aborted;
    const renew = async () => {
      while (!stopped()) {
        await this.replica.renew(RENEW_WITHIN_MS);
        await sleep(RENEW_EVERY_MS, undefined, { signal: stop }).catch(() => undefined);
      }
    };
    const follow = async (follower: Follower) => {
      while (!stopped()) {
        const isNew = await follower.waitForChange(IDLE_MS);
        if (isNew) await this.#apply(follower);
        this.#save(false);
      }
    };
    await Promise.all([renew(), ...this.#followers.map(follow)]);
    this.#save(true);
  }

  /** Compares with the source as it is at some index, and writes what differs once more. */
  async compare(): Promise<Comparison> {
    let nodes = 0;
    let repaired = 0;
    const left: LeftDifference[] = [];
    for (const follower of this.#followers) {
      const { scope } = follower;
      const listing = await this.#source.list(scope);
      await this.#applyUpTo(follower, listing.index);
      nodes += listing.items.size;
      const written = await this.replica.sync(scope, listing);
      if (written > 0) left.push(...(await this.#leftOf(scope, listing)));
      repaired += written;
      this.#indexes[scope] = listing.index;
    }
    this.#save(true);
    return { nodes, repaired, left };
  }

  async #leftOf(scope: string, listing: ScopeListing): Promise<LeftDifference[]> {
    const { put, remove } = await this.replica.difference(scope, listing);
    return [
      ...put.map(({ key }) => ({ key, why: "missing or different in the target" }) as const),
      ...remove.map((key) => ({ key, why: "only in the target" }) as const),
    ];
  }

  async #applyUpTo(follower: Follower, index: number): Promise<void> {
    for (;;) {
      await this.#apply(follower, index);
      if (follower.hasRead(index) || !(await follower.waitForChange(QUIET_MS))) break;
    }
    await this.#apply(follower, index);
  }

  async #apply(follower: Follower, indexMax?: number): Promise<void> {
    const changes = follower.take(indexMax);
    const last = changes.at(-1);
    if (last === undefined) return;
    await this.replica.apply(follower.scope, changes, this.#options.scopes);
    this.#indexes[follower.scope] = last.index;
    if (changes.some(({ kind }) => kind === "reset")) {
      this.#options.say("the source's history was too short: all of it was read again");
    }
  }

  /** A store that was replaced by an older one would never reach the index. */
  async #isStillThere(scope: string, index: number): Promise<boolean> {
    const now = await this.#source.indexOf(scope);
    if (now >= index) return true;
    this.#options.say(`the source is at index ${now}, and was at ${index}: it is read again`);
    return false;
  }

  #save(isForced: boolean): void {
    const monoMs = performance.now();
    if (!isForced && monoMs - this.#savedMs < SAVE_EVERY_MS) return;
    this.#savedMs = monoMs;
    this.#options.save(this.#indexes);
  }
}
