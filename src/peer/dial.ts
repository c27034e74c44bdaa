import { type ClientRequest, type IncomingMessage, request } from "node:http";
import type { Socket } from "node:net";
import { NO_TLS, type PeerAddress } from "./address.js";
import { CLUSTER_HEADER, formatOf, STREAM_PATH, STREAM_UPGRADE } from "./hello.js";

/** Of a refusal's text. */
const REASON_BYTES_MAX = 4096;

export type DialResult =
  /** `early`: what the other side sent right behind its answer. */
  | {
      readonly kind: "open";
      readonly socket: Socket;
      readonly early: Buffer;
      /** The newest format level that the other side knows. */
      readonly format: number;
    }
  /** By a member of `clusterId`, or by something else if that is "". */
  | {
      readonly kind: "refused";
      readonly status: number;
      readonly clusterId: string;
      readonly reason: string;
    }
  | { readonly kind: "failed"; readonly reason: string };

/** A request to a member, not sent yet. The address is not secure. */
export function peerRequest(
  address: PeerAddress,
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
): ClientRequest {
  // An agent would put what is upgraded or half-sent back among connections for others.
  return request({ ...connectTo(address), agent: false, method, path, headers });
}

function connectTo({ target }: PeerAddress): Record<string, string | number> {
  return "path" in target ? { socketPath: target.path } : { host: target.host, port: target.port };
}

/** Opens a stream: connects, says hello, waits for the upgrade. Never throws. */
export function dialStream(
  address: PeerAddress,
  hello: Readonly<Record<string, string>>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<DialResult> {
  if (address.isSecure) {
    return Promise.resolve({ kind: "failed", reason: NO_TLS });
  }
  return new Promise((resolve) => {
    const headers = { ...hello, Connection: "Upgrade", Upgrade: STREAM_UPGRADE };
    const call = peerRequest(address, "GET", STREAM_PATH, headers);
    let hasEnded = false;
    const end = (result: DialResult) => {
      if (hasEnded) return; // What comes after an upgrade is the stream's affair.
      hasEnded = true;
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      resolve(result);
      if (result.kind !== "open") call.destroy();
    };
    const fail = (reason: string) => end({ kind: "failed", reason });
    const timer = setTimeout(() => fail(`no answer within ${timeoutMs} ms`), timeoutMs);
    const onAbort = () => fail("given up");
    signal.addEventListener("abort", onAbort);
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

/** Reads why a request was refused. */
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
    parts.push(Buffer.from(` (cut off: ${(error as Error).message})`));
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
