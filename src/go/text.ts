/**
 * Go's text formats: JSON strings (encoding/json), quoted strings (strconv, the `%q` verb),
 * durations (time.Duration.String) and time stamps (time.RFC3339Nano). etcd's clients parse and
 * compare them, so they are part of the wire format.
 */
import { civilDate } from "./civil-date.js";

/** Characters escaped in JSON output; HTML's three and the line separators are Go's choice. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
const JSON_SPECIAL = /["\\\u0000-\u001f<>&\u2028\u2029]|\p{Surrogate}/gu;

/** A JSON string with its quotes. A lone surrogate becomes U+FFFD, like invalid UTF-8 in Go. */
export function goJsonString(text: string): string {
  return `"${text.replace(JSON_SPECIAL, jsonEscape)}"`;
}

function jsonEscape(char: string): string {
  switch (char) {
    case '"':
      return '\\"';
    case "\\":
      return "\\\\";
    case "\n":
      return "\\n";
    case "\r":
      return "\\r";
    case "\t":
      return "\\t";
  }
  const code = char.charCodeAt(0);
  return code >= 0xd800 && code <= 0xdfff ? "\ufffd" : `\\u${hex(code, 4)}`;
}

/** A JSON array of strings, `[]` when empty. */
export function goJsonStrings(texts: readonly string[]): string {
  return `[${texts.map(goJsonString).join(",")}]`;
}

const QUOTE_SPECIAL = /["\\]|[\p{C}\p{Z}]/gu;
const QUOTE_SHORT: Readonly<Record<string, string>> = {
  "\u0007": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
  "\\": "\\\\",
  '"': '\\"',
  " ": " ",
};

/** `%q`: in double quotes, printable characters unescaped. */
export function goQuote(text: string): string {
  return `"${text.replace(QUOTE_SPECIAL, quoteEscape)}"`;
}

/** `%q` of bytes; invalid UTF-8 shows as `\xNN`. */
export function goQuoteBytes(bytes: Buffer): string {
  let quoted = "";
  for (let at = 0; at < bytes.length; ) {
    const lead = bytes.readUInt8(at);
    const width = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    const char = bytes.subarray(at, at + width);
    const text = char.toString("utf8");
    const isText = Buffer.from(text).equals(char);
    quoted += isText ? goQuote(text).slice(1, -1) : `\\x${hex(lead, 2)}`;
    at += isText ? char.length : 1;
  }
  return `"${quoted}"`;
}

function quoteEscape(char: string): string {
  const short = QUOTE_SHORT[char];
  if (short !== undefined) return short;
  const code = char.codePointAt(0) ?? 0;
  if (code < 0x20 || code === 0x7f) return `\\x${hex(code, 2)}`;
  if (code >= 0xd800 && code <= 0xdfff) return "\ufffd";
  return code < 0x10000 ? `\\u${hex(code, 4)}` : `\\U${hex(code, 8)}`;
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}

const NS_PER_SECOND = 1_000_000_000n;

/** `1h2m3.5s`, `12.3ms`, `450µs`, `0s`. */
export function goDuration(durationNs: bigint): string {
  if (durationNs < 0n) return `-${goDuration(-durationNs)}`;
  if (durationNs === 0n) return "0s";
  if (durationNs < 1_000n) return `${durationNs}ns`;
  if (durationNs < 1_000_000n) return `${decimal(durationNs, 1_000n)}µs`;
  if (durationNs < NS_PER_SECOND) return `${decimal(durationNs, 1_000_000n)}ms`;
  const minutes = durationNs / (60n * NS_PER_SECOND);
  const seconds = `${decimal(durationNs % (60n * NS_PER_SECOND), NS_PER_SECOND)}s`;
  if (minutes === 0n) return seconds;
  if (minutes < 60n) return `${minutes}m${seconds}`;
  return `${minutes / 60n}h${minutes % 60n}m${seconds}`;
}

/** To a microsecond. */
export function goDurationOfMs(ms: number): string {
  return goDuration(BigInt(Math.round(ms * 1000)) * 1000n);
}

/** `value / unit` in decimal, no trailing zeros; `unit` is a power of ten. */
function decimal(value: bigint, unit: bigint): string {
  const whole = value / unit;
  const rest = value % unit;
  if (rest === 0n) return `${whole}`;
  const digits = `${rest}`.padStart(`${unit}`.length - 1, "0").replace(/0+$/, "");
  return `${whole}.${digits}`;
}

/** RFC 3339 in UTC with at most nine fraction digits: `2026-11-21T05:07:59.847612097Z`. */
export function goTimestamp(unixNs: bigint): string {
  const day = floorDiv(unixNs, 86_400n * NS_PER_SECOND);
  const ofDayNs = unixNs - day * 86_400n * NS_PER_SECOND;
  const seconds = Number(ofDayNs / NS_PER_SECOND);
  const fraction = decimal(ofDayNs % NS_PER_SECOND, NS_PER_SECOND).slice(1);
  const clock = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const time = clock.map((part) => `${part}`.padStart(2, "0")).join(":");
  return `${civilDate(Number(day))}T${time}${fraction}Z`;
}

function floorDiv(value: bigint, by: bigint): bigint {
  return value >= 0n ? value / by : -((-value + by - 1n) / by);
}

/** As by `strings.TrimRight(text, "/")`. A regular expression takes quadratic time. */
export function withoutTrailingSlashes(text: string): string {
  let end = text.length;
  while (text[end - 1] === "/") end--;
  return text.slice(0, end);
}
