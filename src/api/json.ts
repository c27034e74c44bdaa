import type { ByteWriter } from "./byte-writer.js";

/** Bytes that Go's encoding/json does not write as they are, or that begin something it may not. */
const NEEDS_CARE = /[^\x20\x21\x23-\x25\x27-\x3b\x3d\x3f-\x5b\x5d-\x7f]/;
const HEX = "0123456789abcdef";
const MS_PER_DAY = 86_400_000;

/**
 * A JSON string from bytes (one per character), as Go's encoding/json with HTML escaping writes it:
 * `<`, `>`, `&`, U+2028 and U+2029 escaped, control characters as \u00XX but for \n, \r and \t, and
 * every byte that is no UTF-8 as \ufffd.
 */
export function jsonString(writer: ByteWriter, bytes: string): void {
  if (NEEDS_CARE.test(bytes)) {
    writer.byte(0x22);
    escapeString(writer, bytes);
    writer.byte(0x22);
    return;
  }
  writer.room(bytes.length + 2);
  const { bytes: out } = writer;
  let at = writer.length;
  out[at++] = 0x22;
  at += out.latin1Write(bytes, at);
  out[at++] = 0x22;
  writer.length = at;
}

function escapeString(writer: ByteWriter, bytes: string): void {
  for (let i = 0; i < bytes.length; ) {
    const byte = bytes.charCodeAt(i);
    if (byte < 0x80) {
      escapeAscii(writer, byte);
      i++;
      continue;
    }
    const length = utf8Length(bytes, i);
    if (length === 0) {
      writer.latin1("\\ufffd");
      i++;
      continue;
    }
    const character = bytes.slice(i, i + length);
    if (character === "\xe2\x80\xa8") writer.latin1("\\u2028");
    else if (character === "\xe2\x80\xa9") writer.latin1("\\u2029");
    else writer.latin1(character);
    i += length;
  }
}

function escapeAscii(writer: ByteWriter, byte: number): void {
  if (byte === 0x22 || byte === 0x5c) writer.latin1(`\\${String.fromCharCode(byte)}`);
  else if (byte === 0x0a) writer.latin1("\\n");
  else if (byte === 0x0d) writer.latin1("\\r");
  else if (byte === 0x09) writer.latin1("\\t");
  else if (byte < 0x20 || byte === 0x3c || byte === 0x3e || byte === 0x26) {
    writer.latin1(`\\u00${HEX[byte >>> 4]}${HEX[byte & 15]}`);
  } else writer.byte(byte);
}

/** Bytes of the well-formed UTF-8 sequence at `i` (RFC 3629, 4), or 0. */
export function utf8Length(bytes: string, i: number): number {
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
  const { year, month, day } = civilDate(days);
  const pad = (value: number, digits: number) => String(value).padStart(digits, "0");
  const time = [ms / 3_600_000, (ms / 60_000) % 60, (ms / 1000) % 60]
    .map((part) => pad(Math.floor(part), 2))
    .join(":");
  const fraction = Math.floor(ms % 1000);
  const digits = fraction === 0 ? "" : `.${pad(fraction, 3).replace(/0+$/, "")}`;
  return `${pad(year, 4)}-${pad(month, 2)}-${pad(day, 2)}T${time}${digits}Z`;
}

/** Proleptic Gregorian date of a day since 1970-01-01 (Hinnant, "chrono-Compatible Date Algorithms"). */
function civilDate(days: number): { year: number; month: number; day: number } {
  const shifted = days + 719_468; // Days since 0000-03-01.
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const dayOfYear =
    dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1;
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  return { year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day };
}
