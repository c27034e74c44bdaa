import assert from "node:assert/strict";
import { Method } from "#ringd/v2/request.js";
import type { Operation, Value } from "../support/linearizable.js";
import type { Prng } from "../support/prng.js";
import type { MemberChecks } from "./member-checks.js";
import type { Exchange, SimMember } from "./member-node.js";

/** Longer than a member's own timeout. */
const PATIENCE_MS = 12_000;
/** Operations of unknown outcome before all clients switch to new registers. */
const UNKNOWN_MAX = 4;
const FORM = "application/x-www-form-urlencoded";

/** The registers in use: replaced before the search over unknown outcomes becomes too wide. */
export class Registers {
  generation = 0;
  #unknown = 0;

  onUnknown(): void {
    this.#unknown++;
    if (this.#unknown < UNKNOWN_MAX) return;
    this.#unknown = 0;
    this.generation++;
  }
}

/** A client's view of the cluster. */
export interface ClientWorld {
  readonly prng: Prng;
  readonly checks: MemberChecks;
  readonly nowMs: () => number;
  /** Members that run. */
  readonly running: () => readonly SimMember[];
  /** The next position in the history of all calls and returns. */
  readonly position: () => number;
  readonly registers: Registers;
  /** Time of the request of each value with a TTL. */
  readonly asked: Map<string, number>;
  /** Seconds. */
  readonly longTtl: number;
}

export interface HttpRequest {
  readonly method: Method;
  readonly path: string;
  readonly query?: string;
  readonly body?: { readonly type: string; readonly text: string };
}

export function form(text: string): { type: string; text: string } {
  return { type: FORM, text };
}

/** Sends a request to some running member. @returns undefined if there is none */
export function ask(
  { prng, running }: ClientWorld,
  { method, path, query, body }: HttpRequest,
  exchange: Exchange,
): { member: SimMember; abort: () => void } | undefined {
  const members = running();
  if (members.length === 0) return undefined;
  const member = prng.pick(members);
  const abort = member.life?.request(prng.below(4), method, path, query ?? "", body, exchange);
  return abort === undefined ? undefined : { member, abort };
}

interface NodeBody {
  readonly key: string;
  readonly value?: string;
  readonly modifiedIndex: number;
}

interface EventBody {
  readonly action: string;
  readonly node: NodeBody;
  readonly prevNode?: NodeBody;
}

interface ErrorBody {
  readonly errorCode: number;
  readonly cause: string;
  readonly index: number;
}

const KEY_NOT_FOUND = 100;
const COMPARE_FAILED = 101;
const NODE_EXISTS = 105;

/** One operation on a register, in flight. */
interface Call {
  readonly operation: { -readonly [K in keyof Operation]: Operation[K] };
  readonly kind: "put" | "create" | "cas" | "delete" | "cad" | "read";
  readonly value: string;
  readonly expected: string;
  readonly sinceMs: number;
  abort: () => void;
}

/**
 * A client of registers: one request at a time, each to any member. Its operations are a history
 * for the linearizability checker; the change in a response is compared with the agreed one.
 */
export class SimClient {
  readonly #world: ClientWorld;
  readonly #name: string;
  readonly #keys: number;
  readonly #thinkMsMax: number;
  readonly history: Operation[] = [];
  #call: Call | undefined;
  #nextMs = 0;
  #made = 0;
  #lastSeen = new Map<string, string>();
  #lastIndex = new Map<string, number>();
  acknowledged = 0;
  isRetired = false;

  constructor(world: ClientWorld, name: string, keys: number, thinkMsMax: number) {
    this.#world = world;
    this.#name = name;
    this.#keys = keys;
    this.#thinkMsMax = thinkMsMax;
  }

  get isIdle(): boolean {
    return this.#call === undefined;
  }

  step(): void {
    const nowMs = this.#world.nowMs();
    if (this.#call !== undefined) {
      if (nowMs - this.#call.sinceMs > PATIENCE_MS) {
        this.#call.abort();
        this.#end(this.#call);
      }
      return;
    }
    if (this.isRetired || nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + this.#world.prng.below(this.#thinkMsMax);
    this.#begin();
  }

  #begin(): void {
    const { prng } = this.#world;
    const key = `k${prng.below(this.#keys)}.${this.#world.registers.generation}`;
    const kind = prng.pick(["put", "put", "create", "cas", "cas", "delete", "cad", "read", "read"]);
    const value = `${this.#name}.${++this.#made}`;
    const expected = this.#lastSeen.get(key) ?? "none";
    const request = this.#request(kind as Call["kind"], key, value, expected);
    const operation = {
      key,
      call: this.#world.position(),
      returned: Number.POSITIVE_INFINITY,
      text: `${this.#name} ${kind} ${key} ${value} expects ${expected}`,
    } as Call["operation"];
    const call: Call = {
      operation,
      kind: kind as Call["kind"],
      value,
      expected,
      sinceMs: this.#world.nowMs(),
      abort: () => undefined,
    };
    // Until the outcome is known, it may have happened.
    if (kind === "put" || kind === "cas" || kind === "create") operation.leaves = value;
    if (kind === "delete" || kind === "cad") operation.leaves = null;
    if (kind === "cas" || kind === "cad") operation.requires = expected;
    if (kind === "create") operation.requires = null;
    const asked = ask(this.#world, request, {
      answer: (status, _index, body) => this.#answered(call, status, body),
      chunk: () => assert.fail("a write and a read are answered at once"),
      cut: () => this.#end(call),
    });
    if (asked === undefined) return;
    operation.text += ` at ${asked.member.name}`;
    call.abort = asked.abort;
    this.#call = call;
  }

  #request(kind: Call["kind"], key: string, value: string, expected: string): HttpRequest {
    const path = `/v2/keys/r/${key}`;
    const { prng } = this.#world;
    switch (kind) {
      case "put":
        return { method: Method.put, path, body: form(`value=${value}`) };
      case "create":
        return { method: Method.put, path, query: "prevExist=false", body: form(`value=${value}`) };
      case "cas": {
        const index = this.#lastIndex.get(key);
        // Each value has a single index, so either condition will do.
        const condition =
          index !== undefined && prng.oneIn(2) ? `prevIndex=${index}` : `prevValue=${expected}`;
        return { method: Method.put, path, query: condition, body: form(`value=${value}`) };
      }
      case "delete":
        return { method: Method.delete, path };
      case "cad":
        return { method: Method.delete, path, query: `prevValue=${expected}` };
      case "read":
        return { method: Method.get, path, query: "quorum=true" };
    }
  }

  #answered(call: Call, status: number, body: string): void {
    const { operation, kind } = call;
    const key = operation.key;
    const isChange = status === 200 || status === 201;
    if (isChange) {
      const event = JSON.parse(body) as EventBody;
      const before = event.prevNode?.value ?? null;
      if (kind === "read") operation.requires = event.node.value ?? null;
      else {
        operation.requires = before;
        this.#checkAgreed(call, event);
        this.acknowledged++;
      }
      const now = kind === "read" ? (event.node.value ?? null) : (operation.leaves as Value);
      this.#saw(key, now, event.node.modifiedIndex);
    } else {
      const { errorCode, cause } = JSON.parse(body) as ErrorBody;
      if (errorCode === KEY_NOT_FOUND) operation.requires = null;
      else if (errorCode === COMPARE_FAILED) {
        operation.requires = undefined;
        const found = /^\[(.*) != (.*)\]$/.exec(cause);
        // By value, the response names the current one; by index, it only excludes the expected
        // one.
        if (found?.[1] === call.expected) operation.requires = found[2];
        else operation.forbids = [call.expected];
      } else if (errorCode === NODE_EXISTS) {
        operation.requires = undefined;
        operation.forbids = [null];
      } else {
        this.#end(call);
        return;
      }
      operation.leaves = undefined;
      if (errorCode === KEY_NOT_FOUND) this.#saw(key, null, 0);
    }
    operation.text += `: ${status} ${JSON.stringify(JSON.parse(body))}`;
    operation.returned = this.#world.position();
    this.#end(call);
  }

  #saw(key: string, value: Value, index: number): void {
    if (value === null) {
      this.#lastSeen.delete(key);
      this.#lastIndex.delete(key);
    } else {
      this.#lastSeen.set(key, value);
      this.#lastIndex.set(key, index);
    }
  }

  /** An acknowledged change must be the agreed one, which never changes. */
  #checkAgreed({ operation, value, kind }: Call, { action, node }: EventBody): void {
    const agreed = this.#world.checks.events.get(node.modifiedIndex);
    assert.ok(agreed !== undefined, `"${operation.text}" is acknowledged and nobody applied it`);
    assert.equal(agreed.path, `/1/r/${operation.key}`, operation.text);
    assert.equal(agreed.action, action, operation.text);
    if (kind !== "delete" && kind !== "cad") assert.equal(agreed.value, value, operation.text);
  }

  #end(call: Call): void {
    if (this.#call !== call) return;
    this.#call = undefined;
    // A read without a response is no evidence.
    const isUnknown = call.operation.returned === Number.POSITIVE_INFINITY;
    if (isUnknown) this.#world.registers.onUnknown();
    if (isUnknown && call.kind === "read") return;
    this.history.push(call.operation);
  }
}

/**
 * Fire and forget: all other operations of the store, so that stores can be compared after them.
 */
export class SimStirrer {
  readonly #world: ClientWorld;
  #made = 0;

  constructor(world: ClientWorld) {
    this.#world = world;
  }

  stir(): void {
    const { prng } = this.#world;
    const { asked, longTtl, nowMs } = this.#world;
    asked.set(`s${++this.#made}`, nowMs());
    const value = `value=s${this.#made}`;
    const leaf = `/v2/keys/r/s${prng.below(4)}`;
    const request = prng.pick<HttpRequest>([
      { method: Method.put, path: leaf, body: form(`${value}&ttl=${1 + prng.below(4)}`) },
      { method: Method.put, path: `${leaf}.long`, body: form(`${value}&ttl=${longTtl}`) },
      { method: Method.put, path: leaf, body: form("ttl=2&refresh=true&prevExist=true") },
      { method: Method.put, path: leaf, body: form(value) },
      { method: Method.delete, path: leaf },
      { method: Method.post, path: "/v2/keys/r/queue", body: form(`${value}&ttl=3`) },
      { method: Method.put, path: `/v2/keys/r/dir${prng.below(2)}/a/b`, body: form(value) },
      { method: Method.put, path: `/v2/keys/r/dir${prng.below(2)}`, body: form("dir=true&ttl=2") },
      { method: Method.delete, path: `/v2/keys/r/dir${prng.below(2)}`, query: "recursive=true" },
      { method: Method.get, path: "/v2/keys/r", query: "recursive=true&sorted=true" },
      { method: Method.get, path: "/v2/stats/self" },
      { method: Method.get, path: "/health" },
      { method: Method.put, path: "/v2/keys/big", body: form(`value=${"x".repeat(3000)}`) },
    ]);
    const nobody = () => undefined;
    ask(this.#world, request, { answer: nobody, chunk: nobody, cut: nobody });
  }
}
