import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

/** Requests that leave an etcd directory with some of everything that an import carries over. */

const ROOT = `Basic ${Buffer.from("root:secret").toString("base64")}`;

async function call(
  method: string,
  url: string,
  body?: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ readonly status: number; readonly text: string; readonly index: number }> {
  const type = body?.startsWith("{") ? "application/json" : "application/x-www-form-urlencoded";
  const response = await fetch(url, {
    method,
    ...(body === undefined ? {} : { body }),
    headers: { ...headers, ...(body === undefined ? {} : { "content-type": type }) },
  });
  const index = Number(response.headers.get("x-etcd-index") ?? 0);
  return { status: response.status, text: await response.text(), index };
}

/** @param writes number of plain writes, before and after the others */
export async function fill(url: string, writes: number): Promise<void> {
  const put = async (key: string, form: string, method = "PUT") => {
    await call(method, `${url}/v2/keys${key}`, method === "DELETE" ? undefined : form);
  };
  const many = async (prefix: string) => {
    for (let at = 0; at < writes; at += 50) {
      const keys = Array.from({ length: Math.min(50, writes - at) }, (_, i) => at + i);
      await Promise.all(keys.map((i) => put(`/${prefix}/${i % 61}`, `value=v${i}`)));
    }
  };
  await many("before");
  await put("/ttl/key", "value=lives&ttl=3600");
  await put("/ttl/dir", "dir=true&ttl=7200");
  await put("/ttl/dir/key", "value=inside");
  await put("/short/key", "value=dies&ttl=1");
  await put("/short/dir", "dir=true&ttl=1");
  await put("/short/dir/key", "value=dies+with+it");
  await put("/_hidden/key", "value=unseen");
  await put("/visible/_hidden/key", "value=unseen");
  for (const value of ["one", "two", "three"]) await put("/queue", `value=${value}`, "POST");
  await put("/text/%C3%A9", "value=%C3%BC%3C%26%3E%E2%80%A8%00%22");
  await put("/cas", "value=1");
  await put("/cas?prevValue=1", "value=2");
  await put("/cas?prevValue=1", "value=never");
  await put("/cas?prevExist=false", "value=never");
  await put("/gone", "value=1");
  await put("/gone?prevValue=2", "", "DELETE");
  await put("/gone?prevValue=1", "", "DELETE");
  await put("/tree/a/b/c", "value=1");
  await put("/tree/a?recursive=true", "", "DELETE");
  await put("/tree?dir=true", "", "DELETE");
  await put("/updated", "value=1");
  await put("/updated?prevExist=true", "value=2&ttl=3600");
  await put("/updated?prevExist=true", "ttl=7200&refresh=true");
  await put("/ttl/dir?prevExist=true", "dir=true&ttl=9000");
  await put("/visible/dir", "dir=true");
  await untilGone(`${url}/v2/keys/short/key`);
  await auth(url);
  await many("after");
  // Behind the last snapshot, whatever its interval.
  await put("/last/ttl", "value=1&ttl=3600");
  await put("/last/_hidden", "value=1");
  await put("/queue", "value=four", "POST");
  await put("/last/bytes", "value=%ff%fe");
}

async function untilGone(url: string): Promise<void> {
  while ((await call("GET", url)).status === 200) await sleep(50);
}

async function auth(url: string): Promise<void> {
  const users = `${url}/v2/auth/users`;
  await call("PUT", `${users}/root`, '{"user":"root","password":"secret"}');
  await call("PUT", `${users}/alice`, '{"user":"alice","password":"wonder"}');
  const kv = { read: ["/cas", "/ttl/*"], write: ["/ttl/*"] };
  const role = JSON.stringify({ role: "reader", permissions: { kv } });
  await call("PUT", `${url}/v2/auth/roles/reader`, role);
  await call("PUT", `${users}/alice`, '{"user":"alice","grant":["reader"]}');
  await call("PUT", `${url}/v2/auth/enable`);
}

/** What a server answers about its keys. */
export interface Answers {
  readonly index: number;
  /** By key, with children below; TTLs are left out, and expirations have milliseconds. */
  readonly listings: Readonly<Record<string, unknown>>;
  /** The events for waitIndex 1, 2, ...; an error's cause where the history is cleared. */
  readonly events: readonly unknown[];
}

const HIDDEN = ["/_hidden", "/visible/_hidden", "/last/_hidden"];

/** The last write to the server must have been one of a key that all see. */
export async function answersOf(url: string): Promise<Answers> {
  const listings: Record<string, unknown> = {};
  let index = 0;
  for (const key of ["/", ...HIDDEN]) {
    const response = await call("GET", `${url}/v2/keys${key}?recursive=true&sorted=true`);
    listings[key] = settled(JSON.parse(response.text));
    index = response.index;
  }
  const events: unknown[] = [];
  for (let waitIndex = 1; waitIndex <= index; ) {
    const query = `wait=true&recursive=true&waitIndex=${waitIndex}`;
    const { text } = await call("GET", `${url}/v2/keys/?${query}`);
    const event = JSON.parse(text) as { cause?: string; node?: { modifiedIndex: number } };
    events.push(settled(event));
    // "the requested history has been cleared [1200/1]"
    const first = /\[(\d+)\//.exec(event.cause ?? "")?.[1];
    waitIndex = first === undefined ? (event.node?.modifiedIndex ?? 0) + 1 : Number(first);
  }
  return { index, listings, events };
}

/** Long values would make a difference unreadable. */
const TEXT_MAX = 1000;

/** Without what depends on the moment: TTLs; and ringd keeps milliseconds. */
function settled(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (name, part) => {
      if (name === "ttl") return undefined;
      if (typeof part === "string" && part.length > TEXT_MAX) {
        return `${part.length} ${createHash("sha256").update(part).digest("hex")}`;
      }
      if (name === "expiration") return new Date(part).toISOString();
      return part;
    }),
  );
}

/** Users, roles, and what a user may do. @returns undefined if the server has no users */
export async function usersOf(url: string): Promise<unknown> {
  if ((await call("GET", `${url}/v2/auth/enable`)).status === 404) return undefined;
  const answers: string[] = [];
  const alice = `Basic ${Buffer.from("alice:wonder").toString("base64")}`;
  const wrong = `Basic ${Buffer.from("alice:other").toString("base64")}`;
  for (const [path, authorization] of [
    ["auth/enable", ROOT],
    ["auth/users", ROOT],
    ["auth/roles", ROOT],
    ["auth/users/alice", ROOT],
    ["keys/cas", alice],
    ["keys/updated", alice],
    ["keys/cas", wrong],
  ] as const) {
    const { status, text } = await call("GET", `${url}/v2/${path}`, undefined, { authorization });
    answers.push(`${status} ${text}`);
  }
  return answers;
}
