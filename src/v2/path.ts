import { cleanPath } from "../go/clean-path.js";
import { unescapePercent } from "./form.js";
import { type ApiResponse, plainResponse } from "./plain.js";
import { Method } from "./request.js";
import { ContentKind, LOCATION_BYTES_MAX } from "./response.js";

export type Routed =
  | { readonly kind: "path"; readonly path: string }
  | { readonly kind: "answer"; readonly answer: ApiResponse };

/** Matches paths that need decoding or cleaning; few do. */
const UNUSUAL = /%|\/\/|\/\.\.?(\/|$)/;

const BAD_REQUEST: ApiResponse = plainResponse(400, ContentKind.bare, "400 Bad Request");

/**
 * Decodes a request's path and redirects to the clean path, as Go's http.ServeMux does: for `//`,
 * `/./` and `/../`, also percent-encoded, and for an empty path. A trailing slash stays.
 *
 * @param rawPath latin1 bytes up to the "?"
 */
export function routePath(rawPath: string, rawQuery: string, method: Method): Routed {
  if (rawPath !== "" && !UNUSUAL.test(rawPath)) return { kind: "path", path: rawPath };
  const path = unescapePercent(rawPath, false);
  if (typeof path !== "string") return { kind: "answer", answer: BAD_REQUEST };
  const clean = cleanPath(path);
  if (clean === path) return { kind: "path", path };
  return { kind: "answer", answer: redirect(clean, rawQuery, method) };
}

function redirect(path: string, rawQuery: string, method: Method): ApiResponse {
  const target = escapePath(path) + (rawQuery === "" ? "" : `?${rawQuery}`);
  const location = escapeNonAscii(target);
  if (location.length > LOCATION_BYTES_MAX) return BAD_REQUEST;
  const hasType = method === Method.get || method === Method.head;
  const kind = hasType ? ContentKind.html : ContentKind.none;
  const { head, body } = plainResponse(301, kind, "", { location });
  if (method !== Method.get) return { head, body };
  const text = `<a href="${escapeHtml(target)}">Moved Permanently</a>.\n\n`;
  return { head, body: Buffer.from(text, "latin1") };
}

/** Go's url.URL.EscapedPath. */
function escapePath(path: string): string {
  return path.replace(/[^A-Za-z0-9\-_.~$&+,/:;=@]/g, (character) => {
    const hex = character.charCodeAt(0).toString(16).toUpperCase();
    return `%${hex.padStart(2, "0")}`;
  });
}

/**
 * Headers are ASCII, but a raw query may have other bytes. Lower-case hex, as in Go's
 * http.Redirect.
 */
function escapeNonAscii(bytes: string): string {
  return bytes.replace(/[\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16)}`);
}

function escapeHtml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&#34;")
    .replaceAll("'", "&#39;");
}
