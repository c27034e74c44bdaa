import { V2Proposal } from "#ringd/member/v2-machine.js";
import type { Command } from "#ringd/store/command.js";
import type { Event } from "#ringd/store/event.js";
import type { Refusal } from "#ringd/store/refusal.js";

/** A proposal that records its outcome. */
export class TestProposal extends V2Proposal {
  readonly #isRetried: boolean;
  readonly results: (Event | Refusal | undefined)[] = [];
  readonly reasons: string[] = [];

  constructor(command: Command, startMs: number, isRetried = true) {
    super(command, startMs);
    this.#isRetried = isRetried;
  }

  get isRetried(): boolean {
    return this.#isRetried;
  }

  applied(result: Event | Refusal | undefined): void {
    this.results.push(result);
  }

  failed(reason: string): void {
    this.reasons.push(reason);
  }
}
