import { parseScanned, scanJson } from "../go/json-scanner.js";
import type { AuthRole, AuthUser, NameList, Permissions } from "./model.js";

/** The body of a PUT of a user. */
export interface UserChange {
  readonly name: string;
  readonly password: string;
  readonly roles: NameList;
  readonly grant: NameList;
  readonly revoke: NameList;
}

const NO_LISTS: Permissions = { read: null, write: null };

/**
 * The first JSON value of a request, by the rules of Go's encoding/json for the struct User: names
 * in any case, unknown ones ignored, null for what is not given.
 *
 * @returns undefined for what Go cannot decode
 */
export function readUserChange(body: Buffer): UserChange | undefined {
  const reader = new FieldReader();
  let [name, password] = ["", ""];
  let roles: NameList = null;
  let grant: NameList = null;
  let revoke: NameList = null;
  for (const [field, value] of reader.body(body)) {
    if (field === "user") name = reader.text(value, name);
    else if (field === "password") password = reader.text(value, password);
    else if (field === "roles") roles = reader.list(value);
    else if (field === "grant") grant = reader.list(value);
    else if (field === "revoke") revoke = reader.list(value);
  }
  return reader.isWrong ? undefined : { name, password, roles, grant, revoke };
}

/** The same for the struct Role. */
export function readRoleChange(body: Buffer): AuthRole | undefined {
  const reader = new FieldReader();
  let name = "";
  let permissions = NO_LISTS;
  let grant: Permissions | undefined;
  let revoke: Permissions | undefined;
  for (const [field, value] of reader.body(body)) {
    if (field === "role") name = reader.text(value, name);
    else if (field === "permissions") permissions = reader.permissions(value) ?? permissions;
    else if (field === "grant") grant = reader.permissions(value);
    else if (field === "revoke") revoke = reader.permissions(value);
  }
  return reader.isWrong ? undefined : { name, permissions, grant, revoke };
}

/** A stored value. @returns undefined for one that etcd could not read either */
export function decodeUser(value: string): AuthUser | undefined {
  const change = readUserChange(Buffer.from(value, "latin1"));
  if (change === undefined) return undefined;
  return { name: change.name, hash: change.password, roles: change.roles };
}

export function decodeRole(value: string): AuthRole | undefined {
  return readRoleChange(Buffer.from(value, "latin1"));
}

/** Reads values, and remembers whether one has the wrong type. */
class FieldReader {
  isWrong = false;

  body(body: Buffer): readonly (readonly [name: string, value: unknown])[] {
    const scan = scanJson(body, "prefix");
    if (scan.kind === "valid") return this.#fields(parseScanned(body, scan));
    this.isWrong = true;
    return [];
  }

  /** @param before kept for null */
  text(value: unknown, before: string): string {
    if (typeof value === "string") return toBytes(value);
    this.isWrong ||= value !== null;
    return before;
  }

  list(value: unknown): NameList {
    if (!Array.isArray(value)) {
      this.isWrong ||= value !== null;
      return null;
    }
    return value.map((item) => this.text(item, ""));
  }

  permissions(value: unknown): Permissions | undefined {
    if (value === null) return undefined;
    let permissions = NO_LISTS;
    for (const [field, kv] of this.#fields(value)) {
      if (field !== "kv") continue;
      for (const [kind, list] of this.#fields(kv)) {
        if (kind === "read" || kind === "write") {
          permissions = { ...permissions, [kind]: this.list(list) };
        }
      }
    }
    return permissions;
  }

  /** Of an object, or of null, which has none. */
  #fields(value: unknown): (readonly [name: string, value: unknown])[] {
    if (value === null) return [];
    if (typeof value === "object" && !Array.isArray(value)) {
      return Object.entries(value).map(([name, field]) => [folded(name), field] as const);
    }
    this.isWrong = true;
    return [];
  }
}

/** Latin1 bytes of the text's UTF-8; a lone surrogate becomes U+FFFD, as in Go. */
function toBytes(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}

/** Go's folding of field names: ASCII, and the two letters whose lower case is ASCII. */
function folded(name: string): string {
  return name
    .replaceAll("\u017f", "s")
    .replaceAll("\u212a", "k")
    .replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}
