import { cleanPath } from "../../go/clean-path.js";
import { promptPassword } from "../cli/password.js";
import { Session } from "../cli/session.js";
import type { Context } from "../cli/spec.js";
import { EXIT, Failure, failure } from "../output/exit.js";
import { err, out } from "../output/terminal.js";
import { callApi } from "./json-call.js";

/** The commands of auth, user and role. */

interface Permission {
  readonly read?: readonly string[] | null;
  readonly write?: readonly string[] | null;
}

interface Role {
  readonly role?: string;
  readonly permissions?: { readonly kv?: Permission };
}

interface User {
  readonly user?: string;
  /** Names, or whole roles from some versions of the server. */
  readonly roles?: readonly (string | Role)[] | null;
}

export function authEnable(context: Context): Promise<number> {
  return setAuth(context, "PUT", "Authentication Enabled\n");
}

export function authDisable(context: Context): Promise<number> {
  return setAuth(context, "DELETE", "Authentication Disabled\n");
}

async function setAuth(context: Context, method: "PUT" | "DELETE", done: string): Promise<number> {
  noArguments(context);
  const session = await open(context);
  await callApi(session, { method, path: "/v2/auth/enable", ...CHANGE });
  out(done);
  return EXIT.ok;
}

export async function userList(context: Context): Promise<number> {
  noArguments(context);
  const session = await open(context);
  const { json } = await callApi(session, { method: "GET", path: "/v2/auth/users", ...READ });
  const { users } = json as { readonly users?: readonly User[] | null };
  for (const { user = "" } of users ?? []) out(`${user}\n`);
  return EXIT.ok;
}

export async function userGet(context: Context): Promise<number> {
  const name = userName(context);
  const session = await open(context);
  const { json } = await callApi(session, { method: "GET", path: userPath(name), ...READ });
  const { user = "", roles } = json as User;
  const names = (roles ?? []).map((role) => (typeof role === "string" ? role : (role.role ?? "")));
  // For each whole role etcdctl 3.4 prints a space before the names; scripts split this line.
  const blanks = (roles ?? []).map((role) => (typeof role === "string" ? "" : " ")).join("");
  out(`User: ${user}\nRoles: ${blanks}${names.join(" ")}\n`);
  return EXIT.ok;
}

export async function userAdd(context: Context): Promise<number> {
  const argument = userName(context);
  const session = await open(context);
  const colon = argument.indexOf(":");
  const user = colon < 0 ? argument : argument.slice(0, colon);
  const password = colon < 0 ? await promptPassword("New password: ") : argument.slice(colon + 1);
  await callApi(session, {
    method: "PUT",
    path: userPath(user),
    body: { user, ...withPassword(password), roles: null },
    ...CHANGE,
  });
  out(`User ${user} created\n`);
  return EXIT.ok;
}

export async function userRemove(context: Context): Promise<number> {
  const user = userName(context);
  const session = await open(context);
  await callApi(session, { method: "DELETE", path: userPath(user), ...CHANGE });
  out(`User ${user} removed\n`);
  return EXIT.ok;
}

export async function userPasswd(context: Context): Promise<number> {
  const user = userName(context);
  const session = await open(context);
  const password = await promptPassword("New password: ");
  await callApi(session, {
    method: "PUT",
    path: userPath(user),
    body: { user, ...withPassword(password), roles: null },
    ...READ,
  });
  out("Password updated\n");
  return EXIT.ok;
}

export function userGrant(context: Context): Promise<number> {
  return changeRolesOf(context, "grant");
}

export function userRevoke(context: Context): Promise<number> {
  return changeRolesOf(context, "revoke");
}

async function changeRolesOf(context: Context, verb: "grant" | "revoke"): Promise<number> {
  const roles = context.flags.strings("roles");
  if (roles.length === 0) throw failure("No roles specified; please use `--roles`");
  const user = userName(context);
  const session = await open(context);
  await callApi(session, {
    method: "PUT",
    path: userPath(user),
    body: { user, roles: null, [verb]: roles },
    ...READ,
  });
  out(`User ${user} updated\n`);
  return EXIT.ok;
}

export async function roleList(context: Context): Promise<number> {
  noArguments(context);
  const session = await open(context);
  const { json } = await callApi(session, {
    method: "GET",
    path: "/v2/auth/roles",
    expected: [200],
  });
  const { roles } = json as { readonly roles?: readonly Role[] | null };
  for (const { role = "" } of roles ?? []) out(`${role}\n`);
  return EXIT.ok;
}

export async function roleGet(context: Context): Promise<number> {
  const name = roleName(context);
  const session = await open(context);
  const { role = "", permissions } = await readRole(session, name);
  const lines = (keys: readonly string[] | null | undefined) =>
    (keys ?? []).map((key) => `\t${key}`);
  out(
    [
      `Role: ${role}`,
      "KV Read:",
      ...lines(permissions?.kv?.read),
      "KV Write:",
      ...lines(permissions?.kv?.write),
      "",
    ].join("\n"),
  );
  return EXIT.ok;
}

export async function roleAdd(context: Context): Promise<number> {
  const role = roleName(context);
  const session = await open(context);
  if (await roleExists(session, role)) throw failure(`Role ${role} already exists`);
  await callApi(session, {
    method: "PUT",
    path: rolePath(role),
    body: { role, permissions: NO_PERMISSIONS },
    ...CHANGE,
  });
  out(`Role ${role} created\n`);
  return EXIT.ok;
}

export async function roleRemove(context: Context): Promise<number> {
  const role = roleName(context);
  const session = await open(context);
  await callApi(session, { method: "DELETE", path: rolePath(role), ...CHANGE });
  out(`Role ${role} removed\n`);
  return EXIT.ok;
}

export function roleGrant(context: Context): Promise<number> {
  return changePermissions(context, "grant");
}

export function roleRevoke(context: Context): Promise<number> {
  return changePermissions(context, "revoke");
}

async function changePermissions(context: Context, verb: "grant" | "revoke"): Promise<number> {
  const { flags } = context;
  const path = flags.string("path");
  if (path === "") throw failure("No path specified; please use `--path`");
  const canonical = cleanPath(path);
  if (canonical !== path) throw failure(`Not canonical path; please use \`--path=${canonical}\``);
  const modes = ["read", "write", "readwrite"].filter((mode) => flags.bool(mode));
  const [mode] = modes;
  if (modes.length !== 1) {
    throw failure("Please specify exactly one of --read, --write or --readwrite");
  }
  const role = roleName(context);
  const session = await open(context);
  const before = await readRole(session, role);
  const { json: after } = await callApi(session, {
    method: "PUT",
    path: rolePath(role),
    body: {
      role,
      permissions: NO_PERMISSIONS,
      [verb]: {
        kv: {
          read: mode === "write" ? null : [path],
          write: mode === "read" ? null : [path],
        },
      },
    },
    ...READ,
  });
  if (JSON.stringify(after) === JSON.stringify(before)) {
    out(`Role unchanged; already ${verb === "grant" ? "granted" : "revoked"}`);
  }
  out(`Role ${role} updated\n`);
  return EXIT.ok;
}

const CHANGE = { expected: [200, 201], hasReason: true } as const;
const READ = { expected: [200], hasReason: true } as const;
const NO_PERMISSIONS = { kv: { read: null, write: null } };

/** With --debug, prints the endpoints a second time, like etcdctl for these commands. */
async function open(context: Context): Promise<Session> {
  const session = await Session.open(context);
  if (context.globals.bool("debug")) {
    err(`Cluster-Endpoints: ${session.endpoints.join(", ")}\n`);
  }
  return session;
}

async function readRole(session: Session, role: string): Promise<Role> {
  const { json } = await callApi(session, { method: "GET", path: rolePath(role), ...READ });
  return json as Role;
}

/** Any failure counts as absent: the write that follows reports it. */
async function roleExists(session: Session, role: string): Promise<boolean> {
  try {
    await readRole(session, role);
    return true;
  } catch (error) {
    if (error instanceof Failure) return false;
    throw error;
  }
}

function withPassword(password: string): { readonly password?: string } {
  return password === "" ? {} : { password };
}

function userPath(name: string): string {
  return `/v2/auth/users/${name}`;
}

function rolePath(name: string): string {
  return `/v2/auth/roles/${name}`;
}

function userName({ args }: Context): string {
  if (args.length !== 1) throw failure("Please provide a username");
  return args[0] as string;
}

function roleName({ args }: Context): string {
  if (args.length !== 1) throw failure("Please provide a role name");
  return args[0] as string;
}

function noArguments({ args }: Context): void {
  if (args.length > 0) throw failure("No arguments accepted");
}
