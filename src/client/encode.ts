import { cleanPath } from "../lib/clean-path.js";

/**
 * Paths, queries and forms as etcd's own client writes them, which is also what its debugging output shows.
 * All are UTF-8, percent-encoded; a query is sorted by name and has a plus for a blank.
 */

/** A parameter that is undefined is left out. */
export type Parameters = Readonly<Record<string, string | number | boolean | undefined>>;

/** @returns the path under `/v2/keys`, beginning with a slash; `.`, `..` and empty parts are resolved */
export function encodeKey(key: string): string {
  // With a slash at its end a key names the same node, but permissions tell the two apart.
  return encodePath(cleanPath(key));
}

/** Leaves what a path may hold: everything that is no question mark, reserved or not. */
export function encodePath(path: string): string {
  return escapeBytes(Buffer.from(path), PATH);
}

/** @returns `a=1&b=2`, or nothing */
export function encodeQuery(parameters: Parameters): string {
  const names = Object.keys(parameters).sort();
  const pairs = names.flatMap((name) => {
    const value = parameters[name];
    return value === undefined ? [] : `${encodeForm(name)}=${encodeForm(String(value))}`;
  });
  return pairs.join("&");
}

/** One value of a form. @param value text, or bytes to be stored as they are */
export function encodeForm(value: string | Uint8Array): string {
  return escapeBytes(typeof value === "string" ? Buffer.from(value) : value, FORM);
}

const HEX = Buffer.from("0123456789ABCDEF");
const PERCENT = 0x25;
const BLANK = 0x20;
const PLUS = 0x2b;
const UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~";
const FORM = table(UNRESERVED, true);
const PATH = table(`${UNRESERVED}$&+,/:;=@`, false);

/** What each byte becomes: itself, a plus, or (0) three characters. */
function table(kept: string, isBlankPlus: boolean): Uint8Array {
  const bytes = new Uint8Array(256);
  for (const byte of Buffer.from(kept)) bytes[byte] = byte;
  if (isBlankPlus) bytes[BLANK] = PLUS;
  return bytes;
}

function escapeBytes(bytes: Uint8Array, kept: Uint8Array): string {
  const escaped = Buffer.allocUnsafe(bytes.length * 3);
  let at = 0;
  for (const byte of bytes) {
    const same = kept[byte] as number;
    if (same !== 0) {
      escaped[at++] = same;
      continue;
    }
    escaped[at++] = PERCENT;
    escaped[at++] = HEX[byte >> 4] as number;
    escaped[at++] = HEX[byte & 15] as number;
  }
  return escaped.latin1Slice(0, at);
}
