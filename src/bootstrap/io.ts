import { createHash } from "node:crypto";
import { lookup } from "node:dns/promises";
import type { IncomingMessage } from "node:http";
import { RingdError } from "../lib/errors.js";

/** The side effects of planning a start. */
export interface StartIo {
  /**
   * GET on a peer URL, which may be `unix://`.
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

/** @param identityLeft implemented by wal/data-dir.ts */
export function nodeStartIo(
  identityLeft: StartIo["identityLeft"],
  warn: (message: string) => void,
): StartIo {
  return {
    get: getFromPeer,
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
  timeoutMs: number,
): Promise<PeerResponse> {
  const signal = AbortSignal.timeout(timeoutMs);
  const { get: getHttp } = await import("node:http");
  const { get: getHttps } = await import("node:https");
  return new Promise((resolve, reject) => {
    const onAnswer = (answer: IncomingMessage) => {
      readBody(answer).then((body) => {
        const clusterId = answer.headers["x-etcd-cluster-id"];
        resolve({ body, clusterId: typeof clusterId === "string" ? clusterId : "" });
      }, reject);
    };
    const [, scheme = "", socketPath = ""] = /^(unixs?|https?):\/\/(.*)$/.exec(peerUrl) ?? [];
    const options = { agent: false, signal };
    const request = scheme.startsWith("unix")
      ? getHttp({ ...options, socketPath, path }, onAnswer)
      : (scheme === "https" ? getHttps : getHttp)(`${peerUrl}${path}`, options, onAnswer);
    request.on("error", (error) => {
      reject(signal.aborted ? new PeerRequestError(`no response within ${timeoutMs} ms`) : error);
    });
  });
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
