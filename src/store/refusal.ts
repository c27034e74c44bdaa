/** Reasons for which the store rejects a request: etcd v2's error codes. */
export const ErrorCode = {
  keyNotFound: 100,
  compareFailed: 101,
  notFile: 102,
  notDirectory: 104,
  nodeExists: 105,
  rootReadOnly: 107,
  directoryNotEmpty: 108,
  unauthorized: 110,
  prevValueRequired: 201,
  ttlNotNumber: 202,
  indexNotNumber: 203,
  invalidField: 209,
  invalidForm: 210,
  refreshValue: 211,
  refreshTtlRequired: 212,
  raftInternal: 300,
  leaderElect: 301,
  /** ringd's own: the store has reached its quota. */
  noSpace: 302,
  watcherCleared: 400,
  eventIndexCleared: 401,
} as const;
export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode];

/**
 * A rejected request. A value, not an exception: a failed compare-and-swap is ordinary traffic, and
 * capturing a stack trace costs more than the whole operation.
 */
export class Refusal {
  readonly code: ErrorCode;
  /** Latin1 bytes, as paths; an internal path such as "/1/foo" where it names a key. May be "". */
  readonly cause: string;
  /** The store's index at that time; 0 if the request did not reach the store. */
  readonly index: number;

  constructor(code: ErrorCode, cause: string, index: number) {
    this.code = code;
    this.cause = cause;
    this.index = index;
  }
}
