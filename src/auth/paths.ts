import { AUTH_PREFIX } from "../store/node.js";

/**
 * Paths of users and roles in the replicated store, which clients do not see
 * (etcdserver/api/v2auth/auth.go, StorePermsPrefix):
 *
 *   /2/enabled        true or false
 *   /2/users/<name>   {"user":"ann","password":"$2a$10$...","roles":["reader"]}
 *   /2/roles/<name>   {"role":"reader","permissions":{"kv":{"read":["/pub/*"],"write":[]}}}
 */
export const AUTH_PATH = AUTH_PREFIX;
export const ENABLED_PATH = `${AUTH_PATH}/enabled`;
export const USERS_PATH = `${AUTH_PATH}/users`;
export const ROLES_PATH = `${AUTH_PATH}/roles`;

export function userPath(name: string): string {
  return `${USERS_PATH}/${name}`;
}

export function rolePath(name: string): string {
  return `${ROLES_PATH}/${name}`;
}
