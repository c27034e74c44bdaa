import { ErrorCode } from "../store/refusal.js";

/** Text and HTTP status of each error code (etcd 3.4, etcdserver/api/v2error/error.go). */
export const V2_ERRORS: Readonly<Record<ErrorCode, { message: string; status: number }>> = {
  [ErrorCode.keyNotFound]: { message: "Key not found", status: 404 },
  [ErrorCode.compareFailed]: { message: "Compare failed", status: 412 },
  [ErrorCode.notFile]: { message: "Not a file", status: 403 },
  [ErrorCode.notDirectory]: { message: "Not a directory", status: 400 },
  [ErrorCode.nodeExists]: { message: "Key already exists", status: 412 },
  [ErrorCode.rootReadOnly]: { message: "Root is read only", status: 400 },
  [ErrorCode.directoryNotEmpty]: { message: "Directory not empty", status: 403 },
  [ErrorCode.unauthorized]: {
    message: "The request requires user authentication",
    status: 401,
  },
  [ErrorCode.prevValueRequired]: { message: "PrevValue is Required in POST form", status: 400 },
  [ErrorCode.ttlNotNumber]: {
    message: "The given TTL in POST form is not a number",
    status: 400,
  },
  [ErrorCode.indexNotNumber]: {
    message: "The given index in POST form is not a number",
    status: 400,
  },
  [ErrorCode.invalidField]: { message: "Invalid field", status: 400 },
  [ErrorCode.invalidForm]: { message: "Invalid POST form", status: 400 },
  [ErrorCode.refreshValue]: { message: "Value provided on refresh", status: 400 },
  [ErrorCode.refreshTtlRequired]: { message: "A TTL must be provided on refresh", status: 400 },
  [ErrorCode.raftInternal]: { message: "Raft Internal Error", status: 500 },
  [ErrorCode.leaderElect]: { message: "During Leader Election", status: 500 },
  [ErrorCode.noSpace]: { message: "Insufficient Storage", status: 507 },
  [ErrorCode.watcherCleared]: {
    message: "watcher is cleared due to etcd recovery",
    status: 400,
  },
  [ErrorCode.eventIndexCleared]: {
    message: "The event in requested index is outdated and cleared",
    status: 400,
  },
};
