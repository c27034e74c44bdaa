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
  if (change.kind === "add" && isMember) return "idExists";
  if (change.kind !== "add" && !isMember) return "idNotFound";
  if (change.kind === "remove" || change.kind === "promote") return "ok";
  const others = members.filter((member) => member.id !== change.id);
  const taken = new Set(others.flatMap((member) => member.peerUrls));
  return change.peerUrls.some((url) => taken.has(url)) ? "peerUrlExists" : "ok";
}

/** Whether the quorum would survive a change, judged by the member that got the request. */
export type StrictVerdict = "ok" | "notEnoughStarted" | "unhealthy";

/** Connection state for the strict rules. */
export interface Connectivity {
  /** Number of members connected for at least 5 seconds, including this one. */
  readonly activeMembers: number;
  /** Whether the member is connected, or is this one. */
  isConnected(id: bigint): boolean;
}

/**
 * `--strict-reconfig-check`: an addition must leave a quorum of started members (one may always
 * become two) and needs all members connected; a removal must leave a quorum of started and, unless
 * the removed member is down, of connected members. Updates are not checked (etcdserver/server.go,
 * mayAddMember and mayRemoveMember).
 */
export function judgeStrictly(
  change: MemberChange,
  members: readonly Member[],
  connectivity: Connectivity,
): StrictVerdict {
  switch (change.kind) {
    case "update":
    case "promote":
      return "ok";
    case "add": {
      const started = members.filter(isStarted).length;
      const isSecond = started === 1 && members.length === 1;
      if (!isSecond && started < quorumOf(members.length + 1)) return "notEnoughStarted";
      return connectivity.activeMembers < members.length ? "unhealthy" : "ok";
    }
    case "remove": {
      const rest = members.filter((member) => member.id !== change.id);
      if (rest.filter(isStarted).length < quorumOf(rest.length)) return "notEnoughStarted";
      if (!connectivity.isConnected(change.id)) return "ok";
      const quorumAfter = 1 + Math.floor((members.length - 1) / 2);
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
