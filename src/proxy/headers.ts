/** Headers as node:http has them raw: name, value, name, value. */
export type RawHeaders = readonly string[];

/** Headers that concern one connection only; etcd's list, and the standard's name for trailers. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "trailers",
  "transfer-encoding",
  "upgrade",
]);

/** @returns the headers that pass on, without those that `drop` or a Connection header names */
export function endToEnd(raw: RawHeaders, drop: ReadonlySet<string>): string[] {
  const named = new Set<string>();
  for (const [name, value] of pairs(raw)) {
    if (name.toLowerCase() !== "connection") continue;
    for (const item of value.split(",")) named.add(item.trim().toLowerCase());
  }
  const kept: string[] = [];
  for (const [name, value] of pairs(raw)) {
    const key = name.toLowerCase();
    if (HOP_BY_HOP.has(key) || drop.has(key) || named.has(key)) continue;
    kept.push(name, value);
  }
  return kept;
}

/** All values of a header, in order. */
export function valuesOf(raw: RawHeaders, key: string): string[] {
  const values: string[] = [];
  for (const [name, value] of pairs(raw)) if (name.toLowerCase() === key) values.push(value);
  return values;
}

function* pairs(raw: RawHeaders): Generator<readonly [string, string]> {
  for (let i = 0; i + 1 < raw.length; i += 2) yield [raw[i] as string, raw[i + 1] as string];
}
