import { Session } from "node:inspector";

/** The kind of profile that a thread's cell requests. */
export const ProfileKind = {
  none: 0,
  /** CPU samples: a .cpuprofile of Chrome DevTools. */
  cpu: 1,
  /** Sampled allocations that are still alive at the end: a .heapprofile. */
  heap: 2,
} as const;
export type ProfileKind = (typeof ProfileKind)[keyof typeof ProfileKind];

/** Interval between CPU samples, microseconds. */
const SAMPLING_US = 1000;
/** Poll interval of a thread with an event loop. */
const POLL_MS = 100;

/**
 * Profiles the calling thread through Node's inspector, which serves its own thread synchronously:
 * this works also in a thread that never returns to its event loop.
 */
export class Profiler {
  readonly #session = new Session();
  readonly #kind: ProfileKind;

  /** Starts at once. At most one profiler per thread. */
  constructor(kind: ProfileKind) {
    this.#kind = kind;
    this.#session.connect();
    if (kind === ProfileKind.cpu) {
      this.#session.post("Profiler.enable");
      this.#session.post("Profiler.setSamplingInterval", { interval: SAMPLING_US });
      this.#session.post("Profiler.start");
    } else this.#session.post("HeapProfiler.startSampling");
  }

  /** @returns the profile as JSON; "" if there is none @throws Error of the inspector */
  stop(): string {
    let failure: Error | null = null;
    let profile: unknown;
    const onResult = (error: Error | null, result: { profile: unknown } | undefined) => {
      failure = error;
      profile = result?.profile;
    };
    if (this.#kind === ProfileKind.cpu) this.#session.post("Profiler.stop", onResult);
    else this.#session.post("HeapProfiler.stopSampling", onResult);
    this.#session.disconnect();
    if (failure !== null) throw failure;
    return profile === undefined ? "" : JSON.stringify(profile);
  }
}

/** What a thread reports for one order. */
export interface ProfileReport {
  readonly kind: "profile";
  readonly order: number;
  /** "" if there is no profile. */
  readonly json: string;
}

/** Cells of a thread: its last order, and how long that profile is to take, milliseconds. */
const CELLS = 2;
/** An order is a number of its own, times this, plus its ProfileKind. */
const KINDS = 4;

/**
 * Lets the main thread order a profile from another thread, by cells of that thread, which polls
 * them, makes the profile itself and reports it.
 */
export class ProfiledThread {
  readonly #cells: Int32Array;
  readonly #at: number;
  readonly #tell: (report: ProfileReport) => void;
  #order = 0;
  #profiler: Profiler | undefined;
  #endMs = 0;

  /** @param memory of `createProfileCells` */
  constructor(memory: SharedArrayBuffer, thread: number, tell: (report: ProfileReport) => void) {
    this.#cells = new Int32Array(memory);
    this.#at = thread * CELLS;
    this.#tell = tell;
  }

  /** Call it regularly; costs one atomic load. */
  poll(): void {
    const order = Atomics.load(this.#cells, this.#at);
    if (this.#profiler !== undefined) {
      if (performance.now() >= this.#endMs) this.#end(this.#profiler);
    } else if (order !== this.#order) {
      this.#order = order;
      this.#endMs = performance.now() + Atomics.load(this.#cells, this.#at + 1);
      try {
        this.#profiler = new Profiler((order % KINDS) as ProfileKind);
      } catch {
        this.#tell({ kind: "profile", order, json: "" });
      }
    }
  }

  /** Polls from a timer, for a thread with an event loop. */
  pollByTimer(): void {
    setInterval(() => this.poll(), POLL_MS).unref();
  }

  #end(profiler: Profiler): void {
    this.#profiler = undefined;
    let json = "";
    try {
      json = profiler.stop();
    } catch {
      // Reported as none.
    }
    this.#tell({ kind: "profile", order: this.#order, json });
  }
}

/** @param threads number of threads that have cells */
export function createProfileCells(threads: number): SharedArrayBuffer {
  return new SharedArrayBuffer(threads * CELLS * Int32Array.BYTES_PER_ELEMENT);
}

/**
 * @param memory of `createProfileCells` @param ms how long the profile takes
 * @returns the order's number
 */
export function orderProfile(
  memory: SharedArrayBuffer,
  thread: number,
  kind: ProfileKind,
  ms: number,
): number {
  const cells = new Int32Array(memory);
  const at = thread * CELLS;
  const last = Atomics.load(cells, at);
  const order = last - (last % KINDS) + KINDS + kind;
  Atomics.store(cells, at + 1, ms);
  Atomics.store(cells, at, order);
  return order;
}
