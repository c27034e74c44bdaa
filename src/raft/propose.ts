import { assert } from "../lib/assert.js";
import {
  type ConfChange,
  ConfChangeError,
  decodeConfChange,
  encodeConfChange,
  nextConf,
} from "./conf-change.js";
import type { RaftCore } from "./core.js";
import { EntryType, NONE } from "./entry.js";
import type { Forward, ForwardOnce } from "./message.js";
import type { Progress } from "./progress.js";

export type ProposeRefusal =
  /** No leader is known. */
  | "noLeader"
  /** Too many proposals wait to be committed or forwarded. */
  | "tooMany"
  /** A leadership transfer is in progress. */
  | "transferring"
  /** Another membership change is not applied yet. */
  | "confChangePending"
  /** The membership change has no effect or is forbidden, see `nextConf`. */
  | "confChangeInvalid"
  /** The learner lacks too much of the log to be made a voter. */
  | "learnerBehind";

/**
 * An accepted proposal may still be lost: it is committed when its entry appears in `committed`.
 */
export type ProposeResult =
  | { readonly kind: "appended"; readonly index: number; readonly term: number }
  /** `isOnce`: appended only in `term` and at most once, so it can safely be sent again. */
  | {
      readonly kind: "forwarded";
      readonly leader: bigint;
      readonly term: number;
      readonly isOnce: boolean;
    }
  | { readonly kind: "refused"; readonly reason: ProposeRefusal };

const refused = (reason: ProposeRefusal): ProposeResult => ({ kind: "refused", reason });

/** @param number chosen by the proposer; 0 for none */
export function propose(
  core: RaftCore,
  type: EntryType,
  data: Uint8Array,
  number: number,
): ProposeResult {
  assert(number >= 0, "0 stands for no number");
  if (core.role === "leader") return proposeHere(core, type, data);
  if (core.lead === NONE) return refused("noLeader");
  assert(core.lead !== core.id, "proposals are forwarded to another member");
  const { forwardProposalsMax, forwardBytesMax } = core.limits;
  const full = core.forwards.length >= forwardProposalsMax;
  if (full || core.forwardBytes >= forwardBytesMax) return refused("tooMany");
  core.forwards.push({ type, data, number });
  core.forwardBytes += data.length;
  const isOnce = number > 0 && core.takesOnce.has(core.lead);
  return { kind: "forwarded", leader: core.lead, term: core.term, isOnce };
}

function proposeHere(core: RaftCore, type: EntryType, data: Uint8Array): ProposeResult {
  assert(core.role === "leader", "only a leader appends proposals");
  const { log, limits } = core;
  if (core.transferee !== NONE) return refused("transferring");
  const waiting = log.lastIndex - log.commit;
  if (waiting >= limits.uncommittedEntriesMax) return refused("tooMany");
  if (core.uncommittedBytes >= limits.uncommittedBytesMax) return refused("tooMany");
  if (type === EntryType.confChange) {
    const reason = refusalOf(core, decodeConfChange(data));
    if (reason !== undefined) return refused(reason);
  }
  const index = core.appendOwn(type, data);
  assert(index === log.lastIndex && index > log.commit, "a proposal is not committed yet");
  if (type === EntryType.confChange) core.pendingConfIndex = index;
  return { kind: "appended", index, term: core.term };
}

function refusalOf(core: RaftCore, change: ConfChange): ProposeRefusal | undefined {
  assert(core.pendingConfIndex <= core.log.lastIndex, "a membership change that waits is logged");
  if (core.log.applied < core.pendingConfIndex) return "confChangePending";
  if (change.op === "update") return undefined;
  if (nextConf(core.conf, change) === core.conf) return "confChangeInvalid";
  const promotes = change.op === "addVoter" && core.conf.learners.includes(change.member);
  if (promotes && !isCaughtUp(core, change.member)) return "learnerBehind";
  return undefined;
}

/** Leader: whether promoting `member` would not delay commits for long. */
export function isCaughtUp(core: RaftCore, member: bigint): boolean {
  const progress = core.progressOf(member);
  // A new learner starts out as active, so also require `replicate`, which takes a reply.
  if (progress?.state !== "replicate" || !progress.recentlyActive) return false;
  return progress.match + core.limits.promoteLagMax >= core.log.commit;
}

export function proposeConfChange(core: RaftCore, change: ConfChange): ProposeResult {
  return propose(core, EntryType.confChange, encodeConfChange(change), 0);
}

/** Accepts a follower's numbered proposals of this term. Rejected ones may be sent again. */
export function onForwardOnce(core: RaftCore, peer: Progress, message: ForwardOnce): void {
  assert(core.role === "leader", "only a leader takes proposals of others");
  assert(message.term === core.term, "a numbered proposal is for its term alone");
  if (core.transferee !== NONE) {
    core.holdForward(message);
    return;
  }
  const { forwarded } = peer;
  if (!forwarded.begin(message.life, message.oldest)) return;
  for (const { number, type, data } of message.proposals) {
    if (type !== EntryType.normal || forwarded.has(number)) continue;
    if (proposeHere(core, type, data).kind === "appended") forwarded.add(number);
  }
}

/** Accepts a follower's proposals. Rejected ones are lost; their proposers time out. */
export function onForward(core: RaftCore, message: Forward): void {
  if (core.role !== "leader") return;
  for (const { type, data } of message.proposals) {
    try {
      proposeHere(core, type, data);
    } catch (error) {
      // A malformed membership change is the peer's mistake, not ours.
      if (!(error instanceof ConfChangeError)) throw error;
    }
  }
}
