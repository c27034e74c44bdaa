import { civilDate } from "../go/civil-date.js";
import { LOOP_CHARACTERS_MAX } from "../lib/latin1.js";
import type { ByteWriter } from "./byte-writer.js";

/** Bytes that Go's encoding/json escapes, or that may begin a sequence it escapes. */
const NEEDS_CARE = /[^\x20\x21\x23-\x25\x27-\x3b\x3d\x3f-\x5b\x5d-\x7f]/;
/** "\\u003c" */
const ESCAPE_BYTES_MAX = 6;
const PIECE_CHARACTERS = 2048;
const HEX = "0123456789abcdef";
/** "u" */
const UNICODE = 0x75;
const LETTERS: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "\n": "n",
  "\r": "r",
  "\t": "t",
};
/**
 * By ASCII character, the byte after the backslash: UNICODE (four digits follow) or a letter; 0 for
 * no escape.
 */
const ESCAPES = asciiEscapes();
/** By byte: 1 where NEEDS_CARE. */
const CARE = Uint8Array.from({ length: 256 }, (_, byte) =>
  NEEDS_CARE.test(String.fromCharCode(byte)) ? 1 : 0,
);
const MS_PER_DAY = 86_400_000;

/**
 * Writes latin1 bytes as a JSON string like Go's encoding/json with HTML escaping: `<`, `>`, `&`,
 * U+2028 and U+2029 are escaped, control characters are \u00XX except , \r and \t, and each invalid
 * UTF-8 byte is \ufffd.
 *
 * @param from offset in `bytes` at which the string begins
 */
export function jsonString(writer: ByteWriter, bytes: string, from = 0): void {
  writer.room(bytes.length - from + 2);
  const { bytes: out } = writer;
  let at = writer.length;
  out[at++] = 0x22;
  if (bytes.length - from <= LOOP_CHARACTERS_MAX) {
    for (let i = from; i < bytes.length; i++) {
      const byte = bytes.charCodeAt(i);
      if (CARE[byte] !== 0) {
        escapeString(writer, bytes, from);
        return;
      }
      out[at++] = byte;
    }
  } else {
    const text = from === 0 ? bytes : bytes.slice(from);
    if (NEEDS_CARE.test(text)) {
      escapeString(writer, bytes, from);
      return;
    }
    at += out.latin1Write(text, at);
  }
  out[at++] = 0x22;
  writer.length = at;
}

/** Whether a string needs no escapes in JSON. */
export function isPlainJson(bytes: string): boolean {
  return !NEEDS_CARE.test(bytes);
}

/** jsonString for a string for which isPlainJson is true. */
export function plainJsonString(writer: ByteWriter, bytes: string): void {
  writer.byte(0x22);
  writer.latin1(bytes);
  writer.byte(0x22);
}

function escapeString(writer: ByteWriter, bytes: string, from: number): void {
  writer.byte(0x22);
  for (let i = from; i < bytes.length; ) {
    // In pieces: reserving the worst case of 10 MiB at once would take 120 MiB.
    const end = Math.min(i + PIECE_CHARACTERS, bytes.length);
    writer.room(PIECE_CHARACTERS * ESCAPE_BYTES_MAX);
    const { bytes: out } = writer;
    let at = writer.length;
    while (i < end) {
      const byte = bytes.charCodeAt(i);
      if (byte < 0x80) {
        const escaped = ESCAPES[byte] as number;
        if (escaped === 0) out[at++] = byte;
        else at = escapeAscii(out, at, byte, escaped);
        i++;
      } else {
        const length = utf8Length(bytes, i);
        const escaped = length === 0 ? "\\ufffd" : separatorEscape(bytes, i);
        if (escaped === "") for (let k = 0; k < length; k++) out[at++] = bytes.charCodeAt(i + k);
        else at += out.latin1Write(escaped, at);
        i += Math.max(length, 1);
      }
    }
    writer.length = at;
  }
  writer.byte(0x22);
}

/** @returns offset of the next byte */
function escapeAscii(out: Buffer, from: number, byte: number, escaped: number): number {
  let at = from;
  out[at++] = 0x5c;
  out[at++] = escaped;
  if (escaped !== UNICODE) return at;
  out[at++] = 0x30;
  out[at++] = 0x30;
  out[at++] = HEX.charCodeAt(byte >>> 4);
  out[at++] = HEX.charCodeAt(byte & 15);
  return at;
}

/** Go escapes U+2028 and U+2029, as JavaScript once treated them as line ends. "" for all else. */
function separatorEscape(bytes: string, i: number): string {
  if (bytes.charCodeAt(i) !== 0xe2 || bytes.charCodeAt(i + 1) !== 0x80) return "";
  const last = bytes.charCodeAt(i + 2);
  return last === 0xa8 ? "\\u2028" : last === 0xa9 ? "\\u2029" : "";
}

function asciiEscapes(): Uint8Array {
  const escapes = new Uint8Array(0x80).fill(UNICODE, 0, 0x20);
  for (const character of "<>&") escapes[character.charCodeAt(0)] = UNICODE;
  for (const [character, letter] of Object.entries(LETTERS)) {
    escapes[character.charCodeAt(0)] = letter.charCodeAt(0);
  }
  return escapes;
}

/** Length of the well-formed UTF-8 sequence at `i` (RFC 3629, 4), or 0. */
function utf8Length(bytes: string, i: number): number {
  const first = bytes.charCodeAt(i);
  if (first < 0x80) return 1;
  const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || i + length > bytes.length) return 0;
  const second = bytes.charCodeAt(i + 1);
  const low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high) return 0;
  for (let k = i + 2; k < i + length; k++) {
    if ((bytes.charCodeAt(k) & 0xc0) !== 0x80) return 0;
  }
  return length;
}

/** RFC 3339 in UTC with as many fraction digits as needed, as Go prints a time in JSON. */
export function rfc3339(unixMs: number): string {
  const days = Math.floor(unixMs / MS_PER_DAY);
  const ms = unixMs - days * MS_PER_DAY;
  const pad = (value: number, digits: number) => String(value).padStart(digits, "0");
  const time = [ms / 3_600_000, (ms / 60_000) % 60, (ms / 1000) % 60]
    .map((part) => pad(Math.floor(part), 2))
    .join(":");
  const fraction = Math.floor(ms % 1000);
  const digits = fraction === 0 ? "" : `.${pad(fraction, 3).replace(/0+$/, "")}`;
  return `${civilDate(days)}T${time}${digits}Z`;
}
