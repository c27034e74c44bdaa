import type { Raft } from "../raft/raft.js";
import type { Client } from "./client-port.js";

/** A read that must not be answered from an outdated store. */
export interface WaitingRead {
  readonly client: Client;
  /** This member has applied everything that was committed when the read came. */
  readonly then: () => void;
  readonly startMs: number;
  /** Who gives up has an answer of its own kind; a health check does so sooner. */
  readonly kind: "keys" | "change" | "health";
}

/** Linearizable reads between their request and raft's word that they may be answered. */
export class Reads {
  readonly #raft: Raft;
  /** Oldest first, by the context raft knows them by. */
  readonly #waiting = new Map<number, WaitingRead>();
  #lastContext = 0;

  constructor(raft: Raft) {
    this.#raft = raft;
  }

  /** @returns false if too many wait already */
  add(read: WaitingRead): boolean {
    const context = ++this.#lastContext;
    if (!this.#raft.readIndex(context)) return false;
    this.#waiting.set(context, read);
    return true;
  }

  answer(context: number): void {
    const read = this.#waiting.get(context);
    this.#waiting.delete(context);
    read?.then();
  }

  /** Takes out those for whose patience it is too late. */
  takeExpired(nowMs: number, patienceMs: number, healthPatienceMs: number): WaitingRead[] {
    const taken: WaitingRead[] = [];
    for (const [context, read] of this.#waiting) {
      if (read.startMs > nowMs - (read.kind === "health" ? healthPatienceMs : patienceMs)) continue;
      this.#waiting.delete(context);
      taken.push(read);
    }
    return taken;
  }

  takeAll(): WaitingRead[] {
    const taken = [...this.#waiting.values()];
    this.#waiting.clear();
    return taken;
  }
}
