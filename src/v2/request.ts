/** HTTP methods the API tells apart; the number travels in the request record. */
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

/** The Content-Type of HTML forms, which nearly all writes have. */
export const FORM_TYPE = "application/x-www-form-urlencoded";

/**
 * One HTTP request as a frontend framed it. Strings are bytes, one per character (latin1), nothing
 * decoded: "/v2/keys/a%20b". `body` is valid during the call only.
 */
export interface ApiRequest {
  readonly method: Method;
  /** Raw, up to the "?": always starts with "/". */
  readonly path: string;
  /** Raw, behind the "?"; "" without one. */
  readonly query: string;
  /** The Content-Type header as sent; "" without one. */
  readonly contentType: string;
  /** Whole body. */
  readonly body: Buffer;
  /** The body went over the 10 MiB limit: `body` is then empty. */
  readonly isBodyTooLarge: boolean;
}
