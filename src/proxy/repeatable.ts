/**
 * Whether a request that a member may have carried out can be sent to another one: it changes
 * nothing, or the same thing again. Not so: conditions that its own first attempt would break, keys
 * made in order, and deletes, which would then find nothing.
 */
export function isRepeatable(method: string, target: string, body: Buffer | undefined): boolean {
  if (method === "GET" || method === "HEAD" || method === "OPTIONS") return true;
  // A user's or role's change is refused the second time: "already enabled", or "already granted".
  if (method !== "PUT" || !KEYS.test(target)) return false;
  const query = target.split("?")[1] ?? "";
  return !DIFFERS.test(query) && !(body !== undefined && DIFFERS.test(head(body)));
}

const KEYS = /^\/v2\/keys(?![^/?])/;

/** A condition or a directory; or a name that is escaped, which may be one. */
const DIFFERS = /(^|&)(prev|dir|[^=&]*%[^=&]*(=|&|$))/;
/** Longer forms are not searched, and count as conditional. */
const HEAD_BYTES = 1024 * 1024;

function head(body: Buffer): string {
  return body.length > HEAD_BYTES ? "prev" : body.toString("latin1");
}
