import { setTimeout as sleep } from "node:timers/promises";
import type { AnswerStream } from "../../support/http.js";
import { type MemberKind, TestMember } from "../../support/member.js";
import { untilOwnWritesDone } from "../own-writes.js";
import { exchange, untilEnded } from "./exchange.js";
import { type Facts, type HttpRequest, toBytes } from "./step.js";

/** Response headers that must not differ; those that each server chooses are left out. */
const COMPARED_HEADERS = [
  "content-type",
  "x-content-type-options",
  "allow",
  "location",
  "x-etcd-index",
  "access-control-allow-origin",
  "access-control-allow-methods",
  "access-control-allow-headers",
  "www-authenticate",
];
/** Only the presence of these is compared. */
const PRESENCE_HEADERS = ["x-etcd-cluster-id", "x-raft-index", "x-raft-term"];
/**
 * Nodes that expire within this time are awaited after each step; no others may expire meanwhile.
 */
const SOON_MS = 20_000;
const POLL_MS = 10;
const EXPIRED_MS_MAX = 15_000;

/** Index after the own writes of a new single member. */
const FIRST_INDEX = 3;

interface Members {
  readonly members: readonly { readonly id: string; readonly peerURLs: readonly string[] }[];
}

export interface Reply {
  /** Status line and compared headers, one per line; the error if there was no response. */
  readonly head: string;
  /** Bytes, one per character. */
  readonly body: string;
}

/** One of the two servers, and the state learned from its responses. */
export class Side {
  readonly member: TestMember;
  readonly #watches = new Map<string, AnswerStream>();
  #facts: Facts;
  /** Events of action "expire" so far. */
  #expired = 0;

  private constructor(member: TestMember, facts: Facts) {
    this.member = member;
    this.#facts = facts;
  }

  static async create(kind: MemberKind, args: readonly string[] = []): Promise<Side> {
    const member = await TestMember.create(kind, args);
    await untilOwnWritesDone(member.clientUrl);
    const answer = await fetch(`${member.clientUrl}/v2/members`);
    const { members } = (await answer.json()) as Members;
    const [self] = members;
    return new Side(member, {
      index: FIRST_INDEX,
      modifiedIndexes: new Map(),
      clientUrl: member.clientUrl,
      peerUrl: self?.peerURLs[0] ?? "",
      memberId: self?.id ?? "",
    });
  }

  get facts(): Facts {
    return this.#facts;
  }

  async destroy(): Promise<void> {
    for (const watch of this.#watches.values()) watch.close();
    await this.member.destroy();
  }

  async send(request: HttpRequest): Promise<Reply> {
    const stream = await this.#open(request);
    if (stream === undefined) return NO_ANSWER;
    await untilEnded(stream);
    const reply = this.#finish(stream);
    const { node } = parseChange(reply.body);
    if (node?.key !== undefined && node.modifiedIndex !== undefined) {
      const modifiedIndexes = new Map(this.#facts.modifiedIndexes);
      this.#facts = {
        ...this.#facts,
        modifiedIndexes: modifiedIndexes.set(node.key, node.modifiedIndex),
      };
    }
    return reply;
  }

  /** @returns the headers only; `watched` has the body, of a watch or an error */
  async watch(name: string, request: HttpRequest): Promise<Reply> {
    const stream = await this.#open(request);
    if (stream === undefined) return NO_ANSWER;
    this.#watches.set(name, stream);
    return { head: this.#finish(stream).head, body: "" };
  }

  /** Data received by a watch so far; undefined if there was no response. */
  watched(name: string): { body: string; isEnded: boolean } | undefined {
    const stream = this.#watches.get(name);
    if (stream === undefined) return undefined;
    return { body: stream.body.toString("latin1"), isEnded: stream.isEnded };
  }

  closeWatch(name: string): void {
    this.#watches.get(name)?.close();
    this.#watches.delete(name);
  }

  async storeStats(): Promise<Record<string, number>> {
    const answer = await fetch(`${this.member.clientUrl}/v2/stats/store`);
    return (await answer.json()) as Record<string, number>;
  }

  /**
   * Waits until the nodes in these responses that expire soon have expired, so that they do not
   * expire between other requests, at different times on the two servers.
   */
  async settle(replies: readonly Reply[]): Promise<void> {
    const dueMs = new Map<string, number>();
    for (const { body } of replies) {
      const { node } = parseChange(body);
      if (node?.key === undefined) continue;
      dueMs.set(node.key, node.expiration === undefined ? Infinity : Date.parse(node.expiration));
    }
    const soon = [...dueMs.values()].filter((ms) => ms - Date.now() < SOON_MS).length;
    if (soon === 0) return;
    this.#expired += soon;
    const giveUpMs = Date.now() + EXPIRED_MS_MAX;
    while (Date.now() < giveUpMs) {
      if (((await this.storeStats()).expireCount ?? 0) >= this.#expired) return;
      await sleep(POLL_MS);
    }
  }

  async #open(request: HttpRequest): Promise<AnswerStream | undefined> {
    const bytes = toBytes(request, this.#facts);
    return exchange(this.member.port, bytes, request.method === "HEAD");
  }

  #finish(stream: AnswerStream): Reply {
    const { status, headers } = stream;
    const index = Number(headers.get("x-etcd-index") ?? 0);
    if (index > this.#facts.index) this.#facts = { ...this.#facts, index };
    const lines = [`status ${status}`];
    for (const name of COMPARED_HEADERS) {
      const value = headers.get(name);
      if (value !== undefined) lines.push(`${name}: ${value}`);
    }
    for (const name of PRESENCE_HEADERS) if (headers.has(name)) lines.push(`${name}: (any)`);
    return { head: lines.join("\n"), body: stream.body.toString("latin1") };
  }
}

const NO_ANSWER: Reply = { head: "no answer", body: "" };

interface Change {
  readonly node?: {
    readonly key?: string;
    readonly expiration?: string;
    readonly modifiedIndex?: number;
  };
}

/** Only responses to writes: a GET adds nothing about expiry. */
function parseChange(body: string): Change {
  if (!body.startsWith('{"action":"') || body.startsWith('{"action":"get"')) return {};
  return JSON.parse(body) as Change;
}
