import type { FramedRequest, ResponseRecord } from "../messages/requests.js";
import type { HostWhitelist } from "../v2/host-whitelist.js";
import type { AddressLimit } from "./addresses.js";
import type { Backlogs } from "./backlogs.js";
import type { BodyRoom } from "./body-room.js";
import type { ChunkBody } from "./chunk-body.js";
import type { HeadText } from "./head-text.js";
import type { LargeRequest, LargeRequests } from "./large-requests.js";
import type { Protocols } from "./tls-door.js";

/** What a caller's headers say of its own trace; "" each for none. Only read for tracing. */
export interface CallerTrace {
  readonly traceparent: string;
  readonly tracestate: string;
  /** X-Request-Id. */
  readonly requestId: string;
}

/**
 * One HTTP request and its pending response, as a frontend hands it to the gateway. Byte views are
 * valid during the call only. Calls after the client has disconnected do nothing.
 */
export interface Exchange {
  /** Id from `Gateway.request`; undefined before, and for responses without the core. */
  requestId: number | undefined;
  /**
   * Set for a large body: it takes room until the core has responded, even if the client has
   * disconnected.
   */
  readonly large: LargeRequest | undefined;
  /** The client's address; "" if it is not known, or on a unix socket. */
  readonly remoteAddress: string;
  /** Unset unless `needsTrace`. */
  readonly trace?: CallerTrace | undefined;
  /** Sends the whole response. */
  answer(head: ResponseRecord, body: Uint8Array): void;
  /** Starts a response: sends status and headers at once; chunks follow. */
  open(head: ResponseRecord, body: Uint8Array): void;
  /** Sends more of an open response; `isEnd` completes it and keeps the connection usable. */
  chunk(body: ChunkBody, isEnd: boolean): void;
  /** Closes the connection, the response incomplete. */
  cut(): void;
}

/** A frontend's way to the core. */
export interface Gateway {
  /** Of this thread's streams, counted by its frontends. */
  readonly backlogs: Backlogs;
  /** @returns the id for the calls below; undefined if the request is served without the core */
  request(exchange: Exchange, request: FramedRequest): number | undefined;
  /** The client disconnected before its response was complete. */
  abort(requestId: number): void;
  /** Pauses a response that the client reads too slowly, until `resume`. Watches are not paused. */
  hold(requestId: number): void;
  resume(requestId: number): void;
}

/** Limit of request line and headers, bytes, as in etcd (Go's http.DefaultMaxHeaderBytes). */
export const HEAD_BYTES_MAX = 1024 * 1024;

/** Options of both implementations. */
export interface FrontendOptions {
  readonly heads: HeadText;
  /** Requests carry their client's address, for the audit log. */
  readonly needsRemote: boolean;
  /** Exchanges carry their caller's trace. */
  readonly needsTrace?: boolean;
  /** A request was rejected: too much is in flight. */
  readonly onTooMany: () => void;
  /** Limit of open connections; more are closed at once. The other frontend's do not count. */
  readonly connectionsMax: number;
  /** For all incomplete bodies; shared with this thread's other frontend. */
  readonly bodyRoom: BodyRoom;
  /** Shared with this thread's other frontend. */
  readonly largeRequests: LargeRequests;
  /**
   * A client that does not read its response was disconnected, with about this many bytes unread.
   */
  readonly onSlowClient: (backlogBytes: number) => void;
  /** A connection opened (1) or closed (-1). */
  readonly onConnection: (change: number) => void;
  /** A connection was rejected: connectionsMax, or the limit of its address, is reached. */
  readonly onRefused: (why: "all" | "address") => void;
  /** Limit of connections from one address. Undefined: none. */
  readonly addressLimit?: AddressLimit | undefined;
  /** Hosts that requests may be for. Undefined: any. */
  readonly hosts?: HostWhitelist | undefined;
  /** A request was rejected because of its host. */
  readonly onMisdirected?: (host: string) => void;
  /** Limit of request line and headers. Undefined: HEAD_BYTES_MAX. */
  readonly headBytesMax?: number;
  /** A request was rejected because of that. */
  readonly onHeadTooLong?: () => void;
  /** A connection ended without a valid request; the reason, if known. */
  readonly onUnserved?: (reason: string) => void;
}

/**
 * How a port is bound: exclusively by one frontend; exclusively first, then shared (the first of
 * several threads); or shared (the other threads).
 */
export type PortSharing = "alone" | "first" | "joins";

/** An HTTP server on client URLs. */
export interface Frontend {
  /**
   * @param protocols "http" by default; else only of a frontend that has certificates
   * @returns the port; for 0 the system chooses one
   * @throws ListenError
   */
  listen(host: string, port: number, sharing: PortSharing, protocols?: Protocols): Promise<number>;
  listenUnix(path: string, protocols?: Protocols): Promise<void>;
  /** Stops accepting; exchanges in flight continue. */
  stopListening(): void;
  /** Closes every connection and handle. */
  close(): void;
}

/**
 * Bytes of a stream, beyond the kernel's buffers, that a client may leave unread before it is
 * disconnected.
 */
export const STREAM_BACKLOG_BYTES_MAX = 16 * 1024 * 1024;
