import { RingdError } from "../lib/errors.js";

/**
 * Everything that a call of the client rejects with, but for the reason of a signal of the caller's own:
 *
 *   ClientError
 *   ├─ EtcdError            the key space refused: errorCode, cause and index as the server said them
 *   │  ├─ KeyNotFoundError 100   CompareFailedError 101    NotAFileError 102          NotADirectoryError 104
 *   │  ├─ KeyExistsError 105     RootReadOnlyError 107     DirectoryNotEmptyError 108 UnauthorizedError 110
 *   │  ├─ InvalidRequestError 200 to 299
 *   │  └─ EventIndexClearedError 401
 *   ├─ ApiError             members or authentication refused: status and the server's sentence
 *   ├─ UnavailableError     no endpoint answered well; `errors` has one of the following for each tried
 *   ├─ MaybeAppliedError    a write that must not be sent twice got no answer
 *   ├─ TimeoutError         totalTimeoutMs is over
 *   ├─ NoEndpointsError     no endpoint to ask
 *   └─ EndpointError        of one endpoint
 *      ├─ ConnectError         not reached: refused, unknown name, bad certificate
 *      ├─ ConnectionLostError  reached, then cut off before the answer was complete
 *      ├─ RequestTimeoutError  no answer in timeoutMs
 *      ├─ MemberError          status 5xx: no leader, too busy
 *      ├─ UnhealthyError       a watch left it
 *      └─ InvalidAnswerError   not what an etcd would say
 */
export abstract class ClientError extends RingdError {}

/** What the key space answers when it refuses. */
export interface EtcdErrorBody {
  readonly errorCode: number;
  readonly message: string;
  readonly cause?: string;
  readonly index: number;
}

/** The key space refused the request: `100: Key not found (/a) [17]`. */
export class EtcdError extends ClientError {
  override readonly name: string = "EtcdError";
  readonly code: string = "ETCD_ERROR";
  /** The server's number, the one programs know: 100 is "Key not found". */
  readonly errorCode: number;
  /** The server's message without cause and index. */
  readonly reason: string;
  /** What it is about, usually a key; empty if the server gave none. */
  override readonly cause: string;
  /** Index of the store when it refused; 0 if the request itself was wrong. */
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

  /** The class for the number. */
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

/** 101: prevValue or prevIndex is not what the key has. `cause` says both: `[wanted != present]`. */
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

/** 110: the user, or who gives none, may not do this. */
export class UnauthorizedError extends EtcdError {
  override readonly name = "UnauthorizedError";
  override readonly code = "UNAUTHORIZED";
}

/** 200 to 299: a parameter that the server does not take. */
export class InvalidRequestError extends EtcdError {
  override readonly name = "InvalidRequestError";
  override readonly code = "INVALID_REQUEST";
}

/** 401: the history no longer holds what happened at that index. */
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

/** The server refused a request about members, authentication or statistics. The message is its sentence. */
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

/** Every endpoint was tried, and none answered well. */
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
 * A write that is not safe to send twice (see `CallOptions.repeat`) reached a member, but no good answer came
 * back: it may have been carried out, or may be later. `cause` tells what happened.
 */
export class MaybeAppliedError extends ClientError {
  override readonly name = "MaybeAppliedError";
  readonly code = "MAYBE_APPLIED";
  override readonly cause: EndpointError;

  constructor(cause: EndpointError) {
    super(`${cause.message}; whether the request was carried out is unknown`);
    this.cause = cause;
  }
}

/** The time for the whole call is over. */
export class TimeoutError extends ClientError {
  override readonly name = "TimeoutError";
  readonly code = "TIMEOUT";

  constructor(totalTimeoutMs: number) {
    super(`No answer within ${totalTimeoutMs} ms`);
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

/** One endpoint did not answer well; others may. */
export abstract class EndpointError extends ClientError {
  readonly endpoint: string;
  /** Whether a part of the request may have reached the member. */
  readonly isSent: boolean;

  constructor(message: string, endpoint: string, isSent: boolean, cause?: unknown) {
    super(message, { cause });
    this.endpoint = endpoint;
    this.isSent = isSent;
  }
}

/** The request never left: the connection is refused, the name is unknown, a certificate does not fit. */
export class ConnectError extends EndpointError {
  override readonly name = "ConnectError";
  readonly code = "CONNECT";
  /** Of the system or TLS: `ECONNREFUSED`, `ENOTFOUND`, `CERT_HAS_EXPIRED`; empty if unknown. */
  readonly systemCode: string;

  constructor(endpoint: string, cause: unknown) {
    const { code, text } = describe(cause);
    super(`Cannot connect to ${endpoint}: ${text}`, endpoint, false, cause);
    this.systemCode = code;
  }
}

/** The connection ended before the answer was complete. */
export class ConnectionLostError extends EndpointError {
  override readonly name = "ConnectionLostError";
  readonly code = "CONNECTION_LOST";
  readonly systemCode: string;

  constructor(endpoint: string, cause: unknown) {
    const { code, text } = describe(cause);
    super(`Lost the connection to ${endpoint}: ${text}`, endpoint, true, cause);
    this.systemCode = code;
  }
}

/** No answer within `timeoutMs`. */
export class RequestTimeoutError extends EndpointError {
  override readonly name = "RequestTimeoutError";
  readonly code = "REQUEST_TIMEOUT";

  constructor(endpoint: string, isSent: boolean) {
    super(`client: endpoint ${endpoint} exceeded header timeout`, endpoint, isSent);
  }
}

/** The member answered 5xx: it has no leader, is too busy, or is a proxy without members. */
export class MemberError extends EndpointError {
  override readonly name = "MemberError";
  readonly code = "MEMBER_ERROR";
  readonly status: number;
  /** As it came; the reason may be in it. */
  readonly body: string;

  constructor(endpoint: string, status: number, statusText: string, body: string) {
    const what =
      status === 500 || status === 503 ? "has no leader" : `returns server error [${statusText}]`;
    super(`client: etcd member ${endpoint} ${what}`, endpoint, true);
    this.status = status;
    this.body = body;
  }
}

/** A watch left this member, which did not answer a health check or is cut off from the others. */
export class UnhealthyError extends EndpointError {
  override readonly name = "UnhealthyError";
  readonly code = "UNHEALTHY";

  constructor(endpoint: string) {
    super(`Member ${endpoint} is unhealthy`, endpoint, true);
  }
}

/** The answer is not of the kind an etcd gives. */
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
  // Happy eyeballs: all addresses of a name failed, each with an error of its own.
  const first: unknown = cause instanceof AggregateError ? cause.errors[0] : cause;
  const { code = "", syscall } = first as NodeJS.ErrnoException;
  // node:http calls it a reset, too, when the other side closes the connection; only resets are system errors.
  if (code === "ECONNRESET" && syscall === undefined) return { code: "", text: CLOSED };
  const text = KNOWN[code] ?? (first instanceof Error ? first.message.trim() : String(first));
  return { code, text };
}

const CLOSED = "the other side closed it";

const KNOWN: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset",
  ENOTFOUND: "no such host",
  EHOSTUNREACH: "no route to host",
  ENETUNREACH: "network is unreachable",
  ETIMEDOUT: "timed out",
};
