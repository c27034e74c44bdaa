import type { UserChange } from "./decode.js";
import {
  type AuthRole,
  type AuthUser,
  equalLists,
  type NameList,
  type Permissions,
  roleOf,
} from "./model.js";

/** Grants and revocations of one request: grants first, all or nothing (v2auth/auth.go, merge). */

/** Why a change is not possible; the message follows "auth: ". */
export interface MergeConflict {
  readonly conflict: string;
}

/** The roles of a user after a change: sorted, each once. */
export function mergeRoles(
  user: AuthUser,
  { grant, revoke }: UserChange,
): readonly string[] | MergeConflict {
  const roles = new Set(user.roles);
  for (const role of grant ?? []) {
    if (roles.has(role)) {
      return { conflict: `Granting duplicate role ${role} for user ${user.name}` };
    }
    roles.add(role);
  }
  for (const role of revoke ?? []) {
    if (!roles.delete(role)) {
      return { conflict: `Revoking ungranted role ${role} for user ${user.name}` };
    }
  }
  return [...roles].sort();
}

/** Revoking what was not granted is no conflict. */
export function mergeRole(role: AuthRole, { grant, revoke }: AuthRole): AuthRole | MergeConflict {
  let { read, write } = role.permissions;
  if (grant !== undefined) {
    const twice = firstOf(grant.read, read);
    if (twice !== undefined) return { conflict: `Granting duplicate read permission ${twice}` };
    const twiceWritten = firstOf(grant.write, write);
    if (twiceWritten !== undefined) {
      return { conflict: `Granting duplicate write permission ${twiceWritten}` };
    }
    read = united(read, grant.read);
    write = united(write, grant.write);
  }
  if (revoke !== undefined) {
    read = without(read, revoke.read);
    write = without(write, revoke.write);
  }
  return roleOf(role.name, { read, write });
}

/** As Go's reflect.DeepEqual. */
export function isSameRole(a: AuthRole, b: AuthRole): boolean {
  return (
    isSame(a.permissions, b.permissions) && isSame(a.grant, b.grant) && isSame(a.revoke, b.revoke)
  );
}

function isSame(a: Permissions | undefined, b: Permissions | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return equalLists(a.read, b.read) && equalLists(a.write, b.write);
}

/** The first of `added` that is there already, or given twice. */
function firstOf(added: NameList, present: NameList): string | undefined {
  const all = new Set(present);
  for (const item of added ?? []) {
    if (all.has(item)) return item;
    all.add(item);
  }
  return undefined;
}

function united(a: NameList, b: NameList): readonly string[] {
  return [...new Set([...(a ?? []), ...(b ?? [])])].sort();
}

function without(list: NameList, removed: NameList): readonly string[] {
  const rest = new Set(list);
  for (const item of removed ?? []) rest.delete(item);
  return [...rest].sort();
}
