import { type ClientRequest, type IncomingMessage, request } from "node:http";
import { connect, type Socket } from "node:net";
import { NO_TLS, type PeerAddress } from "./address.js";
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

/** A request to a member, not sent yet. The address must not be https. */
export function peerRequest(
  address: PeerAddress,
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
): ClientRequest {
  // Without an agent, which would reuse upgraded or half-sent connections.
  const { target } = address;
  const where = "path" in target ? { socketPath: target.path } : target;
  return request({ ...where, agent: false, method, path, headers });
}

function connectTo({ target }: PeerAddress) {
  return "path" in target ? { path: target.path } : { host: target.host, port: target.port };
}

/** Opens a stream: connects, sends the hello, awaits the upgrade. Never rejects. */
export async function dialStream(
  address: PeerAddress,
  hello: Readonly<Record<string, string>>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<DialResult> {
  if (address.isSecure) return { kind: "failed", reason: NO_TLS, isLate: false };
  const startMs = performance.now();
  const socket = await connectSoon(address, timeoutMs, signal);
  if ("kind" in socket) return socket;
  const leftMs = timeoutMs - (performance.now() - startMs);
  const result = await sayHello(address, hello, socket, leftMs, signal);
  // Always the same text, as the caller logs each reason once.
  return result.kind === "failed" && result.isLate ? late(timeoutMs) : result;
}

function late(timeoutMs: number): Extract<DialResult, { kind: "failed" }> {
  return { kind: "failed", reason: `no response within ${timeoutMs} ms`, isLate: true };
}

/** Resolves with the first of several parallel connections to open. */
function connectSoon(
  address: PeerAddress,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Socket | Extract<DialResult, { kind: "failed" }>> {
  return new Promise((resolve) => {
    const sockets = new Set<Socket>();
    const end = (result: Socket | Extract<DialResult, { kind: "failed" }>) => {
      clearTimeout(timer);
      clearInterval(another);
      signal.removeEventListener("abort", onAbort);
      for (const socket of sockets) if (socket !== result) socket.destroy();
      sockets.clear(); // Their later events are ignored.
      resolve(result);
    };
    const fail = (reason: string) => end({ kind: "failed", reason, isLate: false });
    const onAbort = () => fail("given up");
    const tryOne = () => {
      const socket = connect(connectTo(address));
      sockets.add(socket);
      socket.once("connect", () => end(socket));
      socket.on("error", (error) => {
        if (sockets.has(socket)) fail(error.message);
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
  { target }: PeerAddress,
  hello: Readonly<Record<string, string>>,
  socket: Socket,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<DialResult> {
  return new Promise((resolve) => {
    const headers = { ...hello, Connection: "Upgrade", Upgrade: STREAM_UPGRADE };
    const host = "path" in target ? {} : target; // For the Host header.
    const call = request({
      ...{ ...host, createConnection: () => socket }, // Not allowed with an agent.
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
    const fail = (reason: string) => end({ kind: "failed", reason, isLate: false });
    const onAbort = () => fail("given up");
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    call.on("error", (error) => fail(error.message));
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
