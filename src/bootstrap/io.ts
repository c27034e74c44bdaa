import { createHash } from "node:crypto";
import { lookup } from "node:dns/promises";
import type { IncomingMessage } from "node:http";
import { connect } from "node:net";
import { splitListenUrl } from "../config/urls.js";
import { messageOf, RingdError } from "../lib/errors.js";
import type { PeerTrust } from "../tls/peer-checks.js";

/** The side effects of planning a start. */
export interface StartIo {
  /**
   * GET on a peer URL, of any scheme.
   *
   * @throws Error with the reason if there is no response
   */
  get(peerUrl: string, path: string, timeoutMs: number): Promise<PeerResponse>;
  /** Addresses of a host, preferred ones first. @throws Error if the host is unknown */
  resolve(host: string): Promise<readonly string[]>;
  /** The identity left by an interrupted first start, if any. @throws DataDirAccessError */
  identityLeft(dataDir: string, walDir: string): StartIdentity | undefined;
  sha1(bytes: Uint8Array): Uint8Array;
  warn(message: string): void;
  /** What --discovery names. */
  readonly token?: ClusterToken | undefined;
  /** How long an unknown host is retried; 30 seconds by default. */
  readonly resolveMs?: number;
}

/** A token at a discovery service, where the founders of one cluster find each other. */
export interface ClusterToken {
  /**
   * Registers this member, and waits for the others.
   *
   * @param id in hex @param member its entry of the initial cluster
   * @returns the initial cluster
   * @throws DiscoveryError
   */
  join(id: string, member: string): Promise<string>;
  /** The initial cluster, without registering. @throws DiscoveryError */
  cluster(): Promise<string>;
}

export interface StartIdentity {
  readonly memberId: bigint;
  readonly clusterId: bigint;
}

export interface PeerResponse {
  readonly body: string;
  /** The X-Etcd-Cluster-ID header; "" if there is none. */
  readonly clusterId: string;
}

/** A peer sent no response, or an unusable one. */
export class PeerRequestError extends RingdError {
  override readonly name = "PeerRequestError";
  readonly code = "PEER_REQUEST_FAILED";
}

const BODY_BYTES_MAX = 4 * 1024 * 1024;

/**
 * @param identityLeft implemented by wal/data-dir.ts
 * @param trust for https URLs
 */
export function nodeStartIo(
  identityLeft: StartIo["identityLeft"],
  trust: PeerTrust | undefined,
  warn: (message: string) => void,
): StartIo {
  return {
    get: (url, path, timeoutMs) => getFromPeer(url, path, trust, timeoutMs),
    resolve: async (host) => (await lookup(host, { all: true })).map(({ address }) => address),
    identityLeft,
    sha1: (bytes) => createHash("sha1").update(bytes).digest(),
    warn,
  };
}

/** One request on its own connection. Loads HTTP lazily, as a cluster of one sends no requests. */
async function getFromPeer(
  peerUrl: string,
  path: string,
  trust: PeerTrust | undefined,
  timeoutMs: number,
): Promise<PeerResponse> {
  const { scheme, host, target } = whereOf(peerUrl);
  const signal = AbortSignal.timeout(timeoutMs);
  const { get } = await import("node:http");
  const isSecure = scheme === "https" || scheme === "unixs";
  const secureSocket = isSecure && (await import("../tls/connect.js")).secureSocket;
  return new Promise((resolve, reject) => {
    const onError = (error: Error) => {
      socket.destroy();
      const why = signal.aborted ? `no response within ${timeoutMs} ms` : messageOf(error);
      reject(new PeerRequestError(why));
    };
    const socket = connect({ ...target, signal });
    socket.on("error", onError);
    socket.once("connect", async () => {
      try {
        const over = secureSocket ? await secureSocket(socket, host, trust, timeoutMs) : socket;
        const options = { ...("path" in target ? {} : target), createConnection: () => over };
        const request = get({ ...options, path, signal }, (answer) => {
          readAnswer(answer).then(resolve, onError);
        });
        request.on("error", onError);
      } catch (error) {
        onError(error as Error);
      }
    });
  });
}

/** @throws PeerRequestError */
function whereOf(peerUrl: string) {
  const [, scheme = "", path = ""] = /^(unixs?):\/\/(.*)$/.exec(peerUrl) ?? [];
  if (scheme !== "") return { scheme, host: path.replace(/:\d+$/, ""), target: { path } };
  const url = splitListenUrl(peerUrl);
  if (url === undefined) throw new PeerRequestError("it is not a peer URL");
  const { host, port } = url;
  return { scheme: url.scheme, host, target: { host, port } };
}

/** @throws PeerRequestError */
async function readAnswer(answer: IncomingMessage): Promise<PeerResponse> {
  const body = await readBody(answer);
  answer.destroy(); // The connection was for this request.
  // A member that does not trust our certificate.
  if (answer.statusCode === 403) throw new PeerRequestError(body.trim());
  const clusterId = answer.headers["x-etcd-cluster-id"];
  return { body, clusterId: typeof clusterId === "string" ? clusterId : "" };
}

async function readBody(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) {
      throw new PeerRequestError(`the response is longer than ${BODY_BYTES_MAX} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
