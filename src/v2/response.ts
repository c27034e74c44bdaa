/**
 * Which Content-Type (and companions) a frontend sends; the number travels in the answer record.
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
  /** `text/plain; charset=utf-8` from below the API, in Go's HTTP server: no CORS headers. */
  bare: 7,
} as const;
export type ContentKind = (typeof ContentKind)[keyof typeof ContentKind];

/** Longest value of Location; etcd takes no targets above 4 KB. */
export const LOCATION_BYTES_MAX = 0xffff;

/** The head of an answer. The body's bytes travel beside it. */
export interface ResponseHead {
  /** HTTP status code. */
  readonly status: number;
  readonly contentKind: ContentKind;
  /** Send `X-Etcd-Cluster-Id`. */
  readonly hasClusterId: boolean;
  /** Value of `X-Etcd-Index`, or -1: do not send. */
  readonly etcdIndex: number;
  /** Send `X-Raft-Index` and `X-Raft-Term`, as they stand when the answer leaves the core. */
  readonly hasRaft: boolean;
  /** Value of `Allow`; "" sends none. */
  readonly allow: string;
  /** Value of `Location` (latin1 bytes); "" sends none. */
  readonly location: string;
}
