/**
 * The Content-Type and related headers that a frontend sends; the number is in the response record.
 */
export const ContentKind = {
  /** No Content-Type, for an empty body. */
  none: 0,
  /** `application/json` */
  json: 1,
  /** `text/plain; charset=utf-8` */
  text: 2,
  /** `text/plain; charset=utf-8` and `X-Content-Type-Options: nosniff`: Go's http.Error. */
  textError: 3,
  /** `text/html; charset=utf-8`: the body of a redirect of a GET. */
  html: 4,
  /** `text/plain; version=0.0.4; charset=utf-8`: Prometheus's text format. */
  metrics: 5,
  /** `application/json; charset=utf-8`: Go's expvar. */
  jsonUtf8: 6,
  /** `text/plain; charset=utf-8` without CORS headers, as from Go's HTTP server below the API. */
  bare: 7,
  /** The same, of `textError`. */
  bareError: 8,
  /** `application/octet-stream` */
  octetStream: 9,
} as const;
export type ContentKind = (typeof ContentKind)[keyof typeof ContentKind];

/** Longest Location value; etcd accepts no targets above 4 KB. */
export const LOCATION_BYTES_MAX = 0xffff;

/** Status and headers of a response. The body is passed separately. */
export interface ResponseHead {
  /** HTTP status code. */
  readonly status: number;
  readonly contentKind: ContentKind;
  /** Send `X-Etcd-Cluster-Id`. */
  readonly hasClusterId: boolean;
  /** Value of `X-Etcd-Index`; -1 sends none. */
  readonly etcdIndex: number;
  /** Send `X-Raft-Index` and `X-Raft-Term`, as of when the response leaves the core. */
  readonly hasRaft: boolean;
  /** Value of `Allow`; "" sends none. */
  readonly allow: string;
  /** Value of `Location` (latin1 bytes); "" sends none. */
  readonly location: string;
  /** The client's credentials are wrong: a frontend may hold the response back. */
  readonly hasWrongCredentials?: boolean;
  /** The frontend serves the request itself, as the client has the right to it. */
  readonly isForFrontend?: boolean;
}
