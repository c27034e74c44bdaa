import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Backlogs } from "#ringd/frontend/backlogs.js";
import { BODIES_BYTES_MAX, BodyRoom } from "#ringd/frontend/body-room.js";
import { ChunkBody } from "#ringd/frontend/chunk-body.js";
import type { Exchange, Frontend, Gateway } from "#ringd/frontend/frontend.js";
import { HeadText } from "#ringd/frontend/head-text.js";
import { LARGE_LIMITS, type LargeLimits, LargeRequests } from "#ringd/frontend/large-requests.js";
import { NodeFrontend, type NodeTls } from "#ringd/frontend/node-http.js";
import { TlsDoor } from "#ringd/frontend/tls-door.js";
import { loadUws, UwsFrontend } from "#ringd/frontend/uws.js";
import { type FramedRequest, ResponseRecord } from "#ringd/messages/requests.js";
import { TlsIdentity } from "#ringd/tls/identity.js";
import { ContentKind } from "#ringd/v2/response.js";
import { LOOPBACK } from "../ctl/certificates.js";
import { silent, tlsSettings } from "../tls/settings.js";
import { securePorts } from "./raw.js";

/** "tls" is the node frontend's https. */
export type FrontendKind = "uws" | "node" | "tls";
export const PLAIN_KINDS: readonly FrontendKind[] = ["uws", "node"];
export const KINDS: readonly FrontendKind[] = [...PLAIN_KINDS, "tls"];

export interface SeenRequest extends FramedRequest {
  readonly id: number;
  readonly exchange: Exchange;
  readonly body: Buffer;
}

const WAIT_MS = 10_000;
/** Shorter than the node frontend's timeout of headers. */
const HEAD_MS_MAX = 2000;

/** Replaces the core: records the frontend's calls, and responds when the test says so. */
export class FakeGateway implements Gateway {
  readonly backlogs = new Backlogs();
  readonly requests: SeenRequest[] = [];
  readonly aborted = new Set<number>();
  readonly held = new Set<number>();
  readonly resumed = new Set<number>();
  /** Called for each request; by default the request waits for the test. */
  onRequest: (request: SeenRequest) => void = () => undefined;
  #wakers: (() => void)[] = [];
  #taken = 0;

  request(exchange: Exchange, framed: FramedRequest): number {
    const { method, path, query, contentType, body, isBodyTooLarge } = framed;
    const request: SeenRequest = {
      ...{ id: this.requests.length + 1, exchange },
      ...{ method, path, query, contentType, isBodyTooLarge },
      ...{ authorization: framed.authorization, commonName: framed.commonName },
      remote: framed.remote,
      body: Buffer.from(body ?? new Uint8Array(0)), // The view is valid until return.
    };
    this.requests.push(request);
    // As from the core, no response during the call.
    setImmediate(() => this.onRequest(request));
    this.changed();
    return request.id;
  }

  abort(requestId: number): void {
    this.aborted.add(requestId);
    this.changed();
  }

  hold(requestId: number): void {
    this.held.add(requestId);
    this.changed();
  }

  resume(requestId: number): void {
    this.resumed.add(requestId);
    this.changed();
  }

  /** The next request not yet returned by this method. */
  async next(): Promise<SeenRequest> {
    const i = this.#taken++;
    await this.until(() => this.requests.length > i, "a request");
    return this.requests[i] as SeenRequest;
  }

  async until(isTrue: () => boolean, what: string, ms = WAIT_MS): Promise<void> {
    const signal = AbortSignal.timeout(ms);
    while (!isTrue()) {
      if (signal.aborted) throw new Error(`${what} did not come within ${ms} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100);
        this.#wakers.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  /** Wakes a waiting test. */
  changed(): void {
    // Not in a microtask, which runs before the library continues with the request.
    for (const wake of this.#wakers.splice(0)) setImmediate(wake);
  }
}

/** A frontend on its own port, with a gateway played by the test. */
export interface Served {
  readonly frontend: Frontend;
  readonly gateway: FakeGateway;
  readonly port: number;
  /** Backlogs of disconnected clients. */
  readonly slow: number[];
  readonly connections: { open: number; refused: number };
  /** Reasons of connections that ended without a request. */
  readonly unserved: string[];
}

export async function serve(
  kind: FrontendKind,
  limits: {
    connectionsMax?: number;
    bodiesBytesMax?: number;
    largeLimits?: Partial<LargeLimits>;
  } = {},
): Promise<Served> {
  const gateway = new FakeGateway();
  const slow: number[] = [];
  const connections = { open: 0, refused: 0 };
  const unserved: string[] = [];
  const options = {
    heads: new HeadText(0xabcn, ["*"]),
    needsRemote: true,
    connectionsMax: limits.connectionsMax ?? Number.POSITIVE_INFINITY,
    bodyRoom: new BodyRoom(limits.bodiesBytesMax ?? BODIES_BYTES_MAX),
    largeRequests: new LargeRequests({ ...LARGE_LIMITS, ...limits.largeLimits }),
    onConnection: (change: number) => {
      connections.open += change;
      gateway.changed();
    },
    onRefused: () => {
      connections.refused++;
    },
    onTooMany: () => undefined,
    onSlowClient: (bytes: number) => slow.push(bytes),
    onUnserved: (reason: string) => unserved.push(reason),
  };
  const tls = kind === "tls" ? await loopbackTls() : undefined;
  const frontend =
    kind === "uws"
      ? await UwsFrontend.create(loadUws(), gateway, options)
      : new NodeFrontend(gateway, options, tls, HEAD_MS_MAX);
  const port = await frontend.listen("127.0.0.1", 0, "alone", kind === "tls" ? "https" : "http");
  if (kind === "tls") securePorts.add(port);
  return {
    frontend,
    gateway,
    port,
    slow,
    connections,
    unserved,
  };
}

export function answerHead(status = 200): ResponseRecord {
  const record = new ResponseRecord();
  record.status = status;
  record.contentKind = status === 204 ? ContentKind.none : ContentKind.json;
  return record;
}

export function answer(request: SeenRequest, body: string, status = 200): void {
  request.exchange.answer(answerHead(status), Buffer.from(body));
}

export function chunkOf(bytes: string | Buffer): ChunkBody {
  return new ChunkBody(Buffer.from(bytes as string));
}

/** With the certificate of 127.0.0.1 that tests share. */
async function loopbackTls(): Promise<NodeTls> {
  const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
  const certFile = join(dir, "cert.pem");
  const keyFile = join(dir, "key.pem");
  writeFileSync(certFile, LOOPBACK.cert);
  writeFileSync(keyFile, LOOPBACK.key, { mode: 0o600 });
  const owner = { log: silent, metrics: undefined };
  const identity = await TlsIdentity.open(tlsSettings({ certFile, keyFile }), owner);
  identity.close();
  rmSync(dir, { recursive: true });
  return { openDoor: (rooms) => new TlsDoor(identity, rooms, { onRejected: () => undefined }) };
}
