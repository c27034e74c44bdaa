import type { SnapshotHead } from "../cluster/snapshot-head.js";
import { NONE } from "../raft/entry.js";
import type { Raft } from "../raft/raft.js";
import type { Command } from "../store/command.js";
import type { Store } from "../store/store.js";
import { Agreed, type AgreedPorts } from "./agreed.js";
import { Publication, type PublicationPorts, type PublicationSources } from "./publication.js";
import type { TurnTimes } from "./times.js";
import { V2Proposal } from "./v2-machine.js";
import type { Writes } from "./writes.js";

export interface OwnProposalsParts {
  readonly raft: Raft;
  readonly writes: Writes;
  readonly store: Store;
  readonly times: TurnTimes;
  /** Of the last entry that was applied. */
  readonly appliedTerm: () => number;
  /** Of the snapshot that this member starts from. */
  readonly head: SnapshotHead;
  /** The newest format level that this member knows. */
  readonly newestFormat: number;
  readonly agreed: Omit<AgreedPorts, "raft" | "propose" | "onKnown">;
  readonly publication: PublicationSources & Pick<PublicationPorts, "onReady">;
}

/**
 * What the member itself writes to the log, each thing until it is applied: the cluster's time, a
 * raise of its format level, its own attributes, the cluster version.
 */
export class OwnProposals {
  readonly agreed: Agreed;
  readonly #parts: OwnProposalsParts;
  readonly #publication: Publication;
  #memberIds: readonly bigint[] = [];

  constructor(parts: OwnProposalsParts) {
    const { raft, head, newestFormat } = parts;
    this.#parts = parts;
    this.agreed = new Agreed(newestFormat, head, {
      ...parts.agreed,
      raft,
      propose: (command) => this.#propose(command),
      onKnown: () => this.#publication.check(),
    });
    this.#publication = new Publication(parts.publication, {
      propose: (command) => this.#propose(command),
      hasTime: () => this.agreed.hasTime,
      onReady: parts.publication.onReady,
    });
  }

  /** @param members of the cluster, learners and this one included */
  membershipChanged(members: readonly bigint[]): void {
    this.#memberIds = members;
    this.#publication.check();
  }

  /** With the clock. */
  tick(): void {
    this.#tickAgreed();
    this.#publication.check();
    if (this.#parts.raft.lead !== NONE) this.#publish();
  }

  /** The stream to the leader is open again: what was lost on it need not wait for a tick. */
  onLeaderReached(): void {
    this.#publish();
  }

  /** A leader is known again. */
  onElected(): void {
    this.#publish();
    this.#tickAgreed();
  }

  /** One of the member's own was applied: the next step of a start need not wait for a tick. */
  #onApplied(command: Command): void {
    this.#publication.onOwnCommand(command);
    this.#publish();
    this.#publication.check();
    this.#tickAgreed();
  }

  #publish(): void {
    const { raft, times } = this.#parts;
    this.#publication.step(raft.isLeader, times.clusterMs, times.monoMs);
  }

  #tickAgreed(): void {
    const { store, times } = this.#parts;
    const { expiringNodes } = store;
    const appliedTerm = this.#parts.appliedTerm();
    this.agreed.tick(this.#memberIds, { appliedTerm, expiringNodes }, times);
  }

  /** @returns false if it cannot even be tried now */
  #propose(command: Command): boolean {
    const { raft, writes, times } = this.#parts;
    if (raft.lead === NONE || writes.isBlocked) return false;
    return writes.propose(new OwnProposal(command, times.monoMs, () => this.#onApplied(command)));
  }
}

class OwnProposal extends V2Proposal {
  readonly #onApplied: () => void;

  constructor(command: Command, startMs: number, onApplied: () => void) {
    super(command, startMs);
    this.#onApplied = onApplied;
  }

  /** Repeated by whoever makes it until it is applied; and a time that is told late is wrong. */
  get isRetried(): boolean {
    return false;
  }

  applied(): void {
    this.#onApplied();
  }

  failed(): void {
    // It is due again before long.
  }
}
