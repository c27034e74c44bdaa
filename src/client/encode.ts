import { cleanPath } from "../go/clean-path.js";

/**
 * Paths, queries and forms, encoded byte for byte as by etcd's own client: `--debug` shows them.
 * All are UTF-8, percent-encoded; queries are sorted by name and have a plus for a space.
 */

/** Undefined parameters are left out. */
export type Parameters = Readonly<Record<string, string | number | boolean | undefined>>;

/**
 * @returns the path under `/v2/keys`, beginning with a slash; `.`, `..` and empty parts are
 * resolved
 */
export function encodeKey(key: string): string {
  // A trailing slash stays: it names the same node, but permissions distinguish the two.
  return encodePath(cleanPath(key));
}

/** Leaves all characters that a path may contain, reserved ones too. */
export function encodePath(path: string): string {
  return escapeBytes(Buffer.from(path), PATH);
}

/** @returns `a=1&b=2`; empty without parameters */
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

/** The replacement of each byte: itself or a plus; 0 means three characters, `%xx`. */
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
