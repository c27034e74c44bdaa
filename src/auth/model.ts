import { ByteWriter } from "../v2/byte-writer.js";
import { jsonString } from "../v2/json.js";

/**
 * Users and roles as etcd stores and shows them (etcdserver/api/v2auth/auth.go). All strings are
 * latin1 bytes, as in the store.
 */

/** Names or patterns; null is Go's nil slice, which JSON shows as `null` instead of `[]`. */
export type NameList = readonly string[] | null;

export interface AuthUser {
  readonly name: string;
  /** The bcrypt hash of the password. */
  readonly hash: string;
  readonly roles: NameList;
}

export interface Permissions {
  readonly read: NameList;
  readonly write: NameList;
}

export interface AuthRole {
  readonly name: string;
  readonly permissions: Permissions;
  /** etcd quirk: a role created with empty changes keeps and shows them until it is updated. */
  readonly grant: Permissions | undefined;
  readonly revoke: Permissions | undefined;
}

/** May do everything; may be given to any user; always that of the user of this name. */
export const ROOT = "root";
/** What requests without credentials may do. */
export const GUEST = "guest";

const EVERYTHING: Permissions = { read: ["/*"], write: ["/*"] };
export const ROOT_ROLE: AuthRole = roleOf(ROOT, EVERYTHING);
/** The role that enabling creates unless there is one. */
export const GUEST_ROLE: AuthRole = roleOf(GUEST, EVERYTHING);

export function roleOf(name: string, permissions: Permissions): AuthRole {
  return { name, permissions, grant: undefined, revoke: undefined };
}

export function isEmptyList(list: NameList): boolean {
  return list === null || list.length === 0;
}

export function isEmptyPermissions(permissions: Permissions | undefined): boolean {
  return (
    permissions === undefined || (isEmptyList(permissions.read) && isEmptyList(permissions.write))
  );
}

/** User root has role root, whatever is stored. */
export function withRootRole(user: AuthUser): AuthUser {
  if (user.name !== ROOT || user.roles?.includes(ROOT) === true) return user;
  return { ...user, roles: [...(user.roles ?? []), ROOT] };
}

/** As Go's reflect.DeepEqual: nil is not an empty slice. */
export function equalLists(a: NameList, b: NameList): boolean {
  if (a === null || b === null) return a === b;
  return a.length === b.length && a.every((item, i) => item === b[i]);
}

/** Items beyond this length of a JSON text are left out: see `isTooLong`. */
const JSON_BYTES_MAX = 32 * 1024 * 1024;

/** Whether a text is incomplete, as it would be too long. */
export function isTooLong({ length }: ByteWriter): boolean {
  return length > JSON_BYTES_MAX;
}

/** The JSON of one value, as latin1 bytes. */
function jsonOf(write: (writer: ByteWriter) => void): string {
  const writer = new ByteWriter();
  write(writer);
  return writer.bytes.latin1Slice(0, writer.length);
}

/** A user's value in the store. */
export function encodeUser(user: AuthUser): string {
  return jsonOf((writer) => {
    writer.latin1('{"user":');
    jsonString(writer, user.name);
    writer.latin1(',"password":');
    jsonString(writer, user.hash);
    writer.latin1(',"roles":');
    writeList(writer, user.roles);
    writer.byte(0x7d);
  });
}

/** A role's value in the store. */
export function encodeRole(role: AuthRole): string {
  return jsonOf((writer) => writeRole(writer, role));
}

/** The answer to a change: names of roles only, no password. */
export function writeUser(writer: ByteWriter, user: AuthUser): void {
  writer.latin1('{"user":');
  jsonString(writer, user.name);
  writer.latin1(',"roles":');
  writeList(writer, user.roles);
  writer.byte(0x7d);
}

/** The answer to a read: whole roles, omitted without any. */
export function writeUserWithRoles(
  writer: ByteWriter,
  name: string,
  roles: readonly AuthRole[],
): void {
  writer.latin1('{"user":');
  jsonString(writer, name);
  if (roles.length > 0) {
    writer.latin1(',"roles":');
    writeItems(writer, roles, writeRole);
  }
  writer.byte(0x7d);
}

export function writeRole(
  writer: ByteWriter,
  { name, permissions, grant, revoke }: AuthRole,
): void {
  writer.latin1('{"role":');
  jsonString(writer, name);
  writer.latin1(',"permissions":');
  writePermissions(writer, permissions);
  if (grant !== undefined) {
    writer.latin1(',"grant":');
    writePermissions(writer, grant);
  }
  if (revoke !== undefined) {
    writer.latin1(',"revoke":');
    writePermissions(writer, revoke);
  }
  writer.byte(0x7d);
}

function writePermissions(writer: ByteWriter, { read, write }: Permissions): void {
  writer.latin1('{"kv":{"read":');
  writeList(writer, read);
  writer.latin1(',"write":');
  writeList(writer, write);
  writer.latin1("}}");
}

function writeList(writer: ByteWriter, list: NameList): void {
  if (list === null) writer.latin1("null");
  else writeItems(writer, list, jsonString);
}

export function writeItems<T>(
  writer: ByteWriter,
  items: readonly T[],
  write: (writer: ByteWriter, item: T) => void,
): void {
  writer.byte(0x5b);
  for (const [i, item] of items.entries()) {
    if (isTooLong(writer)) break;
    if (i > 0) writer.byte(0x2c);
    write(writer, item);
  }
  writer.byte(0x5d);
}
