import type { Cluster } from "./cluster.js";
import { callJsonApi } from "./json-api.js";
import type { CallOptions } from "./options.js";
import type { Permissions, Role, User } from "./responses.js";

const PATH = "/v2/auth";
const DONE = [200, 201];

/** Users, roles, and the switch. Once enabled, all but `isEnabled` require the role root. */
export class Auth {
  readonly users: Users;
  readonly roles: Roles;
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    this.users = new Users(cluster);
    this.roles = new Roles(cluster);
  }

  async isEnabled(options: CallOptions = {}): Promise<boolean> {
    const json = await callJsonApi(this.#cluster, "GET", `${PATH}/enable`, options);
    return (json as { enabled?: boolean }).enabled === true;
  }

  /** @throws ApiError with status 409 without a user root, or if it is enabled already */
  async enable(options: CallOptions = {}): Promise<void> {
    await callJsonApi(this.#cluster, "PUT", `${PATH}/enable`, options, undefined, DONE);
  }

  /** @throws ApiError with status 409 if it is disabled already */
  async disable(options: CallOptions = {}): Promise<void> {
    await callJsonApi(this.#cluster, "DELETE", `${PATH}/enable`, options, undefined, DONE);
  }
}

/** The users: `client.auth.users`. */
export class Users {
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Names, sorted. */
  async list(options: CallOptions = {}): Promise<readonly string[]> {
    const json = await callJsonApi(this.#cluster, "GET", `${PATH}/users`, options);
    return ((json as { users?: UserJson[] | null }).users ?? []).map(({ user }) => user);
  }

  /** @throws ApiError with status 404 */
  async get(name: string, options: CallOptions = {}): Promise<User> {
    return user(await callJsonApi(this.#cluster, "GET", userPath(name), options));
  }

  /** As in etcd, adding an existing user changes its password. */
  async add(name: string, password: string, options: CallOptions = {}): Promise<void> {
    await this.#put(name, { password }, options);
  }

  async setPassword(name: string, password: string, options: CallOptions = {}): Promise<void> {
    await this.#put(name, { password }, options);
  }

  async remove(name: string, options: CallOptions = {}): Promise<void> {
    await callJsonApi(this.#cluster, "DELETE", userPath(name), options, undefined, DONE);
  }

  /** All or nothing. @throws ApiError with status 404, 409 (has one of them already) */
  grant(name: string, roles: readonly string[], options: CallOptions = {}): Promise<User> {
    return this.#put(name, { grant: roles }, options);
  }

  /** All or nothing. @throws ApiError with status 404, 409 (lacks one of them) */
  revoke(name: string, roles: readonly string[], options: CallOptions = {}): Promise<User> {
    return this.#put(name, { revoke: roles }, options);
  }

  async #put(name: string, change: object, options: CallOptions): Promise<User> {
    const json = { user: name, ...change };
    return user(await callJsonApi(this.#cluster, "PUT", userPath(name), options, json, DONE));
  }
}

/** The roles: `client.auth.roles`. */
export class Roles {
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Names, sorted, with the built-in `root`. */
  async list(options: CallOptions = {}): Promise<readonly string[]> {
    const json = await callJsonApi(this.#cluster, "GET", `${PATH}/roles`, options);
    return ((json as { roles?: Role[] | null }).roles ?? []).map(({ role }) => role);
  }

  /** @throws ApiError with status 404 */
  async get(name: string, options: CallOptions = {}): Promise<Role> {
    return role(await callJsonApi(this.#cluster, "GET", rolePath(name), options));
  }

  /** Without permissions. @throws ApiError with status 409 if the role exists */
  async add(name: string, options: CallOptions = {}): Promise<void> {
    await this.#put(name, { permissions: kv({}) }, options);
  }

  async remove(name: string, options: CallOptions = {}): Promise<void> {
    await callJsonApi(this.#cluster, "DELETE", rolePath(name), options, undefined, DONE);
  }

  /** @throws ApiError with status 404, 409 (has one of them already) */
  grant(name: string, patterns: Patterns, options: CallOptions = {}): Promise<Role> {
    return this.#put(name, { grant: kv(patterns) }, options);
  }

  /** Skips permissions the role lacks. @throws ApiError with status 404, 400 (nothing changed) */
  revoke(name: string, patterns: Patterns, options: CallOptions = {}): Promise<Role> {
    return this.#put(name, { revoke: kv(patterns) }, options);
  }

  async #put(name: string, change: object, options: CallOptions): Promise<Role> {
    const json = { role: name, ...change };
    return role(await callJsonApi(this.#cluster, "PUT", rolePath(name), options, json, DONE));
  }
}

/** Keys: exact, or a prefix followed by `*`. */
export interface Patterns {
  readonly read?: readonly string[] | undefined;
  readonly write?: readonly string[] | undefined;
}

/** The server sends roles as names after a change, else as objects with permissions. */
interface UserJson {
  readonly user: string;
  readonly roles?: readonly (string | Role)[] | null;
}

function user(json: unknown): User {
  const { user: name, roles } = json as UserJson;
  return { user: name, roles: (roles ?? []).map((r) => (typeof r === "string" ? r : r.role)) };
}

function role(json: unknown): Role {
  const { role: name, permissions } = json as {
    role: string;
    permissions?: { kv?: { read?: string[] | null; write?: string[] | null } };
  };
  return { role: name, permissions: kv(permissions?.kv ?? {}) };
}

function kv(patterns: {
  read?: readonly string[] | null | undefined;
  write?: readonly string[] | null | undefined;
}): Permissions {
  return { kv: { read: patterns.read ?? [], write: patterns.write ?? [] } };
}

function userPath(name: string): string {
  return `${PATH}/users/${encodeURIComponent(name)}`;
}

function rolePath(name: string): string {
  return `${PATH}/roles/${encodeURIComponent(name)}`;
}
