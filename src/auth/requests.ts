import { cleanPath } from "../go/clean-path.js";
import { parseForm } from "../v2/form.js";
import { type ApiResponse, NOT_FOUND, refuseMethod } from "../v2/plain.js";
import { type ApiRequest, Method } from "../v2/request.js";
import { deleteRole, deleteUser, disable, enable, putRole, putUser } from "./changes.js";
import { readRoleChange, readUserChange } from "./decode.js";
import { AUTH_LIMITS, tooLong } from "./limits.js";
import { type AuthRole, writeItems, writeRole, writeUserWithRoles } from "./model.js";
import { authError, authFailure, authJson, authMessage, INVALID_PATH } from "./responses.js";
import type { AuthScript, ScriptContext } from "./script.js";
import type { AuthState } from "./state.js";

const PREFIX = "/v2/auth";
const ALLOWED = [Method.get, Method.put, Method.delete];

/** What a request below /v2/auth is about. */
export type AuthTarget =
  | { readonly kind: "answer"; readonly answer: ApiResponse }
  /** `name` is latin1 bytes; undefined for the list of all. */
  | { readonly kind: "users" | "roles"; readonly name: string | undefined }
  | { readonly kind: "enable" };

/** A response, or the steps to it. */
export type AuthHandled =
  | { readonly kind: "answer"; readonly answer: ApiResponse }
  | { readonly kind: "script"; readonly script: AuthScript };

/** Before permissions are looked at. @param path decoded and clean, below /v2/auth */
export function authTarget(path: string, method: Method): AuthTarget {
  const rest = path.slice(PREFIX.length);
  if (rest === "/enable") return allowed({ kind: "enable" }, method, ALLOWED);
  const match = /^\/(users|roles)(?:\/|$)/.exec(rest);
  if (match === null) return { kind: "answer", answer: NOT_FOUND };
  const kind = match[1] as "users" | "roles";
  const clean = cleanPath(rest);
  const pieces = (clean.endsWith("/") ? clean.slice(0, -1) : clean).split("/");
  if (pieces.length > 3) return { kind: "answer", answer: INVALID_PATH };
  const name = pieces[2];
  return allowed({ kind, name }, method, name === undefined ? [Method.get] : ALLOWED);
}

function allowed(target: AuthTarget, method: Method, methods: readonly Method[]): AuthTarget {
  const refusal = refuseMethod(method, methods);
  return refusal === undefined ? target : { kind: "answer", answer: refusal };
}

/** All but the state of the switch needs the role root. */
export function needsRoot(target: AuthTarget, method: Method): boolean {
  return target.kind !== "enable" || method !== Method.get;
}

/** A request whose client may make it. The body is read before this returns. */
export function handleAuth(
  context: ScriptContext,
  target: Exclude<AuthTarget, { kind: "answer" }>,
  request: ApiRequest,
): AuthHandled {
  const { method } = request;
  if (target.kind === "enable") return handleSwitch(context, method);
  const { kind, name } = target;
  if (name === undefined) {
    const list = kind === "users" ? listUsers : listRoles;
    return answered(list(context.state, request));
  }
  switch (method) {
    case Method.get:
      return answered(
        kind === "users" ? readUser(context.state, name, request) : readRole(context.state, name),
      );
    case Method.put:
      return put(context, kind, name, request);
    default:
      return scripted((kind === "users" ? deleteUser : deleteRole)(context, name));
  }
}

function handleSwitch(context: ScriptContext, method: Method): AuthHandled {
  const isEnabled = context.state.lookAtSwitch();
  if (method === Method.put) return scripted(enable(context));
  if (method === Method.delete) return scripted(disable(context));
  return answered(authJson(200, (writer) => writer.latin1(`{"enabled":${isEnabled}}`)));
}

function put(
  context: ScriptContext,
  kind: "users" | "roles",
  name: string,
  { body, isBodyTooLarge }: ApiRequest,
): AuthHandled {
  const { bodyBytesMax } = AUTH_LIMITS;
  if (isBodyTooLarge || body.length > bodyBytesMax) return answered(tooLong("body", bodyBytesMax));
  if (kind === "users") {
    const change = readUserChange(body);
    if (change !== undefined) return scripted(putUser(context, name, change));
  } else {
    const change = readRoleChange(body);
    if (change !== undefined) return scripted(putRole(context, name, change));
  }
  return answered(authMessage(400, "Invalid JSON in request body."));
}

function readUser(state: AuthState, name: string, request: ApiRequest): ApiResponse {
  const user = state.lookForUser(name);
  if (user === undefined) return authError(404, `User ${name} does not exist.`);
  if (isBadQuery(request)) return authFailure();
  const roles: AuthRole[] = [];
  for (const roleName of user.roles ?? []) {
    const role = state.lookForRole(roleName);
    if (role === undefined) return authError(404, `Role ${roleName} does not exist.`);
    roles.push(role);
  }
  return authJson(200, (writer) => writeUserWithRoles(writer, user.name, roles));
}

function readRole(state: AuthState, name: string): ApiResponse {
  const role = state.lookForRole(name);
  if (role === undefined) return authError(404, `Role ${name} does not exist.`);
  return authJson(200, (writer) => writeRole(writer, role));
}

/** As in etcd, `null` without any. */
function listUsers(state: AuthState, request: ApiRequest): ApiResponse {
  const names = state.lookForUsers();
  if (isBadQuery(request)) return authFailure();
  const users = names.flatMap((name) => state.lookForUser(name) ?? []);
  return authJson(200, (writer) => {
    writer.latin1('{"users":');
    if (users.length === 0) writer.latin1("null");
    else {
      writeItems(writer, users, (into, { name, roles }) => {
        const known = (roles ?? []).flatMap((role) => state.lookForRole(role) ?? []);
        writeUserWithRoles(into, name, known);
      });
    }
    writer.byte(0x7d);
  });
}

function listRoles(state: AuthState, request: ApiRequest): ApiResponse {
  const names = state.lookForRoles();
  if (isBadQuery(request)) return authFailure();
  const roles = names.flatMap((name) => state.lookForRole(name) ?? []);
  return authJson(200, (writer) => {
    writer.latin1('{"roles":');
    writeItems(writer, roles, writeRole);
    writer.byte(0x7d);
  });
}

const NO_FIELDS: ReadonlySet<string> = new Set();

/** etcd parses the query of these, and cannot say what is wrong with it. */
function isBadQuery({ query }: ApiRequest): boolean {
  return parseForm(query, undefined, NO_FIELDS).kind === "invalid";
}

function answered(answer: ApiResponse): AuthHandled {
  return { kind: "answer", answer };
}

function scripted(script: AuthScript): AuthHandled {
  return { kind: "script", script };
}
