import type { FramedRequest, ResponseRecord } from "../messages/requests.js";
import type { BodyRoom } from "./body-room.js";
import type { HeadText } from "./head-text.js";
import type { LargeRequest, LargeRequests } from "./large-requests.js";

/**
 * One HTTP request waiting for its answer: what a frontend implementation gives the gateway. Byte
 * views are valid during the call only. Calls after the client has gone do nothing.
 */
export interface Exchange {
  /**
   * What `Gateway.request` returned; undefined before that, and for a response without the core.
   */
  requestId: number | undefined;
  /**
   * If its body is large: that takes room until the core has answered, whether or not the client is
   * still there.
   */
  readonly large: LargeRequest | undefined;
  /** The whole answer. */
  answer(head: ResponseRecord, body: Uint8Array): void;
  /** The start of an answer: status and headers leave at once, chunks follow. */
  open(head: ResponseRecord, body: Uint8Array): void;
  /** More of an open answer; `isEnd` completes it and leaves the connection usable. */
  chunk(body: ChunkBody, isEnd: boolean): void;
  /** Ends the connection in the middle of the answer. */
  cut(): void;
}

/** One body for many exchanges: an implementation frames it once and keeps the result here. */
export interface ChunkBody {
  readonly bytes: Uint8Array;
  /** As a chunk. */
  plain?: Buffer;
  framed: Buffer | undefined;
  framedLast: Buffer | undefined;
  /** The same of the node frontend: both may serve an event. */
  chunked?: Buffer;
  /** Where a second part of `framed` begins, for an implementation that needs two. */
  framedSplit?: number;
}

/** What a frontend implementation may ask of its thread. */
export interface Gateway {
  /** @returns the id for the calls below; undefined for a request that the core does not get */
  request(exchange: Exchange, request: FramedRequest): number | undefined;
  /** The client is gone before its answer was complete. */
  abort(requestId: number): void;
  /** The client takes its answer too slowly; nothing more until `resume`. Watches do not wait. */
  hold(requestId: number): void;
  resume(requestId: number): void;
}

/** What both implementations are told. */
export interface FrontendOptions {
  readonly heads: HeadText;
  /** A request was refused because too much is under way. */
  readonly onTooMany: () => void;
  /**
   * Connections open at a time; more are closed as they come. What another frontend holds is left
   * out.
   */
  readonly connectionsMax: number;
  /** For all bodies that have not come whole yet, of this thread's other frontend, too. */
  readonly bodyRoom: BodyRoom;
  /** Of this thread's other frontend, too. */
  readonly largeRequests: LargeRequests;
  /** A client that does not read its answer was cut off, about this many bytes behind. */
  readonly onSlowClient: (backlogBytes: number) => void;
  /** A connection opened, 1, or closed, -1. */
  readonly onConnection: (change: number) => void;
  /** One that was opened is closed at once, as too many are open. */
  readonly onRefused: () => void;
  /**
   * A connection has ended that never brought a request which could be served, and why if it is
   * known.
   */
  readonly onUnserved?: (reason: string) => void;
}

/**
 * How a port is bound: by one frontend alone, by the first of several threads (nobody else may have
 * it), or by the next ones.
 */
export type PortSharing = "alone" | "first" | "joins";

/** A server on the client URLs. */
export interface Frontend {
  /** @returns the port, which the system chooses for 0 @throws ListenError */
  listen(host: string, port: number, sharing: PortSharing): Promise<number>;
  listenUnix(path: string): Promise<void>;
  /** Stops accepting; open exchanges go on. */
  stopListening(): void;
  /** Drops every connection and handle. */
  close(): void;
}

/** What a stream's client may leave unread, beyond what the kernel keeps, before it is cut off. */
export const STREAM_BACKLOG_BYTES_MAX = 16 * 1024 * 1024;
/**
 * What all of a frontend's streams may leave unread together: above it, those behind are cut off.
 */
export const ALL_BACKLOGS_BYTES_MAX = 256 * 1024 * 1024;
