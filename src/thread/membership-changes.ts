import { confChangeAnswer, internalError } from "../api/members.js";
import type { Answer } from "../api/plain.js";
import { type ConfChange, encodeConfChange } from "../cluster/conf-change.js";
import type { Membership } from "../cluster/membership.js";
import { type ConfChangeVerdict, judgeConfChange } from "../cluster/rules.js";
import type { ConfChangeOp } from "../raft/conf-change.js";
import type { Raft } from "../raft/raft.js";
import type { Client } from "./client-port.js";

/** A change may wait for the one before it, or for a leader; so often it is tried again. */
const RETRY_MS = 250;

/** A new member first learns the log without a vote, so that it cannot hold up commits. */
const RAFT_OPS: Readonly<Record<ConfChange["kind"], ConfChangeOp>> = {
  add: "addLearner",
  remove: "remove",
  update: "update",
};

interface Pending {
  readonly client: Client;
  readonly change: ConfChange;
  readonly startMs: number;
  retryMs: number;
}

export interface MembershipChangesPorts {
  readonly answer: (client: Client, answer: Answer) => void;
}

/**
 * Changes of the membership that clients of this member asked for, until they are applied. Each is
 * proposed again while it is not: a repeated one changes nothing, and the first to be applied answers.
 */
export class MembershipChanges {
  readonly #raft: Raft;
  readonly #membership: Membership;
  readonly #ports: MembershipChangesPorts;
  #pending: Pending[] = [];

  constructor(raft: Raft, membership: Membership, ports: MembershipChangesPorts) {
    this.#raft = raft;
    this.#membership = membership;
    this.#ports = ports;
  }

  add(client: Client, change: ConfChange, nowMs: number): void {
    const pending = { client, change, startMs: nowMs, retryMs: nowMs };
    this.#pending.push(pending);
    this.#propose(pending, nowMs);
  }

  /** Tries again what is not in force, gives up what is too old, and gives votes to those who may have one. */
  tick(nowMs: number, patienceMs: number): void {
    for (const pending of this.#pending) {
      if (pending.startMs <= nowMs - patienceMs) this.#end(pending, internalError());
      else if (pending.retryMs <= nowMs) this.#propose(pending, nowMs);
    }
    this.#promote();
  }

  /** A change was applied, or refused where it stood in the log. */
  applied(change: ConfChange, verdict: ConfChangeVerdict): void {
    for (const pending of this.#pending) {
      if (isSame(pending.change, change)) this.#end(pending, confChangeAnswer(change, verdict));
    }
  }

  /** The member stops. */
  endAll(): void {
    for (const pending of this.#pending) this.#end(pending, internalError());
  }

  #propose(pending: Pending, nowMs: number): void {
    const { change } = pending;
    // What is in force already, through another's request, is decided like one that lost the race.
    const verdict = judgeConfChange(change, this.#membership);
    if (verdict !== "ok") {
      this.#end(pending, confChangeAnswer(change, verdict));
      return;
    }
    pending.retryMs = nowMs + RETRY_MS;
    const result = this.#raft.proposeConfChange({
      op: RAFT_OPS[change.kind],
      member: change.id,
      context: encodeConfChange(change),
    });
    // The only member cannot be removed: nobody could ever commit again.
    if (result.kind === "refused" && result.reason === "confChangeInvalid") {
      this.#end(pending, internalError());
    }
  }

  /** Leader: a learner that has caught up gets a vote. */
  #promote(): void {
    if (!this.#raft.isLeader) return;
    for (const member of this.#raft.conf.learners) {
      if (!this.#raft.isCaughtUp(member)) continue;
      this.#raft.proposeConfChange({ op: "addVoter", member, context: new Uint8Array(0) });
      return; // One at a time.
    }
  }

  #end(pending: Pending, answer: Answer): void {
    this.#pending = this.#pending.filter((other) => other !== pending);
    this.#ports.answer(pending.client, answer);
  }
}

function isSame(a: ConfChange, b: ConfChange): boolean {
  if (a.kind !== b.kind || a.id !== b.id) return false;
  if (a.kind === "remove" || b.kind === "remove") return true;
  return a.peerUrls.join() === b.peerUrls.join();
}
