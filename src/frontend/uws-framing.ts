import type { HttpRequest } from "uWebSockets.js";

let lengths = 0;
let codings = 0;
let isOther = false;

/** One function for all requests: a closure for each would cost more than the rest. */
function look(name: string, value: string): void {
  if (name === "content-length") lengths++;
  else if (name === "transfer-encoding") {
    codings++;
    if (value.toLowerCase() !== "chunked") isOther = true;
  }
}

/**
 * Whether it is not clear where the body ends, or what it is: several lengths or codings, both of them, or a
 * coding that is not "chunked". The library takes the first length, and any coding for "chunked".
 */
export function hasUnclearFraming(req: HttpRequest): boolean {
  lengths = 0;
  codings = 0;
  isOther = false;
  req.forEach(look);
  return lengths + codings > 1 || isOther;
}

/** Cheaper than the above, for methods that rarely bring one. */
export function hasBody(req: HttpRequest): boolean {
  return req.getHeader("content-length") !== "" || req.getHeader("transfer-encoding") !== "";
}
