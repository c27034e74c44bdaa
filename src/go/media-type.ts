/** The part of a Content-Type that form parsing needs. */
export interface MediaType {
  /** "text/plain", lower case; "" if it cannot be parsed. */
  readonly type: string;
  /** Go's error text, or "". The type may be known in spite of an error. */
  readonly error: string;
}

/** Tokens are printable ASCII except the blank and these (RFC 2045, 5.1). */
const SPECIALS = '()<>@,;:\\"/[]?=';
const INVALID_PARAMETER = "mime: invalid media parameter";

/**
 * Parses a Content-Type (RFC 2045, 5.1) with the error texts of Go's mime.ParseMediaType: etcd's
 * response to a PUT or POST with a malformed header contains them, whatever the body.
 */
export function parseMediaType(header: string): MediaType {
  const semicolon = header.indexOf(";");
  const end = semicolon < 0 ? header.length : semicolon;
  const type = trim(header.slice(0, end)).toLowerCase();
  const error = typeError(type);
  if (error !== "") return { type: "", error };
  return readParameters(type, header, end);
}

function typeError(type: string): string {
  const slash = tokenEnd(type, 0);
  if (slash === 0) return "mime: no media type";
  if (slash === type.length) return "";
  if (type[slash] !== "/") return "mime: expected slash after first token";
  const end = tokenEnd(type, slash + 1);
  if (end === slash + 1) return "mime: expected token after slash";
  return end === type.length ? "" : "mime: unexpected content after media subtype";
}

/** Any number of `; name=token` and `; name="text"`, from `at` to the end. */
function readParameters(type: string, header: string, at: number): MediaType {
  const seen = new Set<string>();
  for (let next = skipBlanks(header, at); next < header.length; ) {
    const found = readParameter(header, next);
    if (found === undefined) {
      const isLoneSemicolon = trim(header.slice(next)) === ";";
      return { type, error: isLoneSemicolon ? "" : INVALID_PARAMETER };
    }
    if (seen.has(found.name)) return { type: "", error: "mime: duplicate parameter name" };
    seen.add(found.name);
    next = skipBlanks(header, found.end);
  }
  return { type, error: "" };
}

interface Parameter {
  readonly name: string;
  /** Offset after the value, which is not needed. */
  readonly end: number;
}

function readParameter(header: string, at: number): Parameter | undefined {
  if (header[at] !== ";") return undefined;
  const start = skipBlanks(header, at + 1);
  const nameEnd = tokenEnd(header, start);
  if (nameEnd === start) return undefined;
  const name = header.slice(start, nameEnd).toLowerCase();
  const equals = skipBlanks(header, nameEnd);
  if (header[equals] !== "=") return undefined;
  const from = skipBlanks(header, equals + 1);
  if (header[from] === '"') return readQuoted(header, from, name);
  const end = tokenEnd(header, from);
  return end === from ? undefined : { name, end };
}

/**
 * A backslash escapes only special characters, as Internet Explorer sent file names with bare ones.
 */
function readQuoted(header: string, at: number, name: string): Parameter | undefined {
  for (let i = at + 1; i < header.length; i++) {
    const character = header[i] as string;
    if (character === '"') return { name, end: i + 1 };
    if (character === "\r" || character === "\n") return undefined;
    const next = header[i + 1];
    if (character === "\\" && next !== undefined && SPECIALS.includes(next)) i++;
  }
  return undefined;
}

/** End offset of the token that begins at `at`; `at` itself if there is none. */
function tokenEnd(text: string, at: number): number {
  let end = at;
  while (end < text.length && isTokenCharacter(text, end)) end++;
  return end;
}

function isTokenCharacter(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code > 0x20 && code < 0x7f && !SPECIALS.includes(text[at] as string);
}

function skipBlanks(text: string, at: number): number {
  let next = at;
  while (isBlank(text.charCodeAt(next))) next++;
  return next;
}

function trim(text: string): string {
  let end = text.length;
  while (end > 0 && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(Math.min(skipBlanks(text, 0), end), end);
}

/** ASCII white space only; String.trim would also trim the bytes 0x85 and 0xa0. */
function isBlank(code: number): boolean {
  return code === 0x20 || (code >= 0x09 && code <= 0x0d);
}
