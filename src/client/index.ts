/**
 * `ringd/client`: a client of ringd and of any server of etcd's v2 protocol. This is the only
 * entry.
 *
 * ```ts
 * import { Client, KeyNotFoundError } from "ringd/client";
 * const client = new Client({ endpoints: ["http://127.0.0.1:2379"] });
 * await client.set("/message", "hello", { ttl: 60 });
 * for await (const item of client.watch("/message")) console.log(item.kind, item.node?.value);
 * ```
 */

export { Auth, type Patterns, Roles, Users } from "./auth.js";
export { Client, type RequestOptions, type Value } from "./client.js";
export { DEFAULT_ENDPOINT, type ReadAnswer } from "./cluster.js";
export * from "./errors.js";
export { Members } from "./members.js";
export type * from "./options.js";
export type * from "./responses.js";
