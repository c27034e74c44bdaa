import "../lib/latin1.js";
import { goQuoteBytes } from "../go/text.js";

/** Fields by name, the first value of each; latin1 bytes. */
export type Form = ReadonlyMap<string, string>;

export type ParsedForm =
  | { readonly kind: "form"; readonly form: Form }
  | { readonly kind: "invalid"; readonly cause: string };

const EMPTY: Form = new Map();
const AMPERSAND = 0x26;
const EQUALS = 0x3d;
/** Characters that need unescaping or rejection. */
const SPECIAL = /[%+;]/;

/**
 * Parses query and body into one form. The body's values and errors take precedence, as in Go's
 * http.Request.ParseForm and url.ParseQuery.
 *
 * @param body undefined unless it is a form
 * @param names of the fields to keep: 10 MiB of others would take hundreds of MB of the heap
 */
export function parseForm(
  query: string,
  body: Buffer | undefined,
  names: ReadonlySet<string>,
): ParsedForm {
  if (body === undefined && query === "") return { kind: "form", form: EMPTY };
  const form = new KnownFields(names);
  const error = (body === undefined ? "" : readBody(body, form)) || readQuery(query, form);
  return error === "" ? { kind: "form", form: form.values } : { kind: "invalid", cause: error };
}

/** The first value of each field with one of the names. */
class KnownFields {
  readonly values = new Map<string, string>();
  readonly #names: ReadonlySet<string>;

  constructor(names: ReadonlySet<string>) {
    this.#names = names;
  }

  /** Keeps it if it is the first of a known name. */
  offer(name: string, value: string): void {
    if (this.#names.has(name) && !this.values.has(name)) this.values.set(name, value);
  }
}

/**
 * Each value is decoded on its own: a substring of the whole body would keep all of it alive in the
 * store.
 */
function readBody(body: Buffer, form: KnownFields): string {
  let error = "";
  let equals = -1;
  for (let at = 0; at <= body.length; ) {
    const end = find(body, AMPERSAND, at);
    // Search again only after passing it: a search per pair would take minutes for 10 MiB of "a&".
    if (equals < at) equals = find(body, EQUALS, at);
    const hasValue = equals < end;
    const name = body.latin1Slice(at, hasValue ? equals : end);
    const value = hasValue ? body.latin1Slice(equals + 1, end) : "";
    if (end > at) error = take(form, name, value, error);
    at = end + 1;
  }
  return error;
}

/** @returns the next offset of `byte`, or the body's length */
function find(body: Buffer, byte: number, at: number): number {
  const found = body.indexOf(byte, at);
  return found < 0 ? body.length : found;
}

function readQuery(query: string, form: KnownFields): string {
  let error = "";
  if (query === "") return error;
  for (const pair of query.split("&")) {
    if (pair === "") continue;
    const equals = pair.indexOf("=");
    const name = equals < 0 ? pair : pair.slice(0, equals);
    // Copied, so that a stored value does not keep the query alive.
    const value = equals < 0 ? "" : flat(pair.slice(equals + 1));
    error = take(form, name, value, error);
  }
  return error;
}

function flat(text: string): string {
  const bytes = Buffer.from(text, "latin1");
  return bytes.latin1Slice(0, bytes.length);
}

/** @returns the error so far: a semicolon replaces an earlier one, a bad escape does not */
function take(form: KnownFields, name: string, value: string, error: string): string {
  if (!SPECIAL.test(name) && !SPECIAL.test(value)) {
    form.offer(name, value);
    return error;
  }
  if (name.includes(";") || value.includes(";")) return "invalid semicolon separator in query";
  const plainName = unescapePercent(name, true);
  const plainValue = unescapePercent(value, true);
  const bad = typeof plainName !== "string" ? plainName : plainValue;
  if (typeof bad !== "string") {
    return error || `invalid URL escape ${quoted(bad.bad)}`;
  }
  if (typeof plainName === "string") form.offer(plainName, bad);
  return error;
}

/** Go's `%q` in latin1 bytes; valid UTF-8 stays unescaped. */
function quoted(bytes: string): string {
  return Buffer.from(goQuoteBytes(Buffer.from(bytes, "latin1"))).toString("latin1");
}

/** Decodes percent encoding. @returns the first bad escape, at most three bytes, if there is one */
export function unescapePercent(
  text: string,
  plusIsBlank: boolean,
): string | { readonly bad: string } {
  const out = Buffer.allocUnsafe(text.length);
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    const byte = text.charCodeAt(i);
    if (byte === 0x25) {
      const high = hexDigit(text.charCodeAt(i + 1));
      const low = hexDigit(text.charCodeAt(i + 2));
      if (high < 0 || low < 0) return { bad: text.slice(i, i + 3) };
      out[length++] = high * 16 + low;
      i += 2;
    } else {
      out[length++] = byte === 0x2b && plusIsBlank ? 0x20 : byte;
    }
  }
  return out.latin1Slice(0, length);
}

/** -1 for anything else, including NaN (beyond the end). */
function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
