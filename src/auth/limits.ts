import type { ApiResponse } from "../v2/plain.js";
import type { UserChange } from "./decode.js";
import type { NameList, Permissions } from "./model.js";
import { authError } from "./responses.js";

/** Bounds of what a root may store; etcd has none. Every member keeps all of it in memory. */
export const AUTH_LIMITS = {
  bodyBytesMax: 1024 * 1024,
  usersMax: 10_000,
  rolesMax: 10_000,
  /** Of a user. */
  userRolesMax: 256,
  /** Of a role, reads and writes each. */
  rolePatternsMax: 4096,
  /** Of a user or role. */
  nameBytesMax: 1024,
  patternBytesMax: 4096,
  /** Of a role as it is stored, which is one entry of the log. */
  roleBytesMax: 2 * 1024 * 1024,
  passwordBytesMax: 4096,
} as const;

const BAD_REQUEST = 400;

/** @returns the answer if the change goes beyond a limit */
export function refuseUserSize(change: UserChange): ApiResponse | undefined {
  const { nameBytesMax, passwordBytesMax } = AUTH_LIMITS;
  if (change.name.length > nameBytesMax) return tooLong("user name", nameBytesMax);
  if (change.password.length > passwordBytesMax) return tooLong("password", passwordBytesMax);
  for (const list of [change.roles, change.grant]) {
    if ((list ?? []).some((name) => name.length > nameBytesMax)) {
      return tooLong("role name", nameBytesMax);
    }
    const refusal = refuseUserRoles(list);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

export function refuseUserRoles(roles: NameList): ApiResponse | undefined {
  const { userRolesMax } = AUTH_LIMITS;
  return (roles ?? []).length > userRolesMax ? tooMany("roles of a user", userRolesMax) : undefined;
}

export function refuseRoleSize(
  name: string,
  permissions: Permissions | undefined,
): ApiResponse | undefined {
  const { nameBytesMax, patternBytesMax, rolePatternsMax } = AUTH_LIMITS;
  if (name.length > nameBytesMax) return tooLong("role name", nameBytesMax);
  for (const list of [permissions?.read, permissions?.write]) {
    if (list === undefined || list === null) continue;
    if (list.length > rolePatternsMax) return tooMany("patterns of a role", rolePatternsMax);
    if (list.some((pattern) => pattern.length > patternBytesMax)) {
      return tooLong("pattern", patternBytesMax);
    }
  }
  return undefined;
}

/** @param what in the plural */
export function tooMany(what: string, most: number): ApiResponse {
  return authError(BAD_REQUEST, `Too many ${what}: at most ${most} are allowed`);
}

export function tooLong(what: string, bytes: number): ApiResponse {
  return authError(BAD_REQUEST, `The ${what} is too long: at most ${bytes} bytes are allowed`);
}
