import { Session } from "node:inspector";

/** What a thread is asked for, in its cell of a `ProfileCells`. */
export const ProfileKind = {
  none: 0,
  /** CPU samples: a .cpuprofile of Chrome DevTools. */
  cpu: 1,
  /** Sampled allocations that are still alive at the end: a .heapprofile. */
  heap: 2,
} as const;
export type ProfileKind = (typeof ProfileKind)[keyof typeof ProfileKind];

/** Microseconds between two CPU samples. */
const SAMPLING_US = 1000;
/** How often a thread with an event loop looks at its cell. */
const POLL_MS = 100;

/**
 * The profiler of the calling thread, by Node's inspector. The inspector serves its own thread
 * synchronously, so this works in a thread that never returns to its event loop, too.
 */
export class Profiler {
  readonly #session = new Session();
  readonly #kind: ProfileKind;

  /** Starts at once. One profiler may run in a thread at a time. */
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
 * By which the main thread has another one profile itself: a cell for each thread, which main sets
 * to the kind wanted and back to `none`. The other thread looks at it and reports the profile.
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

  /** Called now and then: costs one atomic load. */
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

  /** For a thread with an event loop. */
  pollByTimer(): void {
    setInterval(() => this.poll(), POLL_MS).unref();
  }
}

/** @param threads how many have a cell */
export function createProfileCells(threads: number): SharedArrayBuffer {
  return new SharedArrayBuffer(threads * Int32Array.BYTES_PER_ELEMENT);
}

/** @param memory of `createProfileCells` */
export function orderProfile(memory: SharedArrayBuffer, thread: number, kind: ProfileKind): void {
  Atomics.store(new Int32Array(memory), thread, kind);
}
