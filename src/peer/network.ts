import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { formatId } from "../cluster/ids.js";
import type { ListenUrl } from "../config/urls.js";
import { readMessageAddress } from "../raft/message-codec.js";
import { Arrival } from "./arrival.js";
import type { DialResult } from "./dial.js";
import { helloHeaders, type Identity, judgeHello, STREAM_PATH, STREAM_UPGRADE } from "./hello.js";
import { type LinkOwner, PeerLink } from "./link.js";
import { answerRaw, PeerListener } from "./listener.js";
import { answerPeerRequest, clusterHeader, type PeerAnswer, textAnswer } from "./peer-api.js";
import type { PeerLog } from "./peer-log.js";
import type { PeerMembers } from "./records.js";
import { PeerRoster } from "./roster.js";

/** Bytes on their way to the core above which nothing more is read from the other members. */
const INBOX_BYTES_MAX = 32 * 1024 * 1024;
/** An idle stream is pinged this often, or more often. */
const PING_MS_MAX = 1000;
const PING_HEARTBEATS = 5;
/** A stream that is silent for so long, or for so many election time-outs, is dead. */
const DEAD_MS_MIN = 5000;
const DEAD_ELECTIONS = 5;
const DIAL_MS_MIN = 1000;
/** What is queued for the others may take so long to leave when the member stops. */
const STOP_MS = 1000;
/** Members this one has not heard of yet, at a time. */
const STRANGERS_MAX = 16;

/** What comes out: the owner passes it on to the core. */
export interface PeerInbox {
  /** Bytes that the core has not taken yet. */
  readonly queuedBytes: number;
  /** @param payload an encoded raft message, the callee's until it returns */
  message(payload: Buffer): void;
  up(id: bigint): void;
  down(id: bigint): void;
  overflow(id: bigint): void;
  /** Once: a member of our cluster says that we were removed from it. */
  removed(): void;
}

export interface PeerNetworkOptions {
  readonly identity: Identity;
  readonly heartbeatMs: number;
  readonly electionMs: number;
  /** Where this member says it can be reached until the membership tells. */
  readonly advertisedUrls: readonly string[];
  readonly log: PeerLog;
  readonly inbox: PeerInbox;
}

/**
 * A member's connections to the others, and theirs to it. READ FIRST in this folder.
 *
 * Between two members there are two streams: each dials the other and sends its messages on the
 * connection it dialled (link.ts); what it receives comes on the one the other dialled (arrival.ts). So
 * a stream has one owner, who reconnects, and the state of one direction says nothing about the other.
 *
 *   listener.ts   HTTP on the peer URLs: /members, /version, the upgrade to a stream
 *   hello.ts      who may open a stream: right cluster, right member, same protocol, not removed
 *   frame.ts      the bytes of a stream
 *   link.ts       dialling, sending          arrival.ts  receiving
 *
 * Bounds: for each member at most QUEUED_BYTES_MAX to send, then messages are dropped; INBOX_BYTES_MAX
 * towards the core, then sockets are not read. Neither holds up another member.
 */
export class PeerNetwork {
  readonly #options: PeerNetworkOptions;
  readonly #roster: PeerRoster;
  readonly #listener: PeerListener;
  readonly #links = new Map<bigint, PeerLink>();
  readonly #arrivals = new Map<bigint, Arrival>();
  readonly #linkOwner: LinkOwner;
  readonly #pingMs: number;
  readonly #deadMs: number;
  readonly #timer: NodeJS.Timeout;
  #lastTickMs = performance.now();
  #lastRefusal = "";
  #isPaused = false;
  #isGone = false;
  #isStopping = false;

  constructor(options: PeerNetworkOptions) {
    const { identity, heartbeatMs, electionMs } = options;
    this.#options = options;
    this.#roster = new PeerRoster(identity.memberId);
    this.#listener = new PeerListener({
      request: (request, response) => this.#onRequest(request, response),
      upgrade: (request, socket, early) => this.#onUpgrade(request, socket, early),
    });
    this.#pingMs = Math.min(PING_MS_MAX, heartbeatMs * PING_HEARTBEATS);
    this.#deadMs = Math.max(DEAD_MS_MIN, electionMs * DEAD_ELECTIONS);
    this.#linkOwner = this.#makeLinkOwner();
    this.#timer = setInterval(() => this.#tick(), this.#pingMs);
  }

  /** @returns the port, 0 for a unix socket. @throws PeerListenError */
  listen(url: ListenUrl): Promise<number> {
    return this.#listener.listen(url);
  }

  /** Dials who is new, follows changed URLs, hangs up on who is gone. */
  setMembers(members: PeerMembers): void {
    if (this.#isStopping) return;
    this.#roster.set(members);
    for (const { id, peerUrls } of this.#roster.peers) {
      const link = this.#links.get(id);
      if (link === undefined) this.#links.set(id, new PeerLink(id, peerUrls, this.#linkOwner));
      else link.setUrls(peerUrls);
    }
    for (const [id, link] of this.#links) {
      if (this.#roster.has(id)) continue;
      if (!this.#roster.isRemoved(id) && this.#arrivals.has(id)) continue; // Not heard of yet.
      this.#links.delete(id);
      void link.close(true);
      this.#arrivals.get(id)?.close("it is no member any more");
    }
  }

  /** Copies an encoded raft message for the member it is to; `flush` sends it. */
  send(bytes: Uint8Array, view: DataView, at: number, length: number): void {
    const address = readMessageAddress(view, at, length);
    if (address === undefined) return;
    this.#links.get(address.to)?.send(bytes, at, length);
  }

  /** Once per batch. */
  flush(): void {
    for (const link of this.#links.values()) link.flush();
  }

  /** The core took from the inbox: reading may go on. */
  inboxMoved(): void {
    if (!this.#isPaused || this.#options.inbox.queuedBytes > INBOX_BYTES_MAX / 2) return;
    this.#isPaused = false;
    for (const arrival of this.#arrivals.values()) arrival.resume();
  }

  /** Sends what is queued, then closes everything. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    clearInterval(this.#timer);
    this.#listener.close();
    for (const arrival of this.#arrivals.values()) arrival.close("this member stops");
    const links = [...this.#links.values()];
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, STOP_MS);
    });
    await Promise.race([Promise.all(links.map((link) => link.close(true))), patience]);
    clearTimeout(timer);
    await Promise.all(links.map((link) => link.close(false)));
  }

  #makeLinkOwner(): LinkOwner {
    const { identity, electionMs, log, inbox } = this.#options;
    return {
      log,
      waitMostMs: electionMs,
      dialMs: Math.max(DIAL_MS_MIN, electionMs),
      hello: (to) => this.#hello(to),
      up: (id) => inbox.up(id),
      down: (id) => inbox.down(id),
      overflow: (id) => {
        log.warn({ peer: formatId(id) }, "the peer takes messages too slowly; some are dropped");
        inbox.overflow(id);
      },
      goneForGood: (refusal) => {
        if (refusal.clusterId === formatId(identity.clusterId)) this.#onRemoved(refusal);
      },
    };
  }

  #hello(to: bigint): Record<string, string> {
    const { ownUrls } = this.#roster;
    const { identity, advertisedUrls } = this.#options;
    return helloHeaders(identity, to, ownUrls.length > 0 ? ownUrls : advertisedUrls);
  }

  #onRemoved({ reason }: Extract<DialResult, { kind: "refused" }>): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#options.log.error({ reason }, "this member was removed from the cluster");
    this.#options.inbox.removed();
  }

  #tick(): void {
    const nowMs = performance.now();
    const streams = [...this.#links.values(), ...this.#arrivals.values()];
    // After a halt of the whole process, what others sent meanwhile waits in the kernel.
    const stoodStill = nowMs - this.#lastTickMs > this.#deadMs / 2;
    this.#lastTickMs = nowMs;
    for (const stream of streams) {
      if (stoodStill) stream.forgiveSilence(nowMs);
      stream.tick(nowMs, this.#deadMs);
    }
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    const { identity } = this.#options;
    const facts = { identity, members: this.#roster.members, unixMs: Date.now() };
    const path = pathOf(request);
    const answer =
      path === STREAM_PATH
        ? textAnswer(426, `only ${STREAM_UPGRADE} is spoken here`, { Upgrade: STREAM_UPGRADE })
        : answerPeerRequest(request.method ?? "", path, facts);
    answerRequest(request, response, answer);
  }

  #onUpgrade(request: IncomingMessage, socket: Socket, early: Buffer): void {
    const { identity, log } = this.#options;
    const path = pathOf(request);
    if (path !== STREAM_PATH || request.method !== "GET") {
      answerRaw(socket, textAnswer(404, "404 page not found"));
      return;
    }
    const verdict = judgeHello(request.headers, identity, this.#roster);
    if (verdict.kind === "refused") {
      const { status, reason } = verdict;
      if (reason !== this.#lastRefusal) {
        log.warn({ remote: socket.remoteAddress ?? "", reason }, "refused a stream");
      }
      this.#lastRefusal = reason;
      answerRaw(socket, textAnswer(status, reason, clusterHeader(identity)));
      return;
    }
    if (this.#isStopping) {
      answerRaw(socket, textAnswer(503, "this member stops", clusterHeader(identity)));
      return;
    }
    if (!verdict.isMember && !this.#takeStranger(verdict.from, verdict.peerUrls)) {
      const reason = `member ${formatId(verdict.from)} is not known here`;
      answerRaw(socket, textAnswer(404, reason, clusterHeader(identity)));
      return;
    }
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n" +
        `Upgrade: ${STREAM_UPGRADE}\r\nX-Etcd-Cluster-Id: ${formatId(identity.clusterId)}\r\n\r\n`,
    );
    this.#arrive(verdict.from, socket, early);
  }

  /** A way to answer a member that this one has not heard of; it lasts as long as its own stream. */
  #takeStranger(id: bigint, urls: readonly string[]): boolean {
    if (this.#links.has(id)) return true;
    const strangers = [...this.#links.keys()].filter((known) => !this.#roster.has(known));
    if (strangers.length >= STRANGERS_MAX) return false;
    this.#links.set(id, new PeerLink(id, urls, this.#linkOwner));
    return true;
  }

  #arrive(from: bigint, socket: Socket, early: Buffer): void {
    const before = this.#arrivals.get(from);
    const { identity, inbox, log } = this.#options;
    const arrival = new Arrival(from, socket, {
      memberId: identity.memberId,
      message: (payload) => {
        inbox.message(payload);
        if (inbox.queuedBytes > INBOX_BYTES_MAX) this.#pause();
      },
      ended: (ended, why) => {
        if (this.#arrivals.get(from) !== ended) return;
        this.#arrivals.delete(from);
        log.info({ peer: formatId(from), reason: why }, "stream from peer ended");
        if (!this.#roster.has(from)) this.#dropLink(from);
      },
    });
    this.#arrivals.set(from, arrival);
    // The other side has given up the one before, whether or not we have heard of that.
    before?.close("the peer opened another");
    if (this.#isPaused) arrival.pause();
    arrival.start(early);
    this.#links.get(from)?.nudge();
  }

  #dropLink(id: bigint): void {
    const link = this.#links.get(id);
    this.#links.delete(id);
    void link?.close(false);
  }

  #pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    for (const arrival of this.#arrivals.values()) arrival.pause();
  }
}

function pathOf(request: IncomingMessage): string {
  const url = request.url ?? "/";
  const mark = url.indexOf("?");
  return mark < 0 ? url : url.slice(0, mark);
}

/** A body that was not asked for is not read. */
function answerRequest(
  request: IncomingMessage,
  response: ServerResponse,
  { status, headers, body }: PeerAnswer,
): void {
  const hasBody = request.headers["content-length"] !== undefined;
  const isChunked = request.headers["transfer-encoding"] !== undefined;
  if (hasBody || isChunked) response.setHeader("Connection", "close");
  response.writeHead(status, { ...headers, "Content-Length": String(Buffer.byteLength(body)) });
  response.end(body);
}
