import { type ApiRequest, METHODS, type Method } from "#ringd/v2/request.js";

/** A request as framed by a frontend. */
export function requestOf(
  method: (typeof METHODS)[number],
  path: string,
  body: string | Buffer = "",
  contentType = "application/json",
): ApiRequest {
  return {
    method: METHODS.indexOf(method) as Method,
    path,
    query: "",
    contentType,
    authorization: "",
    commonName: "",
    remote: "",
    body: Buffer.from(body),
    isBodyTooLarge: false,
  };
}
