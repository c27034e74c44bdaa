import { type HostPort, hostPortText } from "./gateway-flags.js";

/** A member that connections may go to; priority and weight as in DNS (RFC 2782). */
export interface Remote extends HostPort {
  readonly priority: number;
  readonly weight: number;
}

/** One connection in a hundred goes to those of weight 0 where others have one. */
const WEIGHTLESS_ONE_IN = 100;

/** Which member gets the next connection (etcd proxy/tcpproxy/userspace.go). */
export class Remotes {
  readonly #all: readonly Remote[];
  readonly #inactive = new Set<Remote>();
  readonly #random: () => number;
  #turn = 0;

  constructor(all: readonly Remote[], random: () => number = Math.random) {
    this.#all = all;
    this.#random = random;
  }

  get names(): string[] {
    return this.#all.map(hostPortText);
  }

  get inactive(): readonly Remote[] {
    return [...this.#inactive];
  }

  activate(remote: Remote): void {
    this.#inactive.delete(remote);
  }

  /** @returns false if it was inactive already */
  deactivate(remote: Remote): boolean {
    if (this.#inactive.has(remote)) return false;
    this.#inactive.add(remote);
    return true;
  }

  /** @returns undefined if all are inactive */
  pick(): Remote | undefined {
    const active = this.#all.filter((remote) => !this.#inactive.has(remote));
    const best = Math.min(...active.map(({ priority }) => priority));
    const candidates = active.filter(({ priority }) => priority === best);
    const weightless = candidates.filter(({ weight }) => weight === 0);
    const weighted = candidates.filter(({ weight }) => weight > 0);
    const isTurnOfWeightless =
      weighted.length === 0 || (weightless.length > 0 && this.#random() < 1 / WEIGHTLESS_ONE_IN);
    if (isTurnOfWeightless) return weightless[this.#turn++ % weightless.length];
    let left = this.#random() * weighted.reduce((sum, { weight }) => sum + weight, 0);
    for (const remote of weighted) {
      left -= remote.weight;
      if (left < 0) return remote;
    }
    return weighted.at(-1);
  }
}
