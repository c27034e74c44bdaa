import { Membership } from "../cluster/membership.js";
import type { SnapshotHead } from "../cluster/snapshot-head.js";
import { assert } from "../lib/assert.js";
import { NONE } from "../raft/entry.js";
import type { Raft } from "../raft/raft.js";
import { type Command, CommandOp } from "../store/command.js";
import { PERMANENT } from "../store/node.js";
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
  /** Of the last applied entry. */
  readonly appliedTerm: () => number;
  /** Of the snapshot this member starts from. */
  readonly head: SnapshotHead;
  /** The newest format level this member supports. */
  readonly newestFormat: number;
  readonly agreed: Omit<AgreedPorts, "raft" | "propose" | "onKnown" | "onStale">;
  readonly publication: PublicationSources & Pick<PublicationPorts, "onReady">;
}

/**
 * Commands the member itself proposes, each repeated until applied: the cluster's time, raises of
 * the format level, its own attributes, the cluster version.
 */
export class OwnProposals {
  readonly agreed: Agreed;
  readonly #parts: OwnProposalsParts;
  readonly #publication: Publication;
  #memberIds: readonly bigint[] = [];

  constructor(parts: OwnProposalsParts) {
    const { raft, head, newestFormat } = parts;
    assert(newestFormat >= 1, "formats count from 1");
    this.#parts = parts;
    this.agreed = new Agreed(newestFormat, head, {
      ...parts.agreed,
      raft,
      propose: (command) => this.#propose(command),
      onKnown: () => this.#publication.check(),
      onStale: () => this.#publication.again(),
    });
    this.#publication = new Publication(parts.publication, {
      propose: (command) => this.#propose(command),
      hasTime: () => this.agreed.hasTime,
      onReady: parts.publication.onReady,
    });
  }

  /** @param members ids of all members, including learners and this one */
  membershipChanged(members: readonly bigint[]): void {
    assert(!members.includes(NONE), "a member's id is not 0");
    this.#memberIds = members;
    this.#publication.check();
  }

  /** Called once per raft tick. */
  tick(): void {
    this.#tickAgreed();
    this.#publication.check();
    if (this.#parts.raft.lead !== NONE) this.#publish();
  }

  /** The stream to the leader is open again: propose now what may have been lost on it. */
  onLeaderReached(): void {
    assert(this.#parts.raft.lead !== NONE, "a leader that is reached is known");
    assert(!this.#parts.raft.isLeader, "a leader has no stream to itself");
    this.#publication.onLeaderReached();
    this.#publish();
  }

  /** A new leader is known. */
  onElected(): void {
    assert(this.#parts.raft.lead !== NONE, "a leader that is elected is known");
    this.#publish();
    this.#tickAgreed();
  }

  /**
   * One of the member's own commands was applied: take the next step of a start without waiting for
   * a tick.
   */
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

  /** @returns false if there is no leader, or the command was rejected at once */
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
    const { op, path } = command;
    const isKey = op !== CommandOp.sync && op !== CommandOp.raise;
    assert(!isKey || Membership.concerns(path), "a member's own keys are those of the membership");
    assert(
      command.expirationMs === PERMANENT,
      "what a member publishes stays until it is replaced",
    );
    this.#onApplied = onApplied;
  }

  /**
   * Its maker repeats it until it is applied, and a SYNC that is applied late carries a wrong time.
   */
  get isRetried(): boolean {
    return false;
  }

  applied(): void {
    this.#onApplied();
  }

  failed(): void {
    // Its maker proposes it again.
  }
}
