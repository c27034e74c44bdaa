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

/**
 * Lets the main thread order a profile of another thread: main sets that thread's cell to a kind,
 * then back to `none`; the thread polls its cell and reports the profile.
 */
export class ProfiledThread {
  readonly #cells: Int32Array;
  readonly #thread: number;
  readonly #onProfile: (profile: string) => void;
  #profiler: Profiler | undefined;

  /** @param memory of `createProfileCells` @param onProfile receives JSON, "" for none */
  constructor(memory: SharedArrayBuffer, thread: number, onProfile: (profile: string) => void) {
    this.#cells = new Int32Array(memory);
    this.#thread = thread;
    this.#onProfile = onProfile;
  }

  /** Call it regularly; costs one atomic load. */
  poll(): void {
    const wanted = Atomics.load(this.#cells, this.#thread);
    if ((wanted === ProfileKind.none) === (this.#profiler === undefined)) return;
    if (this.#profiler === undefined) {
      this.#profiler = new Profiler(wanted as ProfileKind);
      return;
    }
    const profiler = this.#profiler;
    this.#profiler = undefined;
    let profile = "";
    try {
      profile = profiler.stop();
    } finally {
      this.#onProfile(profile);
    }
  }

  /** Polls from a timer, for a thread with an event loop. */
  pollByTimer(): void {
    setInterval(() => this.poll(), POLL_MS).unref();
  }
}

/** @param threads number of cells */
export function createProfileCells(threads: number): SharedArrayBuffer {
  return new SharedArrayBuffer(threads * Int32Array.BYTES_PER_ELEMENT);
}

/** @param memory of `createProfileCells` */
export function orderProfile(memory: SharedArrayBuffer, thread: number, kind: ProfileKind): void {
  Atomics.store(new Int32Array(memory), thread, kind);
}
