import type { HttpRequest } from "uWebSockets.js";

/** Result of the last `readFraming`. Reused for all requests. */
export const framing = {
  /** End or coding of the body is ambiguous. */
  isUnclear: false,
  isChunked: false,
  contentLength: "",
  contentType: "",
  authorization: "",
};

/** Colon, blank and line end. */
const FIELD_BYTES = 4;

let lengths = 0;
let codings = 0;
let authorizations = 0;

/** One function for all requests: a closure for each would cost more than the work. */
function look(name: string, value: string): void {
  if (name === "content-length") {
    framing.contentLength = value;
    lengths++;
  } else if (name === "content-type") {
    if (framing.contentType === "") framing.contentType = value; // The first of several.
  } else if (name === "transfer-encoding") {
    codings++;
    if (value.toLowerCase() !== "chunked") framing.isUnclear = true;
  } else if (name === "authorization") {
    if (authorizations++ === 0) framing.authorization = value; // As `getHeader` does.
  }
}

/**
 * Fills `framing` for a request. A body is unclear with several lengths or codings, with both, or
 * with a coding other than "chunked": the library uses the first length, and treats any coding as
 * "chunked".
 */
export function readFraming(req: HttpRequest): void {
  lengths = 0;
  codings = 0;
  authorizations = 0;
  framing.isUnclear = false;
  framing.isChunked = false;
  framing.contentLength = "";
  framing.contentType = "";
  framing.authorization = "";
  req.forEach(look);
  framing.isChunked = codings > 0;
  if (lengths + codings > 1) framing.isUnclear = true;
}

let hosts = 0;
let host = "";

function lookForHost(name: string, value: string): void {
  if (name !== "host") return;
  hosts++;
  host = value;
}

/** The Host header; undefined if there are several. */
export function hostOf(req: HttpRequest): string | undefined {
  hosts = 0;
  host = "";
  req.forEach(lookForHost);
  return hosts > 1 ? undefined : host;
}

let headBytes = 0;

function measure(name: string, value: string): void {
  headBytes += name.length + value.length + FIELD_BYTES;
}

/** Bytes of the request's target and headers, as they are sent usually. */
export function headBytesOf(req: HttpRequest): number {
  headBytes = req.getUrl().length + (req.getQuery() ?? "").length;
  req.forEach(measure);
  return headBytes;
}

/** Cheaper than `readFraming`, for methods that rarely have a body. */
export function hasBody(req: HttpRequest): boolean {
  return req.getHeader("content-length") !== "" || req.getHeader("transfer-encoding") !== "";
}
