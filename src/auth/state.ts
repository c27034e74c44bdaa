import type { Cursor } from "../btree/cursor.js";
import { Action, type Event } from "../store/event.js";
import type { Node } from "../store/node.js";
import { decodeRole, decodeUser } from "./decode.js";
import { type AuthRole, type AuthUser, ROOT, ROOT_ROLE, withRootRole } from "./model.js";
import { AUTH_PATH, ENABLED_PATH, ROLES_PATH, USERS_PATH } from "./paths.js";
import { Patterns } from "./patterns.js";

const BELOW = `${AUTH_PATH}/`;
const USERS_BELOW = `${USERS_PATH}/`;
const ROLES_BELOW = `${ROLES_PATH}/`;

/** A user, and the index of its last change. */
export interface KnownUser extends AuthUser {
  readonly modifiedIndex: number;
}

/** A role, the index of its last change, and its patterns. */
export interface KnownRole extends AuthRole {
  readonly modifiedIndex: number;
  readonly reads: Patterns;
  readonly writes: Patterns;
}

const ROOT_KNOWN = known(ROOT_ROLE, 0);

/**
 * Users, roles and the switch, derived from the replicated store's keys below "/2". The same on
 * every member at the same index. Pass it every event for which `concerns` is true, in order; call
 * `restoreFrom` after a snapshot.
 *
 * Methods that begin with `look` stand for a read of the store in etcd, and are counted like one.
 */
export class AuthState {
  readonly #users = new Map<string, KnownUser>();
  readonly #roles = new Map<string, KnownRole>();
  /** Files and directories below AUTH_PATH, itself included, that are not users or roles. */
  readonly #others = new Set<string>();
  readonly #onLook: (isFound: boolean) => void;
  #isEnabled = false;

  /** @param onLook called for each counted read */
  constructor(onLook: (isFound: boolean) => void) {
    this.#onLook = onLook;
  }

  /** Cheap test for the apply loop. */
  static concerns(path: string): boolean {
    return path.charCodeAt(1) === 0x32 && (path === AUTH_PATH || path.startsWith(BELOW));
  }

  get isEnabled(): boolean {
    return this.#isEnabled;
  }

  get userCount(): number {
    return this.#users.size;
  }

  get roleCount(): number {
    return this.#roles.size;
  }

  apply({ action, node }: Event): void {
    if (action === Action.delete || action === Action.compareAndDelete) this.#remove(node.path);
    else this.#set(node);
  }

  /** Rebuilds it from a restored store. */
  restoreFrom(cursor: Cursor<Node>): void {
    this.#users.clear();
    this.#roles.clear();
    this.#others.clear();
    this.#isEnabled = false;
    cursor.seek(AUTH_PATH);
    for (let node = cursor.next(); node !== undefined; node = cursor.next()) {
      if (!AuthState.concerns(node.path)) return;
      this.#set(node);
    }
  }

  #set(node: Node): void {
    const { path, value, modifiedIndex } = node;
    if (path.startsWith(USERS_BELOW)) {
      const user = decodeUser(value);
      if (user === undefined) this.#users.delete(path.slice(USERS_BELOW.length));
      else {
        const { name, hash, roles } = withRootRole(user);
        this.#users.set(path.slice(USERS_BELOW.length), { name, hash, roles, modifiedIndex });
      }
    } else if (path.startsWith(ROLES_BELOW)) {
      const role = decodeRole(value);
      if (role === undefined) this.#roles.delete(path.slice(ROLES_BELOW.length));
      else this.#roles.set(path.slice(ROLES_BELOW.length), known(role, modifiedIndex));
    } else {
      this.#others.add(path);
      if (path === ENABLED_PATH) this.#isEnabled = value === "true";
    }
  }

  #remove(path: string): void {
    if (path.startsWith(USERS_BELOW)) this.#users.delete(path.slice(USERS_BELOW.length));
    else if (path.startsWith(ROLES_BELOW)) this.#roles.delete(path.slice(ROLES_BELOW.length));
  }

  /** Whether one of the bookkeeping nodes exists. */
  has(path: string): boolean {
    return this.#others.has(path);
  }

  /** Not counted. */
  user(name: string): KnownUser | undefined {
    return this.#users.get(name);
  }

  lookAtSwitch(): boolean {
    this.#onLook(this.#others.has(ENABLED_PATH));
    return this.#isEnabled;
  }

  lookForUser(name: string): KnownUser | undefined {
    return this.#looked(this.#users.get(name));
  }

  /** The role root is built in. */
  lookForRole(name: string): KnownRole | undefined {
    return name === ROOT ? ROOT_KNOWN : this.#looked(this.#roles.get(name));
  }

  /** Names in byte order; as in a listing of keys, not those that begin with "_". */
  lookForUsers(): string[] {
    this.#onLook(this.#others.has(USERS_PATH));
    return listed(this.#users.keys());
  }

  /** The role root included. */
  lookForRoles(): string[] {
    this.#onLook(this.#others.has(ROLES_PATH));
    return listed([ROOT, ...this.#roles.keys()]);
  }

  #looked<T>(found: T | undefined): T | undefined {
    this.#onLook(found !== undefined);
    return found;
  }
}

function listed(names: Iterable<string>): string[] {
  return [...names].filter((name) => !name.startsWith("_")).sort();
}

function known(role: AuthRole, modifiedIndex: number): KnownRole {
  const { read, write } = role.permissions;
  return { ...role, modifiedIndex, reads: new Patterns(read), writes: new Patterns(write) };
}
