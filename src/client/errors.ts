import { RingdError } from "../lib/errors.js";

/**
 * All errors that a call of the client rejects with, besides the reason of the caller's own signal:
 *
 *   ClientError
 *   ├─ EtcdError            rejected by the key space; with the server's errorCode, cause, index
 *   │  ├─ KeyNotFoundError 100, CompareFailedError 101, NotAFileError 102
 *   │  ├─ NotADirectoryError 104, KeyExistsError 105, RootReadOnlyError 107
 *   │  ├─ DirectoryNotEmptyError 108, UnauthorizedError 110
 *   │  ├─ InvalidRequestError 200 to 299
 *   │  └─ EventIndexClearedError 401
 *   ├─ ApiError             rejected by the members, auth or statistics API, with its message
 *   ├─ UnavailableError     every endpoint failed; `errors` has one EndpointError for each
 *   ├─ MaybeAppliedError    a write that must not be sent twice failed after it was sent
 *   ├─ TimeoutError         totalTimeoutMs passed
 *   ├─ NoEndpointsError     no endpoints configured or advertised
 *   └─ EndpointError        one endpoint failed
 *      ├─ ConnectError         not connected: connection refused, unknown name, bad certificate
 *      ├─ ConnectionLostError  disconnected before the response was complete
 *      ├─ RequestTimeoutError  no response headers within timeoutMs
 *      ├─ MemberError          status 5xx: no leader, too busy
 *      ├─ UnhealthyError       failed a health check while a watch was open
 *      └─ InvalidAnswerError   the response is not from an etcd
 */
export abstract class ClientError extends RingdError {}

/** The JSON of an error of the key space. */
export interface EtcdErrorBody {
  readonly errorCode: number;
  readonly message: string;
  readonly cause?: string;
  readonly index: number;
}

/** The key space rejected the request: `100: Key not found (/a) [17]`. */
export class EtcdError extends ClientError {
  override readonly name: string = "EtcdError";
  readonly code: string = "ETCD_ERROR";
  /** The server's error code: 100 is "Key not found". */
  readonly errorCode: number;
  /** The server's message without cause and index. */
  readonly reason: string;
  /** Usually the key in question; empty if the server sent none. */
  override readonly cause: string;
  /** Index of the store at that time; 0 if the request itself was invalid. */
  readonly index: number;
  /** HTTP status. */
  readonly status: number;
  readonly endpoint: string;

  constructor(body: EtcdErrorBody, status: number, endpoint: string) {
    const cause = body.cause ?? "";
    super(`${body.errorCode}: ${body.message} (${cause}) [${body.index}]`);
    this.errorCode = body.errorCode;
    this.reason = body.message;
    this.cause = cause;
    this.index = body.index;
    this.status = status;
    this.endpoint = endpoint;
  }

  /** @returns an instance of the class for the error code */
  static of(body: EtcdErrorBody, status: number, endpoint: string): EtcdError {
    const isInvalid = body.errorCode >= 200 && body.errorCode < 300;
    const Class = isInvalid ? InvalidRequestError : (CLASSES[body.errorCode] ?? EtcdError);
    return new Class(body, status, endpoint);
  }
}

/** 100. `cause` is the first part of the path that is missing. */
export class KeyNotFoundError extends EtcdError {
  override readonly name = "KeyNotFoundError";
  override readonly code = "KEY_NOT_FOUND";
}

/** 101: prevValue or prevIndex differs. `cause` has both: `[expected != actual]`. */
export class CompareFailedError extends EtcdError {
  override readonly name = "CompareFailedError";
  override readonly code = "COMPARE_FAILED";
}

/** 102: the key is a directory. */
export class NotAFileError extends EtcdError {
  override readonly name = "NotAFileError";
  override readonly code = "NOT_A_FILE";
}

/** 104: a file is in the way. */
export class NotADirectoryError extends EtcdError {
  override readonly name = "NotADirectoryError";
  override readonly code = "NOT_A_DIRECTORY";
}

/** 105. */
export class KeyExistsError extends EtcdError {
  override readonly name = "KeyExistsError";
  override readonly code = "KEY_EXISTS";
}

/** 107. */
export class RootReadOnlyError extends EtcdError {
  override readonly name = "RootReadOnlyError";
  override readonly code = "ROOT_READ_ONLY";
}

/** 108. */
export class DirectoryNotEmptyError extends EtcdError {
  override readonly name = "DirectoryNotEmptyError";
  override readonly code = "DIRECTORY_NOT_EMPTY";
}

/** 110: the user (or guest) lacks the permission. */
export class UnauthorizedError extends EtcdError {
  override readonly name = "UnauthorizedError";
  override readonly code = "UNAUTHORIZED";
}

/** 200 to 299: the server rejected a parameter. */
export class InvalidRequestError extends EtcdError {
  override readonly name = "InvalidRequestError";
  override readonly code = "INVALID_REQUEST";
}

/** 401: the history no longer holds the event at that index. */
export class EventIndexClearedError extends EtcdError {
  override readonly name = "EventIndexClearedError";
  override readonly code = "EVENT_INDEX_CLEARED";
}

const CLASSES: Readonly<Record<number, typeof EtcdError>> = {
  100: KeyNotFoundError,
  101: CompareFailedError,
  102: NotAFileError,
  104: NotADirectoryError,
  105: KeyExistsError,
  107: RootReadOnlyError,
  108: DirectoryNotEmptyError,
  110: UnauthorizedError,
  401: EventIndexClearedError,
};

/** The members, auth or statistics API rejected the request. The message is the server's. */
export class ApiError extends ClientError {
  override readonly name = "ApiError";
  readonly code = "API_ERROR";
  /** HTTP status. */
  readonly status: number;
  readonly endpoint: string;

  constructor(message: string, status: number, endpoint: string) {
    super(message);
    this.status = status;
    this.endpoint = endpoint;
  }
}

/** Every endpoint was tried and failed. */
export class UnavailableError extends ClientError {
  override readonly name = "UnavailableError";
  readonly code = "UNAVAILABLE";
  /** One for each endpoint, in the order they were tried. */
  readonly errors: readonly EndpointError[];

  constructor(errors: readonly EndpointError[]) {
    const each = errors.map(({ message }, n) => `; error #${n}: ${message}\n`);
    super(`client: etcd cluster is unavailable or misconfigured${each.join("")}`);
    this.errors = errors;
  }
}

/**
 * A write that is not safe to send twice (see `CallOptions.repeat`) was sent, and the endpoint
 * failed: it may have been applied, or may be later. `cause` is the endpoint's error.
 */
export class MaybeAppliedError extends ClientError {
  override readonly name = "MaybeAppliedError";
  readonly code = "MAYBE_APPLIED";
  override readonly cause: EndpointError;

  constructor(cause: EndpointError) {
    super(`${cause.message}; the request may have been applied`);
    this.cause = cause;
  }
}

/** The call took longer than `totalTimeoutMs`. */
export class TimeoutError extends ClientError {
  override readonly name = "TimeoutError";
  readonly code = "TIMEOUT";

  constructor(totalTimeoutMs: number) {
    super(`No response within ${totalTimeoutMs} ms`);
  }
}

/** No endpoint was given, or the members advertise none. */
export class NoEndpointsError extends ClientError {
  override readonly name = "NoEndpointsError";
  readonly code = "NO_ENDPOINTS";

  constructor() {
    super("client: no endpoints available");
  }
}

/** One endpoint failed; others may work. */
export abstract class EndpointError extends ClientError {
  readonly endpoint: string;
  /** Whether the member may have received the request. */
  readonly isSent: boolean;

  constructor(message: string, endpoint: string, isSent: boolean, cause?: unknown) {
    super(message, { cause });
    this.endpoint = endpoint;
    this.isSent = isSent;
  }
}

/** The request was not sent: connection refused, unknown name, invalid certificate. */
export class ConnectError extends EndpointError {
  override readonly name = "ConnectError";
  readonly code = "CONNECT";
  /** From the system or TLS: `ECONNREFUSED`, `ENOTFOUND`, `CERT_HAS_EXPIRED`; else empty. */
  readonly systemCode: string;

  constructor(endpoint: string, cause: unknown) {
    const { code, text } = describe(cause);
    super(`Cannot connect to ${endpoint}: ${text}`, endpoint, false, cause);
    this.systemCode = code;
  }
}

/** The connection ended before the response was complete. */
export class ConnectionLostError extends EndpointError {
  override readonly name = "ConnectionLostError";
  readonly code = "CONNECTION_LOST";
  readonly systemCode: string;

  constructor(endpoint: string, cause: unknown) {
    const { code, text } = describe(cause);
    super(`Lost connection to ${endpoint}: ${text}`, endpoint, true, cause);
    this.systemCode = code;
  }
}

/** No response headers within `timeoutMs`. */
export class RequestTimeoutError extends EndpointError {
  override readonly name = "RequestTimeoutError";
  readonly code = "REQUEST_TIMEOUT";

  constructor(endpoint: string, isSent: boolean) {
    super(`client: endpoint ${endpoint} exceeded header timeout`, endpoint, isSent);
  }
}

/** Status 5xx: the member has no leader, is too busy, or is a proxy without members. */
export class MemberError extends EndpointError {
  override readonly name = "MemberError";
  readonly code = "MEMBER_ERROR";
  readonly status: number;
  /** Of the response, unparsed; it may contain the reason. */
  readonly body: string;

  constructor(endpoint: string, status: number, statusText: string, body: string) {
    const what =
      status === 500 || status === 503 ? "has no leader" : `returns server error [${statusText}]`;
    super(`client: etcd member ${endpoint} ${what}`, endpoint, true);
    this.status = status;
    this.body = body;
  }
}

/** A watch left this member, because its health check failed. */
export class UnhealthyError extends EndpointError {
  override readonly name = "UnhealthyError";
  readonly code = "UNHEALTHY";

  constructor(endpoint: string) {
    super(`Member ${endpoint} is unhealthy`, endpoint, true);
  }
}

/** The response is not from an etcd. */
export class InvalidAnswerError extends EndpointError {
  override readonly name = "InvalidAnswerError";
  readonly code = "INVALID_ANSWER";
  readonly status: number;

  constructor(endpoint: string, status: number, why: string) {
    super(`client: ${why}`, endpoint, true);
    this.status = status;
  }
}

function describe(cause: unknown): { code: string; text: string } {
  if (!(cause instanceof Error)) return { code: "", text: CLOSED };
  // All addresses of a name failed, each with its own error.
  const first: unknown = cause instanceof AggregateError ? cause.errors[0] : cause;
  const { code = "", syscall } = first as NodeJS.ErrnoException;
  // node:http uses this code for a closed connection, too; only a real reset has a syscall.
  if (code === "ECONNRESET" && syscall === undefined) return { code: "", text: CLOSED };
  const text = KNOWN[code] ?? (first instanceof Error ? first.message.trim() : String(first));
  return { code, text };
}

const CLOSED = "closed by the server";

const KNOWN: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset",
  ENOTFOUND: "no such host",
  EHOSTUNREACH: "no route to host",
  ENETUNREACH: "network is unreachable",
  ETIMEDOUT: "timed out",
};
