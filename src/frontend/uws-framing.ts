import type { HttpRequest } from "uWebSockets.js";

/** What one look at a request's headers found. Reused from request to request. */
export const framing = {
  /** Not clear where the body ends, or what it is. */
  isUnclear: false,
  contentLength: "",
  contentType: "",
};

let lengths = 0;
let codings = 0;

/** One function for all requests: a closure for each would cost more than the rest. */
function look(name: string, value: string): void {
  if (name === "content-length") {
    framing.contentLength = value;
    lengths++;
  } else if (name === "content-type") {
    if (framing.contentType === "") framing.contentType = value; // Of several, the first.
  } else if (name === "transfer-encoding") {
    codings++;
    if (value.toLowerCase() !== "chunked") framing.isUnclear = true;
  }
}

/**
 * Fills `framing` for a request. A body is unclear with several lengths or codings, both of them,
 * or a coding that is not "chunked": the library takes the first length, and any coding for
 * "chunked".
 */
export function readFraming(req: HttpRequest): void {
  lengths = 0;
  codings = 0;
  framing.isUnclear = false;
  framing.contentLength = "";
  framing.contentType = "";
  req.forEach(look);
  if (lengths + codings > 1) framing.isUnclear = true;
}

/** Cheaper than the above, for methods that rarely bring one. */
export function hasBody(req: HttpRequest): boolean {
  return req.getHeader("content-length") !== "" || req.getHeader("transfer-encoding") !== "";
}
