import { goQuoteBytes, withoutTrailingSlashes } from "../go/text.js";
import { parseForm } from "./form.js";
import { type ApiResponse, plainResponse, refuseMethod } from "./plain.js";
import { type ApiRequest, FORM_TYPE, Method } from "./request.js";
import { ContentKind } from "./response.js";

/** Requests to and responses of a discovery service, as discovery.etcd.io had them. */

const DEFAULT_SIZE = 3;
const TOKEN_PATH = /^\/[0-9a-f]{32}(\/_config\/size|\/[^/]*)?$/;
const FIELDS: ReadonlySet<string> = new Set(["size"]);
const GO_INT_MAX = 2n ** 63n - 1n;

export const ROBOTS: ApiResponse = plainResponse(
  200,
  ContentKind.text,
  "User-agent: *\nDisallow: /",
);

/** The token could not be written. */
export const UNABLE: ApiResponse = plainResponse(
  400,
  ContentKind.textError,
  "Unable to generate token\n",
);

/** Its body has no newline: scripts take all of it for the URL. */
export function tokenResponse(url: string, token: string): ApiResponse {
  return plainResponse(200, ContentKind.text, `${withoutTrailingSlashes(url)}/${token}`);
}

/** The size in a request for a new token, from query or form, or the response that rejects it. */
export function readTokenSize({ query, contentType, body }: ApiRequest): number | ApiResponse {
  const isForm = contentType.split(";", 1)[0]?.trim().toLowerCase() === FORM_TYPE;
  const parsed = parseForm(query, isForm ? body : undefined, FIELDS);
  // As in Go's FormValue, what cannot be parsed counts as absent.
  const text = parsed.kind === "form" ? (parsed.form.get("size") ?? "") : "";
  if (text === "") return DEFAULT_SIZE;
  const refuse = (why: string) => plainResponse(400, ContentKind.textError, `${why}\n`);
  const shown = `strconv.Atoi: parsing ${goQuoteBytes(Buffer.from(text, "latin1"))}`;
  if (!/^[+-]?[0-9]+$/.test(text)) return refuse(`${shown}: invalid syntax`);
  const digits = text.replace(/^[+-]?0*/, "");
  const value = digits.length > 19 ? GO_INT_MAX + 1n : BigInt(`0${digits}`);
  if (value > GO_INT_MAX) return refuse(`${shown}: value out of range`);
  // The original accepts these, and members then fail on them.
  const size = Number(value);
  if (text.startsWith("-") || size === 0) return refuse("size must be above 0");
  return Number.isSafeInteger(size) ? size : refuse(`${shown}: value out of range`);
}

export type TokenPath =
  | { readonly kind: "path"; readonly path: string }
  | { readonly kind: "answer"; readonly answer: ApiResponse };

/**
 * Where a request for a token, a machine registered at it, or its size, belongs below the registry;
 * undefined for any other path.
 */
export function tokenPath(path: string, method: Method): TokenPath | undefined {
  const match = TOKEN_PATH.exec(path);
  if (match === null) return undefined;
  const [, rest = ""] = match;
  const allowed: Method[] = [Method.get];
  if (rest !== "/_config/size") allowed.push(Method.put);
  if (rest.length > 1 && allowed.length > 1) allowed.push(Method.delete);
  const answer = refuseMethod(method, allowed);
  if (answer !== undefined) return { kind: "answer", answer };
  return { kind: "path", path: path.replace(/\/$/, "") };
}
