import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { formatId } from "../cluster/ids.js";
import type { ListenUrl } from "../config/urls.js";
import { assert } from "../lib/assert.js";
import type { PeerMembers } from "../messages/peers.js";
import { decodeMessage, encodeMessage, readMessageAddress } from "../raft/message-codec.js";
import type { PeerTrust } from "../tls/peer-checks.js";
import { Arrival } from "./arrival.js";
import type { DialResult } from "./dial.js";
import {
  formatHeader,
  helloHeaders,
  judgeHello,
  type PeerIdentity,
  SNAPSHOT_PATH,
  STREAM_PATH,
  STREAM_UPGRADE,
  type Verdict,
  whyTooOld,
} from "./hello.js";
import { type LinkOwner, PeerLink } from "./link.js";
import type { LinkFigures } from "./link-metrics.js";
import { answerRaw, PeerListener } from "./listener.js";
import {
  answerPeerRequest,
  clusterHeader,
  type PeerApiResponse,
  pathOf,
  peerMethodNotAllowed,
  sendPeerResponse,
  textResponse,
} from "./peer-api.js";
import type { PeerLog } from "./peer-log.js";
import { PeerRoster } from "./roster.js";
import { SnapshotReceiver } from "./snapshot-receiver.js";
import { SnapshotSender } from "./snapshot-sender.js";

type Welcome = Extract<Verdict, { kind: "welcome" }>;

/** Limit of bytes queued for the core; above it, peers' sockets are not read. */
const INBOX_BYTES_MAX = 32 * 1024 * 1024;
/** Ping interval: the heartbeat interval, within these bounds. */
const PING_MS_MIN = 100;
const PING_MS_MAX = 1000;
/** Silence after which a stream is dead: the larger of this and so many election timeouts. */
const DEAD_MS_MIN = 5000;
const DEAD_ELECTIONS = 5;
const DIAL_MS_MIN = 1000;
/** Limit of remembered rejections, each of which is logged once. */
const REFUSALS_MAX = 64;
/** Limit of links to members that are unknown here. */
const STRANGERS_MAX = 16;

/** Output of the network, which the owner passes to the core. */
export interface PeerInbox {
  /** Bytes that the core has not read yet. */
  readonly queuedBytes: number;
  /** @param payload an encoded raft message, valid until return */
  message(payload: Buffer): void;
  /** @param format the newest level that the member supports */
  up(id: bigint, format: number): void;
  down(id: bigint): void;
  overflow(id: bigint): void;
  /** @param payload an encoded raft message whose file is complete, durable and in place */
  snapshotReceived(payload: Uint8Array): void;
  snapshotSent(id: bigint, hasArrived: boolean): void;
  /** Called once: a peer reports that this member was removed from the cluster. */
  removed(): void;
}

export interface PeerNetworkOptions {
  readonly identity: PeerIdentity;
  readonly heartbeatMs: number;
  readonly electionMs: number;
  /** Peer URLs that this member sends until it knows the membership. */
  readonly advertisedUrls: readonly string[];
  /** Must exist. */
  readonly snapDir: string;
  /** Files to keep there; 0 keeps all. */
  readonly maxSnapshots: number;
  /** A snapshot transfer without progress for so long is aborted. */
  readonly snapshotStallMs: number;
  /** The newest that this build supports. */
  readonly formatLevel: number;
  readonly log: PeerLog;
  readonly inbox: PeerInbox;
  /** For https URLs of other members. */
  readonly trust?: PeerTrust | undefined;
  /** Already listening; requests wait in it. */
  readonly listener?: PeerListener;
  /** Metrics of the links. */
  readonly figures: LinkFigures;
}

/**
 * A member's connections to and from its peers. READ FIRST in this folder.
 *
 * Two members have two streams: each sends its messages on the connection it dialled (link.ts), and
 * receives on the one its peer dialled (arrival.ts). So each stream has one owner, which
 * reconnects, and the two directions fail independently.
 *
 *   listener.ts   HTTP on the peer URLs: /members, /version, the upgrade to a stream
 *   handshakes.ts who is a member over TLS, before HTTP reads anything
 *   hello.ts      who may open a stream: right cluster, right member, same protocol, not removed
 *   frame.ts      the bytes of a stream
 *   link.ts       dialling, sending          arrival.ts  receiving
 *
 * Snapshots go by POST on connections of their own (snapshot-sender.ts, snapshot-receiver.ts).
 *
 * Bounds: above QUEUED_BYTES_MAX per member, messages are dropped; above INBOX_BYTES_MAX for the
 * core, sockets are not read. A slow member does not delay the others.
 */
export class PeerNetwork {
  readonly #options: PeerNetworkOptions;
  readonly #roster: PeerRoster;
  readonly #listener: PeerListener;
  readonly #links = new Map<bigint, PeerLink>();
  readonly #arrivals = new Map<bigint, Arrival>();
  readonly #linkOwner: LinkOwner;
  readonly #sender: SnapshotSender;
  readonly #receiver: SnapshotReceiver;
  /** Start of the transfer in flight to a member. */
  readonly #sendingSinceMs = new Map<bigint, number>();
  readonly #pingMs: number;
  readonly #deadMs: number;
  readonly #timer: NodeJS.Timeout;
  #lastTickMs = performance.now();
  /** Already logged: a rejected member retries for ever. */
  readonly #refusals = new Set<string>();
  #isPaused = false;
  #isGone = false;
  #isStopping = false;

  constructor(options: PeerNetworkOptions) {
    const { identity, heartbeatMs, electionMs } = options;
    this.#options = options;
    this.#roster = new PeerRoster(identity.memberId);
    this.#listener = options.listener ?? new PeerListener();
    this.#pingMs = Math.min(PING_MS_MAX, Math.max(PING_MS_MIN, heartbeatMs));
    this.#deadMs = Math.max(DEAD_MS_MIN, electionMs * DEAD_ELECTIONS);
    this.#linkOwner = this.#makeLinkOwner();
    this.#sender = this.#makeSender();
    this.#receiver = this.#makeReceiver();
    this.#timer = setInterval(() => this.#tick(), this.#pingMs);
    this.#listener.serve({
      request: (request, response, mayContinue) => {
        this.#onRequest(request, response, mayContinue);
      },
      upgrade: (request, socket, early) => this.#onUpgrade(request, socket, early),
    });
  }

  /** @returns the port, 0 for a unix socket. @throws PeerListenError */
  listen(url: ListenUrl): Promise<number> {
    return this.#listener.listen(url);
  }

  /** Dials new members, follows changed URLs, disconnects removed members. */
  setMembers(members: PeerMembers): void {
    if (this.#isStopping) return;
    this.#roster.set(members);
    for (const { id, peerUrls } of this.#roster.peers) {
      const link = this.#links.get(id);
      if (link === undefined) this.#addLink(id, peerUrls);
      else link.setUrls(peerUrls);
    }
    for (const id of this.#links.keys()) {
      if (this.#roster.has(id)) continue;
      // A member whose addition is not applied here yet.
      if (!this.#roster.isRemoved(id) && this.#arrivals.has(id)) continue;
      this.#dropLink(id);
      this.#sender.cancel(id);
      this.#arrivals.get(id)?.close("it is no longer a member");
    }
  }

  /** Copies an encoded raft message for the member it is to; `flush` sends it. */
  send(bytes: Uint8Array): void {
    const address = readMessageAddress(bytes);
    assert(address !== undefined, "what the core sends is a message");
    const link = this.#links.get(address.to);
    if (address.type !== "snapshot") link?.send(bytes);
    else if (link === undefined) this.#options.inbox.snapshotSent(address.to, false);
    else {
      const message = decodeMessage(bytes);
      if (message.type !== "snapshot") return;
      this.#onSending(address.to);
      this.#sender.send(message, link.likelyUrls);
    }
  }

  /** Call once per batch. */
  flush(): void {
    for (const link of this.#links.values()) link.flush();
  }

  /** The core has read from the inbox: sockets may be read again. */
  inboxMoved(): void {
    if (!this.#isPaused || this.#options.inbox.queuedBytes > INBOX_BYTES_MAX / 2) return;
    this.#isPaused = false;
    for (const arrival of this.#arrivals.values()) arrival.resume();
  }

  /** Sends queued messages, then closes everything. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    clearInterval(this.#timer);
    this.#sender.cancelAll();
    const received = this.#receiver.stop();
    this.#listener.close();
    for (const arrival of this.#arrivals.values()) arrival.close("this member stops");
    await Promise.all([received, ...[...this.#links.values()].map((link) => link.close())]);
  }

  #makeLinkOwner(): LinkOwner {
    const { identity, electionMs, trust, log, inbox, figures } = this.#options;
    return {
      ...{ log, trust },
      figures: (id) => figures.take(id),
      waitMostMs: electionMs,
      dialMs: Math.max(DIAL_MS_MIN, electionMs),
      pingMs: this.#pingMs,
      hello: (to) => this.#hello(to),
      up: (id, format) => inbox.up(id, format),
      whyTooOld: (id, format) => whyTooOld(id, format, this.#roster.formatLevel),
      down: (id) => inbox.down(id),
      overflow: (id) => {
        log.warn({ peer: formatId(id) }, "peer is too slow; dropped messages");
        inbox.overflow(id);
      },
      goneForGood: (refusal) => {
        if (refusal.clusterId === formatId(identity.clusterId)) this.#onRemoved(refusal);
      },
    };
  }

  #makeSender(): SnapshotSender {
    const { snapDir, snapshotStallMs: stallMs, trust, log, inbox } = this.#options;
    return new SnapshotSender({
      ...{ snapDir, stallMs, trust, log },
      hello: (to) => this.#hello(to),
      sent: (id, hasArrived) => {
        this.#onSent(id, hasArrived);
        inbox.snapshotSent(id, hasArrived);
      },
    });
  }

  #makeReceiver(): SnapshotReceiver {
    const { identity, snapDir, maxSnapshots, snapshotStallMs: stallMs, log, inbox } = this.#options;
    return new SnapshotReceiver({
      ...{ snapDir, maxSnapshots, stallMs, log },
      began: (from) => this.#options.figures.of(from).add("snapshotsReceiving", 1),
      ended: (from, hasArrived, seconds) => {
        const figures = this.#options.figures.of(from);
        figures.add("snapshotsReceiving", -1);
        figures.add(hasArrived ? "snapshotsReceived" : "snapshotReceiveFailures", 1);
        if (hasArrived) figures.observe("snapshotReceiveDuration", seconds);
      },
      received: (from, term, meta) => {
        const to = identity.memberId;
        inbox.snapshotReceived(encodeMessage({ type: "snapshot", from, to, term, meta }));
      },
    });
  }

  #hello(to: bigint): Record<string, string> {
    const { ownUrls } = this.#roster;
    const { identity, advertisedUrls } = this.#options;
    const urls = ownUrls.length > 0 ? ownUrls : advertisedUrls;
    return helloHeaders(identity, to, urls, this.#options.formatLevel);
  }

  #onRemoved({ reason }: Extract<DialResult, { kind: "refused" }>): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#options.log.error({ reason }, "this member was removed from the cluster");
    this.#options.inbox.removed();
  }

  #tick(): void {
    const monoMs = performance.now();
    const streams = [...this.#links.values(), ...this.#arrivals.values()];
    // After a pause of the whole process, the peers' data still waits in the kernel.
    const lateMs = monoMs - this.#lastTickMs - this.#pingMs;
    const stoodStill = lateMs > this.#deadMs / 2;
    this.#lastTickMs = monoMs;
    for (const stream of streams) {
      if (stoodStill) stream.forgiveSilence(monoMs);
      stream.tick(monoMs, this.#deadMs);
    }
    if (lateMs > this.#pingMs) return;
    for (const link of this.#links.values()) link.replaceIfStuck(monoMs);
  }

  #onRequest(
    request: IncomingMessage,
    response: ServerResponse,
    mayContinue: (() => void) | undefined,
  ): void {
    const path = pathOf(request);
    if (path === SNAPSHOT_PATH) {
      this.#onSnapshot(request, response, mayContinue);
      return;
    }
    const { identity } = this.#options;
    const facts = { identity, members: this.#roster.members, unixMs: Date.now() };
    const answer =
      path === STREAM_PATH
        ? textResponse(426, `only ${STREAM_UPGRADE} is spoken here`, { Upgrade: STREAM_UPGRADE })
        : answerPeerRequest(request.method ?? "", path, facts);
    sendPeerResponse(request, response, answer);
  }

  #onSnapshot(
    request: IncomingMessage,
    response: ServerResponse,
    mayContinue: (() => void) | undefined,
  ): void {
    const answer = (answer: PeerApiResponse) => sendPeerResponse(request, response, answer);
    if (request.method !== "POST") {
      answer(peerMethodNotAllowed("POST"));
      return;
    }
    // Accept it from an unknown leader too: we may lag behind the change that added it.
    const verdict = this.#judge(request);
    if (verdict.kind === "refused") answer(verdict.answer);
    else this.#receiver.receive(verdict.from, request, response, mayContinue, answer);
  }

  #judge(request: IncomingMessage): Welcome | { kind: "refused"; answer: PeerApiResponse } {
    const { identity, log } = this.#options;
    const verdict = judgeHello(request.headers, identity, this.#roster);
    if (verdict.kind === "welcome" && !this.#isStopping) return verdict;
    const { status, reason } =
      verdict.kind === "refused" ? verdict : { status: 503, reason: "this member stops" };
    if (!this.#refusals.has(reason)) {
      const remote = request.socket.remoteAddress ?? "";
      log.warn({ remote, reason }, "rejected peer");
      if (this.#refusals.size === REFUSALS_MAX) this.#refusals.clear();
      this.#refusals.add(reason);
    }
    return { kind: "refused", answer: textResponse(status, reason, clusterHeader(identity)) };
  }

  #onUpgrade(request: IncomingMessage, socket: Socket, early: Buffer): void {
    const { identity } = this.#options;
    if (pathOf(request) !== STREAM_PATH || request.method !== "GET") {
      answerRaw(socket, textResponse(404, "404 page not found"));
      return;
    }
    const verdict = this.#judge(request);
    if (verdict.kind === "refused") {
      answerRaw(socket, verdict.answer);
      return;
    }
    if (!verdict.isMember && !this.#takeStranger(verdict.from, verdict.peerUrls)) {
      const reason = `member ${formatId(verdict.from)} is not known here`;
      answerRaw(socket, textResponse(404, reason, clusterHeader(identity)));
      return;
    }
    const own = Object.entries(formatHeader(this.#options.formatLevel));
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n" +
        `Upgrade: ${STREAM_UPGRADE}\r\nX-Etcd-Cluster-Id: ${formatId(identity.clusterId)}\r\n` +
        `${own.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`,
    );
    this.#arrive(verdict.from, socket, early);
  }

  /** Makes a link to an unknown member, to respond to it; lasts as long as its incoming stream. */
  #takeStranger(id: bigint, urls: readonly string[]): boolean {
    if (this.#links.has(id)) return true;
    const strangers = [...this.#links.keys()].filter((known) => !this.#roster.has(known));
    if (strangers.length >= STRANGERS_MAX) return false;
    this.#addLink(id, urls);
    return true;
  }

  #addLink(id: bigint, urls: readonly string[]): void {
    this.#links.set(id, new PeerLink(id, urls, this.#linkOwner));
    this.#options.figures.of(id).set("knownPeers", 1);
  }

  #onSending(to: bigint): void {
    if (this.#sendingSinceMs.has(to)) return; // A transfer is in flight.
    this.#sendingSinceMs.set(to, performance.now());
    this.#options.figures.of(to).set("snapshotsSending", 1);
  }

  #onSent(to: bigint, hasArrived: boolean): void {
    const sinceMs = this.#sendingSinceMs.get(to) ?? performance.now();
    this.#sendingSinceMs.delete(to);
    const figures = this.#options.figures.of(to);
    figures.set("snapshotsSending", 0);
    figures.add(hasArrived ? "snapshotsSent" : "snapshotSendFailures", 1);
    const seconds = (performance.now() - sinceMs) / 1000;
    if (hasArrived) figures.observe("snapshotSendDuration", seconds);
  }

  #arrive(from: bigint, socket: Socket, early: Buffer): void {
    const before = this.#arrivals.get(from);
    const { identity, inbox, log } = this.#options;
    const arrival = new Arrival(from, socket, {
      memberId: identity.memberId,
      message: (payload) => {
        this.#options.figures.of(from).add("receivedBytes", payload.length);
        inbox.message(payload);
        if (inbox.queuedBytes > INBOX_BYTES_MAX) this.#pause();
      },
      ended: (ended, why) => {
        if (this.#arrivals.get(from) !== ended) return;
        this.#arrivals.delete(from);
        if (ended.hasSpoken) {
          this.#options.figures.of(from).add("receivedFailures", 1);
          log.info({ peer: formatId(from), reason: why }, "stream from peer ended");
        }
        if (!this.#roster.has(from)) this.#dropLink(from);
      },
    });
    this.#arrivals.set(from, arrival);
    // The peer has abandoned the stream before, even if we have not noticed.
    before?.close("the peer opened another");
    if (this.#isPaused) arrival.pause();
    arrival.start(early);
    this.#links.get(from)?.nudge();
  }

  #dropLink(id: bigint): void {
    const link = this.#links.get(id);
    this.#links.delete(id);
    void link?.close();
    this.#options.figures.release(id);
  }

  #pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    for (const arrival of this.#arrivals.values()) arrival.pause();
  }
}
