import { type ClientRequest, type IncomingMessage, type RequestOptions, request } from "node:http";
import { connect, type Socket } from "node:net";
import { messageOf, RingdError } from "../lib/errors.js";
import { connectionError } from "../tls/go-errors.js";
import type { PeerTrust } from "../tls/peer-checks.js";
import type { PeerAddress } from "./address.js";
import { CLUSTER_HEADER, formatOf, STREAM_PATH, STREAM_UPGRADE } from "./hello.js";

/** Limit of a rejection's text. */
const REASON_BYTES_MAX = 4096;
/**
 * Interval between parallel connection attempts. TCP repeats a lost SYN after 1, 2 and 4 s: after a
 * brief network failure, a new SYN arrives much sooner.
 */
const ANOTHER_MS = 100;
/** Limit of parallel connection attempts. */
const CONNECTIONS_MAX = 8;

export type DialResult =
  /** `early`: bytes received along with the response. */
  | {
      readonly kind: "open";
      readonly socket: Socket;
      readonly early: Buffer;
      /** The newest format level that the peer supports. */
      readonly format: number;
    }
  /** Rejected by a member of `clusterId`; "": by something else. */
  | {
      readonly kind: "refused";
      readonly status: number;
      readonly clusterId: string;
      readonly reason: string;
    }
  /** `isLate`: no response in time, not even a rejection. */
  | { readonly kind: "failed"; readonly reason: string; readonly isLate: boolean };

/** How a member is dialled. */
export interface Dialling {
  /** For https URLs; undefined: the default, without a certificate of our own. */
  readonly trust: PeerTrust | undefined;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * A request to a member on a connection of its own, not sent yet.
 *
 * @throws DialError
 */
export async function peerRequest(
  address: PeerAddress,
  { method, path, headers }: Pick<RequestOptions, "method" | "path" | "headers">,
  dialling: Dialling,
): Promise<ClientRequest> {
  const socket = await connectTo(address, dialling);
  if ("kind" in socket) throw new DialError(socket.reason);
  return request({ ...hostOf(address), createConnection: () => socket, method, path, headers });
}

/** There is no connection to a member. */
export class DialError extends RingdError {
  override readonly name = "DialError";
  readonly code = "PEER_UNREACHABLE";
}

/** For the Host header. */
function hostOf({ target }: PeerAddress): RequestOptions {
  return "path" in target ? {} : target;
}

/** Opens a stream: connects, sends the hello, awaits the upgrade. Never rejects. */
export async function dialStream(
  address: PeerAddress,
  hello: Readonly<Record<string, string>>,
  dialling: Dialling,
): Promise<DialResult> {
  const { timeoutMs, signal } = dialling;
  const startMs = performance.now();
  const socket = await connectTo(address, dialling);
  if ("kind" in socket) return socket;
  const leftMs = timeoutMs - (performance.now() - startMs);
  const result = await sayHello(address, hello, socket, leftMs, signal);
  // Always the same text, as the caller logs each reason once.
  return result.kind === "failed" && result.isLate ? late(timeoutMs) : result;
}

type DialFailure = Extract<DialResult, { kind: "failed" }>;

/** A connection over which a request can be sent, by the scheme of the URL. */
async function connectTo(
  address: PeerAddress,
  { trust, timeoutMs, signal }: Dialling,
): Promise<Socket | DialFailure> {
  const startMs = performance.now();
  const socket = await connectSoon(address, timeoutMs, signal);
  if ("kind" in socket || !address.isSecure) return socket;
  // node:tls takes 5 to 20 ms and 0.8 MB: a member without TLS does not load it.
  const { PeerTlsError, secureSocket } = await import("../tls/connect.js");
  const leftMs = timeoutMs - (performance.now() - startMs);
  try {
    return await secureSocket(socket, address.host, trust, leftMs, signal);
  } catch (error) {
    if (!(error instanceof PeerTlsError)) throw error;
    return error.isLate ? late(timeoutMs) : failed(error.message);
  }
}

function failed(reason: string): DialFailure {
  return { kind: "failed", reason, isLate: false };
}

function late(timeoutMs: number): DialFailure {
  return { kind: "failed", reason: `no response within ${timeoutMs} ms`, isLate: true };
}

/** Resolves with the first of several parallel connections to open. */
function connectSoon(
  { target }: PeerAddress,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Socket | DialFailure> {
  return new Promise((resolve) => {
    const sockets = new Set<Socket>();
    const end = (result: Socket | DialFailure) => {
      clearTimeout(timer);
      clearInterval(another);
      signal.removeEventListener("abort", onAbort);
      for (const socket of sockets) if (socket !== result) socket.destroy();
      sockets.clear(); // Their later events are ignored.
      resolve(result);
    };
    const fail = (reason: string) => end(failed(reason));
    const onAbort = () => fail("given up");
    const tryOne = () => {
      const socket = connect(target);
      sockets.add(socket);
      socket.once("connect", () => end(socket));
      socket.on("error", (error) => {
        if (sockets.has(socket)) fail(messageOf(error));
      });
    };
    const timer = setTimeout(() => end(late(timeoutMs)), timeoutMs);
    const another = setInterval(() => {
      if (sockets.size < CONNECTIONS_MAX) tryOne();
    }, ANOTHER_MS);
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    else tryOne();
  });
}

function sayHello(
  address: PeerAddress,
  hello: Readonly<Record<string, string>>,
  socket: Socket,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<DialResult> {
  return new Promise((resolve) => {
    const headers = { ...hello, Connection: "Upgrade", Upgrade: STREAM_UPGRADE };
    const call = request({
      ...{ ...hostOf(address), createConnection: () => socket }, // Not allowed with an agent.
      ...{ method: "GET", path: STREAM_PATH, headers },
    });
    let hasEnded = false;
    const end = (result: DialResult) => {
      if (hasEnded) return; // After an upgrade the stream handles events.
      hasEnded = true;
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      resolve(result);
      if (result.kind === "open") return;
      call.destroy();
      socket.destroy(); // The request may not have it yet.
    };
    const timer = setTimeout(() => end(late(timeoutMs)), timeoutMs);
    const fail = (reason: string) => end(failed(reason));
    const onAbort = () => fail("given up");
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    call.on("error", (error) => fail(connectionError(error)));
    call.on("upgrade", (response, socket: Socket, early: Buffer) => {
      end({ kind: "open", socket, early, format: formatOf(response.headers) });
    });
    call.on("response", (response) => {
      void readRefusal(response).then(end);
    });
    call.end();
  });
}

/** Reads the reason of a rejected request. */
export async function readRefusal(
  response: IncomingMessage,
): Promise<Extract<DialResult, { kind: "refused" }>> {
  const parts: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const part of response as AsyncIterable<Buffer>) {
      parts.push(part);
      bytes += part.length;
      if (bytes > REASON_BYTES_MAX) break;
    }
  } catch (error) {
    parts.push(Buffer.from(` (truncated: ${(error as Error).message})`));
  }
  const text = Buffer.concat(parts).toString("utf8").slice(0, REASON_BYTES_MAX).trim();
  const status = response.statusCode ?? 0;
  const cluster = response.headers[CLUSTER_HEADER];
  return {
    kind: "refused",
    status,
    clusterId: typeof cluster === "string" ? cluster : "",
    reason: text === "" ? `HTTP status ${status}` : text,
  };
}
