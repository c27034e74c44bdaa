import type { CallerTrace } from "./frontend.js";

/**
 * Request line and headers of an HTTP/1.x request, parsed as by Go's net/http (request.go,
 * transfer.go, textproto), etcd's server: any token is a method, lines may end with LF alone,
 * header values may be folded, bytes above 0x7f are accepted except in names. In addition, empty
 * lines before a request are ignored (RFC 9112, 2.2). Strings are latin1: one character per byte.
 */
export interface RequestHead {
  readonly method: string;
  /**
   * Starts with "/", or is "*", or "" for an absolute target without a path; bytes above 0x7f are
   * percent-encoded.
   */
  readonly path: string;
  /** Excludes the "?". */
  readonly query: string;
  readonly isHttp10: boolean;
  readonly contentType: string;
  /** The first one. */
  readonly authorization: string;
  readonly origin: string;
  /** Of an absolute target, else of the header. */
  readonly host: string;
  /** Of the body, bytes. */
  readonly length: number | "chunked";
  /** The connection closes after this request. */
  readonly isLast: boolean;
  readonly expectsContinue: boolean;
  /** Undefined unless it is asked for. */
  readonly trace: CallerTrace | undefined;
}

/** Invalid headers; the connection closes after this response. */
export interface HeadRefusal {
  readonly status: 400 | 417 | 501 | 505;
  readonly why: string;
}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const NOT_IN_VALUE = /[^\t\x20-\x7e\x80-\xff]/;
const NOT_IN_TARGET = /[^\x21-\x7e\x80-\xff]/;
const HOST = /^[0-9A-Za-z!$%&()*+,\-./:;=@[\]'_~]*$/;
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]*:/;
/** User, host (ASCII must not be percent-encoded), port. */
const AUTHORITY = /^(?:[^@]*@)?(?:\[[^[\]]*\]|(?:[^[\]:%]|%[89a-f][0-9a-f])*)(?::\d*)?$/i;
const METHOD_BYTES_LOOKED_AT = 16;
const TAB = 9;
const LF = 10;
const CR = 13;
const BLANK = 32;

/** @returns the length of the empty lines before a request, bytes */
export function leadingBlanks(bytes: Buffer): number {
  let at = 0;
  while (bytes[at] === CR || bytes[at] === LF) at++;
  return at;
}

/**
 * @param from offset to search from: no line ends before it
 * @returns the offset after the empty line that ends the headers; without one, -1 less the next
 *   `from`
 */
export function findHeadEnd(bytes: Buffer, from: number): number {
  for (let lf = bytes.indexOf(LF, from); lf >= 0; lf = bytes.indexOf(LF, lf + 1)) {
    if (bytes[lf + 1] === LF) return lf + 2;
    if (bytes[lf + 1] === CR && bytes[lf + 2] === LF) return lf + 3;
    if (lf + 2 >= bytes.length) return -1 - lf;
  }
  return -1 - bytes.length;
}

/** Whether the first bytes may be a method: a TLS client, for one, gets its error at once. */
export function mayBecomeHead(bytes: Buffer): boolean {
  const [start = ""] = bytes.toString("latin1", 0, METHOD_BYTES_LOOKED_AT).split(" ");
  return start === "" ? bytes.length === 0 : TOKEN.test(start);
}

/** @param text up to the empty line, inclusive */
export function parseHead(text: string, needsTrace = false): RequestHead | HeadRefusal {
  const lines = unfold(text);
  const requestLine = parseRequestLine(lines[0] ?? "");
  if ("status" in requestLine) return requestLine;
  const fields = new Fields();
  for (let i = 1; i < lines.length; i++) {
    if (!fields.add(lines[i] as string)) return refuse(400, "malformed header");
  }
  const { method, target, isHttp10 } = requestLine;
  const address = parseTarget(method, target);
  if (address === undefined) return refuse(400, "malformed request target");
  const hostProblem = checkHosts(fields.all("host"), isHttp10);
  if (hostProblem !== "") return refuse(400, hostProblem);
  const length = bodyLength(fields);
  if (typeof length === "object") return length;
  const expectsContinue = fields.hasToken("expect", "100-continue");
  if (!expectsContinue && fields.first("expect") !== "") return refuse(417, "unknown expectation");
  return {
    method,
    ...address,
    isHttp10,
    contentType: fields.first("content-type"),
    authorization: fields.first("authorization"),
    origin: fields.first("origin"),
    host: address.host ?? fields.first("host"),
    length,
    isLast: isLast(fields, isHttp10),
    expectsContinue: expectsContinue && !isHttp10 && length !== 0,
    trace: needsTrace ? traceOf(fields) : undefined,
  };
}

function traceOf(fields: Fields): CallerTrace {
  return {
    traceparent: fields.first("traceparent"),
    tracestate: fields.all("tracestate").join(","),
    requestId: fields.first("x-request-id"),
  };
}

function refuse(status: HeadRefusal["status"], why: string): HeadRefusal {
  return { status, why };
}

/** Lines without their ends; a continuation line is joined to the line before with a blank. */
function unfold(text: string): string[] {
  const lines: string[] = [];
  for (const raw of text.split("\n")) {
    const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
    if (line === "") break;
    const isContinued = (line[0] === " " || line[0] === "\t") && lines.length > 1;
    if (isContinued) lines.push(`${lines.pop()} ${trim(line)}`);
    else lines.push(line);
  }
  return lines;
}

/**
 * Trims blanks and tabs, HTTP's only white space. A regular expression for those at the end takes
 * quadratic time: 12 s for 100 KB of blanks inside a value.
 */
function trim(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === BLANK || code === TAB;
}

function parseRequestLine(
  line: string,
): { method: string; target: string; isHttp10: boolean } | HeadRefusal {
  const [method, target, version, ...more] = line.split(" ");
  const [, major, minor] = /^HTTP\/(\d)\.(\d)$/.exec(version ?? "") ?? [];
  if (method === undefined || target === undefined || more.length > 0) {
    return refuse(400, "malformed request line");
  }
  if (!TOKEN.test(method)) return refuse(400, "malformed method");
  if (major === undefined) return refuse(400, "malformed HTTP version");
  if (major !== "1") return refuse(505, "HTTP version not supported");
  return { method, target, isHttp10: minor === "0" };
}

/** Origin-form, absolute-form, "*" of OPTIONS, authority of CONNECT (RFC 9112, 3.2). */
function parseTarget(
  method: string,
  target: string,
): { path: string; query: string; host?: string } | undefined {
  if (target === "" || NOT_IN_TARGET.test(target)) return undefined;
  if (target === "*") return method === "OPTIONS" ? { path: "*", query: "" } : undefined;
  let local = target;
  let host: string | undefined;
  if (target[0] !== "/") {
    if (method === "CONNECT") return { path: "/", query: "" };
    const scheme = SCHEME.exec(target);
    if (scheme === null) return undefined;
    const rest = target.slice(scheme[0].length);
    if (rest.startsWith("//")) {
      const end = rest.slice(2).search(/[/?]/);
      const authority = end < 0 ? rest.slice(2) : rest.slice(2, 2 + end);
      if (!AUTHORITY.test(authority)) return undefined;
      host = authority.slice(authority.lastIndexOf("@") + 1);
      local = rest.slice(2 + authority.length);
    } else local = rest[0] === "/" ? rest : ""; // Otherwise opaque, such as mailto:a.
  }
  local = local.replace(
    /[\x80-\xff]/g,
    (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  const mark = local.indexOf("?");
  const path = mark < 0 ? local : local.slice(0, mark);
  const query = mark < 0 ? "" : local.slice(mark + 1);
  return host === undefined ? { path, query } : { path, query, host };
}

function checkHosts(hosts: readonly string[], isHttp10: boolean): string {
  if (hosts.length === 0) return isHttp10 ? "" : "missing required Host header";
  if (hosts.length > 1) return "too many Host headers";
  return HOST.test(hosts[0] as string) ? "" : "malformed Host header";
}

function bodyLength(fields: Fields): RequestHead["length"] | HeadRefusal {
  const codings = fields.all("transfer-encoding");
  if (codings.length > 0) {
    const isChunked = codings.length === 1 && codings[0]?.toLowerCase() === "chunked";
    return isChunked ? "chunked" : refuse(501, "unsupported transfer encoding");
  }
  const lengths = fields.all("content-length");
  const [text] = lengths;
  if (text === undefined) return 0;
  if (lengths.some((other) => other !== text)) return refuse(400, "two values of Content-Length");
  const length = Number(text);
  if (!/^\d*$/.test(text) || !Number.isSafeInteger(length)) {
    return refuse(400, "malformed Content-Length");
  }
  return length;
}

/**
 * HTTP/1.0 continues only with keep-alive. With both kinds of length, a proxy may have delimited
 * the request differently, so further input is not trusted (RFC 9112, 6.1).
 */
function isLast(fields: Fields, isHttp10: boolean): boolean {
  if (fields.hasToken("connection", "close")) return true;
  if (fields.all("transfer-encoding").length > 0) {
    if (isHttp10 || fields.all("content-length").length > 0) return true;
  }
  return isHttp10 && !fields.hasToken("connection", "keep-alive");
}

/** Header fields by lower-case name. Only those used here are kept. */
class Fields {
  static readonly #KEPT: ReadonlySet<string> = new Set(
    "host connection expect origin authorization content-type content-length transfer-encoding traceparent tracestate x-request-id".split(
      " ",
    ),
  );
  readonly #values = new Map<string, string[]>();

  /** @returns false if the line is malformed */
  add(line: string): boolean {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon);
    const value = trim(line.slice(colon + 1));
    if (colon < 0 || NOT_IN_VALUE.test(value)) return false;
    if (!TOKEN.test(name)) return name === ""; // Go ignores a field without a name.
    const key = name.toLowerCase();
    if (!Fields.#KEPT.has(key)) return true;
    const values = this.#values.get(key);
    if (values === undefined) this.#values.set(key, [value]);
    else values.push(value);
    return true;
  }

  all(name: string): readonly string[] {
    return this.#values.get(name) ?? [];
  }

  /** The first value; "" without one. */
  first(name: string): string {
    return this.#values.get(name)?.[0] ?? "";
  }

  hasToken(name: string, token: string): boolean {
    return this.all(name).some((value) =>
      value.split(",").some((item) => trim(item).toLowerCase() === token),
    );
  }
}
