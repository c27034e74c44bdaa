import { EventEmitter, on } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { formatId } from "#ringd/cluster/ids.js";
import { ConfigError } from "#ringd/config/config-error.js";
import type { TlsSettings } from "#ringd/config/tls.js";
import { parseUrls } from "#ringd/config/urls.js";
import type { PeerMember, PeerMembers } from "#ringd/messages/peers.js";
import { createMetricsMemory, MetricCells } from "#ringd/metrics/cells.js";
import { PeerTable } from "#ringd/metrics/peer-table.js";
import { PeerListener } from "#ringd/peer/listener.js";
import { PeerNetwork, type PeerNetworkOptions } from "#ringd/peer/network.js";
import type { Message } from "#ringd/raft/message.js";
import { decodeMessage, encodeMessage } from "#ringd/raft/message-codec.js";
import { TlsIdentity } from "#ringd/tls/identity.js";
import type { Issued } from "../tls/authority.js";
import { Authority } from "../tls/authority.js";
import { silent, tlsSettings } from "../tls/settings.js";

export const CLUSTER = 0xc1a5n;
const WAIT_MS = 20_000;
/** PEER_TLS=1: all endpoints of a test file speak TLS. */
export const SCHEME = process.env.PEER_TLS === "1" ? "https" : "http";

/** Records that an endpoint's core received, in order. */
export type Told =
  | { readonly kind: "message"; readonly message: Message }
  | { readonly kind: "up" | "down" | "overflow"; readonly id: bigint }
  | { readonly kind: "snapshotSent"; readonly id: bigint; readonly hasArrived: boolean }
  | { readonly kind: "snapshotReceived"; readonly message: Message }
  | { readonly kind: "removed" };

const TEMPORARY = mkdtempSync(join(tmpdir(), "ringd-peer-"));
process.on("exit", () => rmSync(TEMPORARY, { recursive: true, force: true }));

/** An empty directory, removed after the tests. */
export function temporaryDirectory(): string {
  return mkdtempSync(join(TEMPORARY, "dir-"));
}

const authority = SCHEME === "https" ? new Authority() : undefined;
process.on("exit", () => authority?.remove());
/** The certificates of all endpoints, and of tests that speak to one. */
export const TLS = authority && (await trustOf(authority, authority.issue()));

/** A member's certificates: it trusts the CA, and requires a certificate of its clients. */
export function trustOf(
  { caFile: trustedCaFile }: Authority,
  { certFile, keyFile }: Pick<Issued, "certFile" | "keyFile">,
  some: Partial<TlsSettings> = {},
  pollMs = 2000,
): Promise<TlsIdentity> {
  const files = { certFile, keyFile, trustedCaFile, requiresClientCert: true };
  const owner = { log: silent, metrics: undefined, pollMs };
  return TlsIdentity.open(tlsSettings({ side: "peer", ...files, ...some }), owner);
}

/** Endpoints of failed tests: unless stopped, they would keep the process alive. */
const running = new Set<Endpoint>();
after(() => stopAll([...running]));

/** A peer network whose core only records. */
export class Endpoint {
  readonly id: bigint;
  readonly network: PeerNetwork;
  readonly figures = new PeerTable(new MetricCells(createMetricsMemory(1), 0), "links");
  readonly snapDir = temporaryDirectory();
  readonly told: Told[] = [];
  readonly logged: string[] = [];
  readonly #changes = new EventEmitter();
  url = "";
  /** Bytes that the core pretends not to have read yet. */
  queuedBytes = 0;

  /** @param tls its certificates, to listen on https and to dial */
  constructor(id: bigint, options: Partial<PeerNetworkOptions> = {}, tls = TLS) {
    this.id = id;
    running.add(this);
    const log = (fields: unknown, text?: unknown) => {
      const shown = typeof fields === "string" ? fields : `${text} ${JSON.stringify(fields)}`;
      this.logged.push(shown);
      this.#changes.emit("change");
    };
    const tell = (told: Told) => {
      this.told.push(told);
      this.#changes.emit("change");
    };
    const endpoint = this;
    const peerLog = { info: log, warn: log, error: log } as unknown as PeerNetworkOptions["log"];
    const listener = tls && new PeerListener(undefined, {}, { identity: tls, log: peerLog });
    this.network = new PeerNetwork({
      identity: { memberId: id, clusterId: CLUSTER },
      heartbeatMs: 20,
      electionMs: 200,
      advertisedUrls: [],
      snapDir: this.snapDir,
      maxSnapshots: 3,
      snapshotStallMs: 10_000,
      formatLevel: 2,
      trust: tls,
      log: peerLog,
      ...(listener && { listener }),
      figures: this.figures,
      inbox: {
        get queuedBytes() {
          return endpoint.queuedBytes;
        },
        message: (payload) => {
          tell({ kind: "message", message: decodeMessage(new Uint8Array(payload)) });
        },
        up: (id) => tell({ kind: "up", id }),
        down: (id) => tell({ kind: "down", id }),
        overflow: (id) => tell({ kind: "overflow", id }),
        snapshotSent: (id, hasArrived) => tell({ kind: "snapshotSent", id, hasArrived }),
        snapshotReceived: (payload) => {
          tell({ kind: "snapshotReceived", message: decodeMessage(new Uint8Array(payload)) });
        },
        removed: () => tell({ kind: "removed" }),
      },
      ...options,
    });
  }

  async stop(): Promise<void> {
    running.delete(this);
    await this.network.stop();
  }

  /** Listens on a port chosen by the system. */
  async listen(scheme = SCHEME): Promise<void> {
    const port = await this.network.listen(listenUrl(`${scheme}://127.0.0.1:0`));
    this.url = `${scheme}://127.0.0.1:${port}`;
  }

  get port(): number {
    return Number(this.url.split(":").at(-1));
  }

  send(...messages: readonly Message[]): void {
    for (const message of messages) this.network.send(encodeMessage(message));
    this.network.flush();
  }

  get messages(): Message[] {
    return this.told.flatMap((told) => (told.kind === "message" ? [told.message] : []));
  }

  count(kind: Told["kind"], id?: bigint): number {
    return this.told.filter(
      (told) => told.kind === kind && (id === undefined || ("id" in told && told.id === id)),
    ).length;
  }

  /** Waits until a condition on the records or log lines is true. */
  async until(what: string, isTrue: () => boolean): Promise<void> {
    if (isTrue()) return;
    const signal = AbortSignal.timeout(WAIT_MS);
    try {
      for await (const _ of on(this.#changes, "change", { signal })) if (isTrue()) return;
    } catch (error) {
      const seen = this.told.slice(-5).map((told) => told.kind);
      const log = this.logged.slice(-10).join("\n");
      throw new Error(`never: ${what}; told ${seen}\n${log}`, { cause: error });
    }
  }

  untilUp(id: bigint, times = 1): Promise<void> {
    return this.until(`up ${id}`, () => this.count("up", id) >= times);
  }

  untilLogged(part: string | RegExp): Promise<void> {
    return this.until(`log of ${part}`, () => this.logged.some((line) => line.match(part)));
  }

  memberOf(): PeerMember {
    return {
      id: formatId(this.id),
      name: `m${this.id}`,
      peerUrls: [this.url],
      clientUrls: [`http://client-${this.id}:1`],
    };
  }
}

export function listenUrl(text: string) {
  const [url] = parseUrls(text, (why) => new ConfigError(`${text}: ${why}`, 2));
  if (url === undefined) throw new Error(`no URL: ${text}`);
  return url;
}

export function membersOf(
  endpoints: readonly Endpoint[],
  removed: readonly bigint[] = [],
): PeerMembers {
  return {
    members: endpoints.map((endpoint) => endpoint.memberOf()),
    removed: removed.map(formatId),
    clusterVersion: "3.4.0",
    formatLevel: 1,
  };
}

/** Endpoints 1 .. count that know each other, with all streams open. */
export async function connected(count: number): Promise<Endpoint[]> {
  const endpoints = Array.from({ length: count }, (_, i) => new Endpoint(BigInt(i + 1)));
  for (const endpoint of endpoints) await endpoint.listen();
  for (const endpoint of endpoints) endpoint.network.setMembers(membersOf(endpoints));
  for (const one of endpoints) {
    for (const other of endpoints) if (one !== other) await one.untilUp(other.id);
  }
  return endpoints;
}

export async function stopAll(endpoints: readonly Endpoint[]): Promise<void> {
  await Promise.all(endpoints.map((endpoint) => endpoint.stop()));
}

export function reply(from: bigint, to: bigint, index: number): Message {
  return { type: "appendReply", from, to, term: 1, index };
}

export function append(from: bigint, to: bigint, index: number, data: Uint8Array): Message {
  return {
    type: "append",
    from,
    to,
    term: 1,
    prevIndex: index - 1,
    prevTerm: 1,
    commit: 0,
    entries: [{ index, term: 1, type: 0, data }],
  };
}
