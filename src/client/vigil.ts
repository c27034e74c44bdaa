import { type EndpointError, UnhealthyError } from "./errors.js";

/** Whether a member answers and has a quorum. Never rejects. */
export type IsHealthy = (endpoint: string) => Promise<boolean>;

/** @param other an endpoint that is well */
export type OnIll = (error: EndpointError, other: string) => void;

/**
 * Looks after the members that watches wait at. A member that hangs, or is cut off from the others, keeps its
 * connections and says nothing, which is what a watch without events looks like, too. So each is asked for its
 * health now and then; a watch leaves one that is ill as soon as there is another that is well. Without such a
 * one, nothing would be gained.
 */
export class Vigil {
  readonly #everyMs: number;
  readonly #isHealthy: IsHealthy;
  readonly #others: (endpoint: string) => readonly string[];
  readonly #watched = new Map<string, Watched>();

  /**
   * @param everyMs 0: never
   * @param others which endpoints could take over
   */
  constructor(
    everyMs: number,
    isHealthy: IsHealthy,
    others: (endpoint: string) => readonly string[],
  ) {
    this.#everyMs = everyMs;
    this.#isHealthy = isHealthy;
    this.#others = others;
  }

  /** @param onIll called at most once @returns ends the vigil */
  over(endpoint: string, onIll: OnIll): () => void {
    if (this.#everyMs <= 0) return () => undefined;
    let watched = this.#watched.get(endpoint);
    if (watched === undefined) {
      const timer = setInterval(() => void this.#look(endpoint), this.#everyMs);
      watched = { timer, isAsking: false, waiting: new Set() };
      this.#watched.set(endpoint, watched);
    }
    const { waiting, timer } = watched;
    const tell: OnIll = (error, other) => onIll(error, other);
    waiting.add(tell);
    return () => {
      if (!waiting.delete(tell) || waiting.size > 0) return;
      clearInterval(timer);
      this.#watched.delete(endpoint);
    };
  }

  async #look(endpoint: string): Promise<void> {
    const watched = this.#watched.get(endpoint);
    if (watched === undefined || watched.isAsking) return;
    watched.isAsking = true;
    try {
      if (await this.#isHealthy(endpoint)) return;
      for (const other of this.#others(endpoint)) {
        if (!(await this.#isHealthy(other))) continue;
        for (const tell of watched.waiting) tell(new UnhealthyError(endpoint), other);
        return;
      }
    } finally {
      watched.isAsking = false;
    }
  }
}

/** One endpoint, however many watches wait there. */
interface Watched {
  readonly timer: NodeJS.Timeout;
  readonly waiting: Set<OnIll>;
  isAsking: boolean;
}
