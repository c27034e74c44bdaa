import { goJsonString } from "../go/text.js";
import { ByteWriter } from "./byte-writer.js";
import { jsonString } from "./json.js";
import { METHODS, type Method } from "./request.js";
import { ContentKind, type ResponseHead } from "./response.js";

/**
 * A complete response. For a HEAD request the frontend sends headers and Content-Length without the
 * body.
 */
export interface ApiResponse {
  readonly head: ResponseHead;
  readonly body: Buffer;
}

const NO_BODY = Buffer.alloc(0);

/** @param text sent as UTF-8 */
export function plainResponse(
  status: number,
  contentKind: ContentKind,
  text: string,
  extra: Partial<ResponseHead> = {},
): ApiResponse {
  const head: ResponseHead = {
    status,
    contentKind,
    hasClusterId: false,
    etcdIndex: -1,
    hasRaft: false,
    allow: "",
    location: "",
    ...extra,
  };
  return { head, body: text === "" ? NO_BODY : Buffer.from(text) };
}

export const NOT_FOUND: ApiResponse = plainResponse(
  404,
  ContentKind.textError,
  "404 page not found\n",
);

/** @param allow the methods as the Allow header lists them; "" sends no header */
export function methodNotAllowed(allow: string, extra: Partial<ResponseHead> = {}): ApiResponse {
  return plainResponse(405, ContentKind.textError, "Method Not Allowed\n", {
    ...extra,
    allow,
  });
}

/** etcd's httptypes.HTTPError: JSON without a newline. */
export function messageResponse(
  status: number,
  message: string,
  extra: Partial<ResponseHead> = {},
): ApiResponse {
  return plainResponse(status, ContentKind.json, `{"message":${goJsonString(message)}}`, extra);
}

/**
 * Like messageResponse, for a message with latin1 bytes of the request, which may be invalid UTF-8.
 */
export function bytesMessageResponse(
  status: number,
  message: string,
  extra: Partial<ResponseHead> = {},
): ApiResponse {
  const writer = new ByteWriter();
  writer.latin1('{"message":');
  jsonString(writer, message);
  writer.byte(0x7d);
  const { head } = plainResponse(status, ContentKind.json, "", extra);
  return { head, body: Buffer.from(writer.bytes.subarray(0, writer.length)) };
}

/** The 405 response, unless the method is one of `allowed`. */
export function refuseMethod(method: Method, allowed: readonly Method[]): ApiResponse | undefined {
  if (allowed.includes(method)) return undefined;
  return methodNotAllowed(allowed.map((one) => METHODS[one]).join(","));
}
