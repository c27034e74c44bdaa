/** HTTP methods the API distinguishes; the number is in the request record. */
export const METHODS = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "OTHER"] as const;
export const Method = {
  get: 0,
  head: 1,
  put: 2,
  post: 3,
  delete: 4,
  options: 5,
  other: 6,
} as const;
export type Method = (typeof Method)[keyof typeof Method];

const BY_NAME: ReadonlyMap<string, Method> = new Map(
  METHODS.slice(0, Method.other).map((name, number) => [name, number as Method]),
);

/** @param name as the client sent it, any token */
export function methodOf(name: string): Method {
  return BY_NAME.get(name) ?? Method.other;
}

/** Content-Type of HTML forms, and of nearly all writes. */
export const FORM_TYPE = "application/x-www-form-urlencoded";

/**
 * One HTTP request as framed by a frontend. Strings are latin1 bytes, nothing decoded:
 * "/v2/keys/a%20b". `body` is valid only during the call.
 */
export interface ApiRequest {
  readonly method: Method;
  /** Raw, up to the "?": always starts with "/". */
  readonly path: string;
  /** Raw, after the "?"; "" if there is none. */
  readonly query: string;
  /** The Content-Type header as sent; "" if there is none. */
  readonly contentType: string;
  /** The Authorization header as sent; "" if there is none. */
  readonly authorization: string;
  /** The common name of the client's certificate; "" if there is none. */
  readonly commonName: string;
  /** The client's address; "" unless there is an audit log. */
  readonly remote: string;
  /** The complete body. */
  readonly body: Buffer;
  /** The body exceeded the 10 MiB limit; then `body` is empty. */
  readonly isBodyTooLarge: boolean;
}
