import type { MemberChange } from "./member-change.js";
import type { Member } from "./membership.js";

/**
 * Whether a conf change fits the membership. Every member decides it alike when it applies the
 * entry.
 */
export type ConfChangeVerdict = "ok" | "idRemoved" | "idExists" | "idNotFound" | "peerUrlExists";

/** What the rules look at; a `Membership` is one. */
export interface MemberList {
  members(): readonly { readonly id: bigint; readonly peerUrls: readonly string[] }[];
  isRemoved(id: bigint): boolean;
}

/**
 * Removed ids never return, no peer URL belongs to two members, only members change or leave
 * (etcdserver/api/membership/cluster.go, ValidateConfigurationChange).
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

/** Whether the quorum survives a change, as the leader sees it when it is asked. */
export type StrictVerdict = "ok" | "notEnoughStarted" | "unhealthy";

/** What the strict rules know about connections. */
export interface Connectivity {
  /** Of the members, those connected for at least 5 seconds; this one included. */
  readonly activeMembers: number;
  /** The member is this one, or is connected. */
  isConnected(id: bigint): boolean;
}

/**
 * `--strict-reconfig-check`: an addition must leave a quorum of started members (one may always
 * become two) and find all connected, a removal must leave a quorum of started and of connected
 * ones; a member that is down may always go. A changed URL is not checked (etcdserver/server.go,
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
