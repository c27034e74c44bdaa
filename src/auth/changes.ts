import { type Command, CommandOp, commandOf } from "../store/command.js";
import type { ErrorCode } from "../store/refusal.js";
import type { UserChange } from "./decode.js";
import {
  AUTH_LIMITS,
  refuseRoleSize,
  refuseUserRoles,
  refuseUserSize,
  tooLong,
  tooMany,
} from "./limits.js";
import { isSameRole, mergeRole, mergeRoles } from "./merge.js";
import {
  type AuthRole,
  type AuthUser,
  encodeRole,
  encodeUser,
  equalLists,
  GUEST,
  GUEST_ROLE,
  isEmptyList,
  isEmptyPermissions,
  ROOT,
  withRootRole,
  writeRole,
  writeUser,
} from "./model.js";
import { AUTH_PATH, ENABLED_PATH, ROLES_PATH, rolePath, USERS_PATH, userPath } from "./paths.js";
import { authError, authFailure, authJson, authMessage, EMPTY } from "./responses.js";
import {
  type AuthOutcome,
  type AuthPart,
  type AuthScript,
  apply,
  CHANGED,
  confirm,
  EXISTS,
  hash,
  MISSING,
  refused,
  type ScriptContext,
} from "./script.js";

/**
 * The changes of /v2/auth, step by step as in etcd (v2auth/auth.go, v2http/client_auth.go). Each
 * command takes an etcd index. Where etcd overwrites what another member changed since it read, an
 * update here is compared with what was read, and begins again.
 */

/** Updates that begin again, as others change the same user or role. */
const TRIES_MAX = 100;
const { roleBytesMax } = AUTH_LIMITS;

/** @param name of the path, latin1 bytes */
export function* putUser(context: ScriptContext, name: string, change: UserChange): AuthScript {
  if (change.name !== name) {
    return refused(authMessage(400, "User JSON name does not match the name in the URL"));
  }
  const tooLarge = refuseUserSize(change);
  if (tooLarge !== undefined) return refused(tooLarge);
  const hasRoles = !isEmptyList(change.roles);
  if (isEmptyList(change.grant) && isEmptyList(change.revoke)) {
    if (hasRoles) return yield* createUser(context, change, 200);
    yield* confirm();
    const isNew = context.state.lookForUser(name) === undefined;
    return yield* isNew ? createUser(context, change, 201) : updateUser(context, change);
  }
  if (hasRoles) {
    return refused(authMessage(400, "User JSON contains both roles and grant/revoke"));
  }
  return yield* updateUser(context, change);
}

function* createUser(context: ScriptContext, change: UserChange, status: number): AuthScript {
  const { name, password } = change;
  if (password === "") {
    return refused(authError(400, `Cannot create user ${name} with an empty password`));
  }
  if (context.state.userCount >= AUTH_LIMITS.usersMax) {
    return refused(tooMany("users", AUTH_LIMITS.usersMax));
  }
  const user = withRootRole({ name, hash: yield* hash(password), roles: change.roles });
  const code = yield* write(context, CommandOp.create, userPath(name), encodeUser(user));
  if (code === EXISTS) return refused(authError(409, `User ${name} already exists.`));
  if (code !== undefined) return refused(authFailure());
  return {
    answer: authJson(status, (writer) => writeUser(writer, user)),
    change: { text: "created a user", field: "user-name", name },
  };
}

function* updateUser(context: ScriptContext, change: UserChange): AuthScript {
  const { name, password } = change;
  let newHash: string | undefined;
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    yield* confirm();
    const old = context.state.lookForUser(name);
    if (old === undefined) return refused(authError(404, `User ${name} does not exist.`));
    const roles = mergeRoles(old, change);
    if ("conflict" in roles) return refused(authError(409, roles.conflict));
    const tooLarge = refuseUserRoles(roles);
    if (tooLarge !== undefined) return refused(tooLarge);
    if (password === "" && equalLists(old.roles, roles)) {
      const message = "User not updated. Use grant/revoke/password to update the user.";
      return refused(authError(400, message));
    }
    if (password !== "") newHash ??= yield* hash(password);
    const user: AuthUser = { name: old.name, hash: newHash ?? old.hash, roles };
    const value = encodeUser(user);
    const code = yield* replace(context, userPath(name), value, old.modifiedIndex);
    if (code === CHANGED || code === MISSING) continue;
    if (code !== undefined) break;
    return {
      answer: authJson(200, (writer) => writeUser(writer, user)),
      change: { text: "updated a user", field: "user-name", name },
    };
  }
  return refused(authFailure());
}

export function* deleteUser(context: ScriptContext, name: string): AuthScript {
  const { state } = context;
  if (state.lookAtSwitch() && name === ROOT) {
    return refused(authError(403, "Cannot delete root user while auth is enabled."));
  }
  const code = yield* write(context, CommandOp.delete, userPath(name), "");
  if (code === MISSING) return refused(authError(404, `User ${name} does not exist`));
  if (code !== undefined) return refused(authFailure());
  return { answer: EMPTY, change: { text: "deleted a user", field: "user-name", name } };
}

/** @param name of the path, latin1 bytes */
export function* putRole(context: ScriptContext, name: string, change: AuthRole): AuthScript {
  if (change.name !== name) {
    return refused(authMessage(400, "Role JSON name does not match the name in the URL"));
  }
  for (const permissions of [change.permissions, change.grant, change.revoke]) {
    const tooLarge = refuseRoleSize(name, permissions);
    if (tooLarge !== undefined) return refused(tooLarge);
  }
  if (isEmptyPermissions(change.grant) && isEmptyPermissions(change.revoke)) {
    return yield* createRole(context, change);
  }
  if (!isEmptyPermissions(change.permissions)) {
    return refused(authMessage(400, "Role JSON contains both permissions and grant/revoke"));
  }
  return yield* updateRole(context, change);
}

function* createRole(context: ScriptContext, role: AuthRole): AuthScript {
  const { name } = role;
  if (name === ROOT) return refused(rootIsFixed());
  if (context.state.roleCount >= AUTH_LIMITS.rolesMax) {
    return refused(tooMany("roles", AUTH_LIMITS.rolesMax));
  }
  const value = encodeRole(role);
  if (value.length > roleBytesMax) return refused(tooLong("role", roleBytesMax));
  const code = yield* write(context, CommandOp.create, rolePath(name), value);
  if (code === EXISTS) return refused(authError(409, `Role ${name} already exists.`));
  if (code !== undefined) return refused(authFailure());
  return {
    answer: authJson(201, (writer) => writeRole(writer, role)),
    change: { text: "created a new role", field: "role-name", name },
  };
}

function* updateRole(context: ScriptContext, change: AuthRole): AuthScript {
  const { name } = change;
  if (name === ROOT) return refused(rootIsFixed());
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    yield* confirm();
    const old = context.state.lookForRole(name);
    if (old === undefined) return refused(authError(404, `Role ${name} does not exist.`));
    const role = mergeRole(old, change);
    if ("conflict" in role) return refused(authError(409, role.conflict));
    const tooLarge = refuseRoleSize(name, role.permissions);
    if (tooLarge !== undefined) return refused(tooLarge);
    if (isSameRole(old, role)) {
      const message = "Role not updated. Use grant/revoke to update the role.";
      return refused(authError(400, message));
    }
    const value = encodeRole(role);
    if (value.length > roleBytesMax) return refused(tooLong("role", roleBytesMax));
    const code = yield* replace(context, rolePath(name), value, old.modifiedIndex);
    if (code === CHANGED || code === MISSING) continue;
    if (code !== undefined) break;
    return {
      answer: authJson(200, (writer) => writeRole(writer, role)),
      change: { text: "updated a new role", field: "role-name", name },
    };
  }
  return refused(authFailure());
}

export function* deleteRole(context: ScriptContext, name: string): AuthScript {
  if (name === ROOT) return refused(rootIsFixed());
  const code = yield* write(context, CommandOp.delete, rolePath(name), "");
  if (code === MISSING) return refused(authError(404, `Role ${name} doesn't exist.`));
  if (code !== undefined) return refused(authFailure());
  return { answer: EMPTY, change: { text: "deleted role", field: "role-name", name } };
}

/** Creates the role guest, with all permissions, unless there is one. */
export function* enable(context: ScriptContext): AuthScript {
  const { state } = context;
  if (state.lookAtSwitch()) return refused(authError(409, "already enabled"));
  yield* confirm();
  if (state.lookForUser(ROOT) === undefined) {
    return refused(authError(409, "No root user available, please create one"));
  }
  if (state.lookForRole(GUEST) === undefined) {
    const value = encodeRole(GUEST_ROLE);
    const code = yield* write(context, CommandOp.create, rolePath(GUEST), value);
    if (code !== undefined && code !== EXISTS) return refused(authFailure());
  }
  return yield* setSwitch(context, true);
}

export function* disable(context: ScriptContext): AuthScript {
  if (!context.state.lookAtSwitch()) return refused(authError(409, "already disabled"));
  return yield* setSwitch(context, false);
}

function* setSwitch(context: ScriptContext, isOn: boolean): AuthPart<AuthOutcome> {
  const code = yield* write(context, CommandOp.update, ENABLED_PATH, String(isOn));
  if (code !== undefined) return refused(authFailure());
  const text = isOn ? "enabled auth" : "disabled auth";
  return { answer: EMPTY, change: { text, field: "", name: "" } };
}

function rootIsFixed() {
  return authError(403, `Cannot modify role ${ROOT}: is root role.`);
}

/** Applies one command after what the first change of a cluster creates. */
function* write(
  context: ScriptContext,
  op: CommandOp,
  path: string,
  value: string,
): AuthPart<ErrorCode | undefined> {
  yield* ensureDirectories(context);
  return yield* apply(commandOf(op, path, value, context.clusterMs()));
}

/** @param prevIndex of the last change that was taken into account */
function* replace(
  context: ScriptContext,
  path: string,
  value: string,
  prevIndex: number,
): AuthPart<ErrorCode | undefined> {
  yield* ensureDirectories(context);
  const time = context.clusterMs();
  return yield* apply(commandOf(CommandOp.compareAndSwap, path, value, time, { prevIndex }));
}

/** etcd's four bookkeeping nodes; another member may create them at the same time. */
function* ensureDirectories({ state, clusterMs }: ScriptContext): AuthPart<void> {
  const nodes: readonly (readonly [path: string, value: string, isDirectory: boolean])[] = [
    [AUTH_PATH, "", true],
    [USERS_PATH, "", true],
    [ROLES_PATH, "", true],
    [ENABLED_PATH, "false", false],
  ];
  for (const [path, value, isDirectory] of nodes) {
    if (state.has(path)) continue;
    const command: Command = commandOf(CommandOp.create, path, value, clusterMs(), { isDirectory });
    yield* apply(command);
  }
}
