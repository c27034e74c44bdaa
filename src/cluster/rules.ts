import type { MemberChange } from "./member-change.js";
import type { Member } from "./membership.js";

/**
 * Whether a conf change is valid for the membership. All members reach the same verdict when they
 * apply the entry.
 */
export type ConfChangeVerdict = "ok" | "idRemoved" | "idExists" | "idNotFound" | "peerUrlExists";

/** The part of a `Membership` that the rules use. */
export interface MemberList {
  members(): readonly { readonly id: bigint; readonly peerUrls: readonly string[] }[];
  isRemoved(id: bigint): boolean;
}

/**
 * Removed ids never return, no peer URL belongs to two members, only members can be changed or
 * removed (etcdserver/api/membership/cluster.go, ValidateConfigurationChange).
 */
export function judgeConfChange(change: MemberChange, list: MemberList): ConfChangeVerdict {
  if (list.isRemoved(change.id)) return "idRemoved";
  const members = list.members();
  const isMember = members.some((member) => member.id === change.id);
  const isAddition = change.kind === "add" || change.kind === "addLearner";
  if (isAddition && isMember) return "idExists";
  if (!isAddition && !isMember) return "idNotFound";
  if (change.kind === "remove" || change.kind === "promote") return "ok";
  const others = members.filter((member) => member.id !== change.id);
  const taken = new Set(others.flatMap((member) => member.peerUrls));
  return change.peerUrls.some((url) => taken.has(url)) ? "peerUrlExists" : "ok";
}

/** Whether the quorum would survive a change, judged by the member that got the request. */
export type StrictVerdict = "ok" | "notEnoughStarted" | "unhealthy";

/** Connection state for the strict rules. */
export interface Connectivity {
  /** Number of voters connected for at least 5 seconds, including this member. */
  readonly activeMembers: number;
  /** Whether the member is connected, or is this one. */
  isConnected(id: bigint): boolean;
}

/**
 * `--strict-reconfig-check`: an addition must leave a quorum of started members (one may always
 * become two) and needs all members connected; a removal must leave a quorum of started and, unless
 * the removed member is down, of connected members. Updates are not checked, and lasting learners
 * do not count (etcdserver/server.go, mayAddMember, mayRemoveMember and mayPromoteMember).
 */
export function judgeStrictly(
  change: MemberChange,
  members: readonly Member[],
  connectivity: Connectivity,
): StrictVerdict {
  const voters = members.filter(({ isLearner }) => !isLearner);
  const started = voters.filter(isStarted).length;
  switch (change.kind) {
    case "update":
      return "ok";
    case "promote":
      // A learner that has caught up has started.
      return started + 1 < quorumOf(voters.length + 1) ? "notEnoughStarted" : "ok";
    case "addLearner":
      return connectivity.activeMembers < voters.length ? "unhealthy" : "ok";
    case "add": {
      const isSecond = started === 1 && voters.length === 1;
      if (!isSecond && started < quorumOf(voters.length + 1)) return "notEnoughStarted";
      return connectivity.activeMembers < voters.length ? "unhealthy" : "ok";
    }
    case "remove": {
      const rest = voters.filter((member) => member.id !== change.id);
      if (rest.length === voters.length) return "ok";
      if (rest.filter(isStarted).length < quorumOf(rest.length)) return "notEnoughStarted";
      if (!connectivity.isConnected(change.id)) return "ok";
      const quorumAfter = 1 + Math.floor((voters.length - 1) / 2);
      return connectivity.activeMembers - 1 < quorumAfter ? "unhealthy" : "ok";
    }
  }
}

/** A member has started once it has published its name. */
export function isStarted(member: Member): boolean {
  return member.name !== "";
}

function quorumOf(members: number): number {
  return Math.floor(members / 2) + 1;
}
