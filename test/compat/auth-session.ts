import type { RawRequest } from "../support/http.js";
import type { Prng } from "../support/prng.js";

/** Random requests about users, roles and what they permit; the same seed makes the same ones. */

const USERS = ["root", "root", "ann", "bob", "_h", "ü", "a b", "nobody"];
const PASSWORDS = ["p", "p", "p", "q", "pä:ß", `${"x".repeat(70)}1`, `${"x".repeat(71)}2`];
const ROLES = ["r1", "r2", "r3", "guest", "root", "_r", "missing"];
const PATTERNS = ["/*", "/a", "/a*", "/a/*", "*", "/b", "/a/b", "/d/*", "/ü", "a", "/a/"];
const KEYS = ["/a", "/a/", "/a/b", "/ab", "/b", "/d/x", "/d", "", "/", "/%C3%BC", "/%61", "/_x"];
const BODIES = [
  "",
  "{",
  "null",
  "[]",
  '"ann"',
  '{"user":"ann","password":"p"} and more',
  '{"USER":"ann","PassWord":"p","other":[1,{}]}',
  '{"user":"ann","password":7}',
  '{"user":"ann","password":null,"roles":null}',
  '{"user":"ann","roles":"r1"}',
  '{"user":"ann","grant":[null]}',
  '{"role":"r1","permissions":null}',
  '{"role":"r1","grant":{}}',
  '{"role":"r1","grant":{"kv":{"read":[],"write":null}},"revoke":null}',
  '{"role":"r1","permissions":{"kv":{"read":"/a"}}}',
  '{"role":"r1","permissions":{"KV":{"Read":["/z"]}}}',
  '{"ro\\u006ce":"r1","revo\u212ae":{"kv":{"read":["/a"]}}}',
  '{"user":"\\ud800","password":"p"}',
];

export class AuthSession {
  readonly #prng: Prng;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  next(): RawRequest {
    const prng = this.#prng;
    const kind = prng.below(20);
    if (kind < 5) return this.#key();
    if (kind < 10) return this.#user();
    if (kind < 15) return this.#role();
    if (kind === 15) return this.#send(prng.pick(["PUT", "PUT", "PUT", "DELETE"]), "/enable");
    if (kind === 16) return this.#send("PUT", `/users/root`, { user: "root", password: "p" });
    if (kind === 17) return this.#odd();
    if (kind === 18)
      return this.#send("GET", prng.pick(["/enable", "/users", "/roles", "/users/"]));
    return this.#raw(prng.pick(["GET", "POST", "PUT"]), "/v2/members", "", "application/json");
  }

  #key(): RawRequest {
    const prng = this.#prng;
    const key = prng.pick(KEYS);
    // Listings without "sorted" come in any order.
    const more = prng.pick(["", "", "&recursive=true", "&quorum=true", "&recursive=1&dir=true"]);
    const query = `?sorted=true${more}`;
    const method = prng.pick(["GET", "GET", "PUT", "PUT", "DELETE", "POST", "HEAD"]);
    const form = method === "PUT" || method === "POST" ? "value=v" : undefined;
    return this.#raw(method, `/v2/keys${key}${query}`, form, "application/x-www-form-urlencoded");
  }

  #user(): RawRequest {
    const prng = this.#prng;
    const user = prng.pick(USERS);
    const path = `/users/${encodeURIComponent(user)}`;
    const method = prng.pick(["PUT", "PUT", "PUT", "PUT", "GET", "DELETE", "HEAD", "POST"]);
    if (method !== "PUT") return this.#send(method, path);
    const name = prng.oneIn(12) ? "other" : user;
    const password = prng.oneIn(3) ? {} : { password: prng.pick(PASSWORDS) };
    const roles = prng.oneIn(4) ? { roles: this.#some(ROLES) } : {};
    const grant = prng.oneIn(3) ? { grant: this.#some(ROLES) } : {};
    const revoke = prng.oneIn(4) ? { revoke: this.#some(ROLES) } : {};
    return this.#send(method, path, { user: name, ...password, ...roles, ...grant, ...revoke });
  }

  #role(): RawRequest {
    const prng = this.#prng;
    const role = prng.pick(ROLES);
    const path = `/roles/${role}${prng.oneIn(10) ? "/" : ""}`;
    const method = prng.pick(["PUT", "PUT", "PUT", "PUT", "GET", "DELETE", "PATCH"]);
    if (method !== "PUT") return this.#send(method, path);
    const body: Record<string, unknown> = { role: prng.oneIn(12) ? "other" : role };
    if (prng.oneIn(2)) body.permissions = this.#permissions();
    if (prng.oneIn(2)) body.grant = this.#permissions();
    if (prng.oneIn(3)) body.revoke = this.#permissions();
    return this.#send(method, path, body);
  }

  #odd(): RawRequest {
    const path = this.#prng.pick(["/users/ann", "/roles/r1", "/users/a/b", "/nope", "/users?%zz"]);
    const method = this.#prng.pick(["PUT", "PUT", "GET"]);
    return this.#raw(method, `/v2/auth${path}`, this.#prng.pick(BODIES), "application/json");
  }

  #permissions(): unknown {
    const kv: Record<string, unknown> = {};
    if (!this.#prng.oneIn(4)) kv.read = this.#some(PATTERNS);
    if (!this.#prng.oneIn(3)) kv.write = this.#prng.oneIn(8) ? null : this.#some(PATTERNS);
    return { kv };
  }

  #some(list: readonly string[]): string[] {
    return Array.from({ length: this.#prng.below(4) }, () => this.#prng.pick(list));
  }

  #send(method: string, path: string, body?: unknown): RawRequest {
    const text = body === undefined ? undefined : JSON.stringify(body);
    return this.#raw(method, `/v2/auth${path}`, text, "application/json");
  }

  #raw(method: string, path: string, body: string | undefined, type: string): RawRequest {
    const headers: Record<string, string> = { "Content-Type": type, ...this.#credentials() };
    return { method, path, headers, ...(body === undefined ? {} : { body }) };
  }

  #credentials(): Record<string, string> {
    const prng = this.#prng;
    const basic = (user: string, password: string) =>
      `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
    switch (prng.below(8)) {
      case 0:
      case 1:
        return {};
      case 2:
        return { Authorization: basic(prng.pick(USERS), prng.pick(PASSWORDS)) };
      case 3:
        return {
          Authorization: prng.pick([
            "",
            "Bearer x",
            "Basic",
            "Basic !!!",
            "basic cm9vdDpw",
            "BASIC  cm9vdDpw",
            "Basic cm9vdDpw=",
            "Basic cm9vdA==",
            "Basic cm9vdDr/",
          ]),
        };
      default:
        return { Authorization: basic("root", "p") };
    }
  }
}
