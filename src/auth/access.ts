import { GUEST, ROOT } from "./model.js";
import type { AuthState, KnownUser } from "./state.js";

/** What a request wants below /v2/keys. */
export interface KeyAccess {
  /** The path after "/v2/keys", decoded and not cleaned: a trailing slash stays. Latin1 bytes. */
  readonly key: string;
  readonly isWrite: boolean;
  readonly isRecursive: boolean;
}

/**
 * Whether a user may do it: the union of all roles decides. A role that does not exist is skipped
 * (v2http/client_auth.go, hasKeyPrefixAccess).
 */
export function userMay(state: AuthState, user: KnownUser, access: KeyAccess): boolean {
  const { key, isWrite, isRecursive } = access;
  for (const name of user.roles ?? []) {
    if (name === ROOT) return true;
    const role = state.lookForRole(name);
    if (role === undefined) continue;
    if ((isWrite ? role.writes : role.reads).cover(key, isRecursive)) return true;
  }
  return false;
}

/** Whether a request without credentials may do it. As in etcd, never checked as recursive. */
export function guestMay(state: AuthState, { key, isWrite }: KeyAccess): boolean {
  const role = state.lookForRole(GUEST);
  return role !== undefined && (isWrite ? role.writes : role.reads).cover(key, false);
}

export function hasRootRole(user: KnownUser): boolean {
  return user.roles?.includes(ROOT) === true;
}
