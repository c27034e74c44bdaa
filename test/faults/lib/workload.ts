import { type Answer, Client, NoAnswerError, type Served } from "../../support/client.js";
import type { Operation, Value } from "../../support/linearizable.js";
import type { Prng } from "../../support/prng.js";
import type { History } from "./history.js";

const CALL_MS = 2500;
const LEASE_SECONDS = 1;
/** Delay after a refused connection. */
const REFUSED_MS = 20;
/** Registers under `w` are watched, those under `u` are not. */
const REGISTERS = ["w/r0", "u/r1", "u/r2", "u/r3", "u/r4", "u/r5"];

interface Node {
  readonly key: string;
  readonly value?: string;
  readonly modifiedIndex: number;
}

interface Body {
  readonly action?: string;
  readonly node?: Node;
  readonly prevNode?: Node;
  readonly errorCode?: number;
  readonly cause?: string;
  readonly index?: number;
}

type Kind =
  | "set"
  | "swap-value"
  | "swap-index"
  | "delete-value"
  | "create"
  | "read"
  | "append" // Creates a key of its own, which must be there in the end.
  | "lease"; // Sets a separate key that expires: watchers must agree on its position.
/** Drawn at random, so repetition is weight. */
const KINDS: readonly Kind[] = [
  ...(["set", "set", "set", "set", "swap-value", "swap-value", "swap-value"] as const),
  ...(["swap-index", "swap-index", "delete-value", "create"] as const),
  ...(["read", "read", "read", "read", "append", "append", "lease"] as const),
];

/** One operation, before it is sent. */
interface Intent {
  readonly kind: Kind;
  readonly key: string;
  readonly value: string;
  /** Expected by a comparison. */
  readonly known: { readonly value: string; readonly index: number } | undefined;
}

/** Clients of all members on the same few keys, for one round. */
export class Workload {
  readonly history: History;
  /** Directory of this round's keys: `/f7`. */
  readonly prefix: string;
  readonly #prng: Prng;
  readonly #members: () => readonly Served[];
  readonly #onAnswer: (answered: number) => void;
  /** By key: the state last seen by any client, for swaps. */
  readonly #seen = new Map<string, { value: string; index: number }>();
  #isOver = false;
  #serial = 0;

  constructor(
    history: History,
    prefix: string,
    prng: Prng,
    members: () => readonly Served[],
    onAnswer: (answered: number) => void = () => undefined,
  ) {
    this.history = history;
    this.prefix = prefix;
    this.#prng = prng;
    this.#members = members;
    this.#onAnswer = onAnswer;
  }

  /** Runs until `stop`; resolves with the last response. */
  async run(workers: number): Promise<void> {
    await Promise.all(Array.from({ length: workers }, (_, number) => this.#work(number)));
  }

  stop(): void {
    this.#isOver = true;
  }

  /** Reads every register by a quorum, through one member. */
  async readAll(member: Served): Promise<void> {
    const client = new Client(member.clientUrl);
    for (const key of REGISTERS) {
      await this.#attempt(client, `final ${member.name}`, {
        ...{ kind: "read", key, value: "", known: undefined },
      });
    }
    client.close();
  }

  async #work(worker: number): Promise<void> {
    const prng = this.#prng;
    const clients = new Map<string, Client>();
    let member = prng.pick(this.#members());
    while (!this.#isOver) {
      let client = clients.get(member.clientUrl);
      if (client === undefined) {
        client = new Client(member.clientUrl);
        clients.set(member.clientUrl, client);
      }
      const intent = this.#draw(worker);
      const isAnswered = await this.#attempt(client, `${worker} ${member.name}`, intent);
      if (!isAnswered || prng.oneIn(20)) member = prng.pick(this.#members());
    }
    for (const client of clients.values()) client.close();
  }

  #draw(worker: number): Intent {
    const kind = this.#prng.pick(KINDS);
    const serial = this.#serial++;
    if (kind === "append") {
      const name = `w/log/${worker}-${serial}`;
      return { kind, key: name, value: `a${serial}`, known: undefined };
    }
    if (kind === "lease") {
      const key = `w/ttl/${worker}-${serial}`;
      return { kind, key, value: `t${serial}`, known: undefined };
    }
    const key = this.#prng.pick(REGISTERS);
    const known = this.#seen.get(key);
    const isComparing = kind === "swap-value" || kind === "swap-index" || kind === "delete-value";
    if (isComparing && known === undefined) {
      return { kind: "read", key, value: "", known };
    }
    return { kind, key, value: `v${serial}`, known };
  }

  /** @returns false if the client should try another member */
  async #attempt(client: Client, who: string, intent: Intent): Promise<boolean> {
    const { history } = this;
    const call = history.next();
    try {
      const [method, path, form] = requestOf(intent);
      const url = `/v2/keys${this.prefix}/${path}`;
      const options = form === undefined ? {} : { form };
      const answer = await client.call(method, url, { timeoutMs: CALL_MS, ...options });
      const returned = history.next();
      if (answer.status === 500 || answer.status === 503) {
        this.#record(intent, call, Infinity, who, {});
        history.figures.unknown++;
        return false;
      }
      const body = parse(answer);
      if (body === undefined) {
        history.complaints.push(`${who}: ${intent.kind} got ${answer.status} ${answer.body}`);
        return true;
      }
      this.#record(intent, call, returned, who, body, Number(answer.headers["x-etcd-index"]));
      history.figures[body.errorCode === undefined ? "answered" : "refused"]++;
      this.#onAnswer(history.figures.answered);
      return true;
    } catch (error) {
      if (!(error instanceof NoAnswerError)) throw error;
      if (error.isSent) {
        this.#record(intent, call, Infinity, who, {});
        history.figures.unknown++;
      } else {
        history.figures.unsent++;
        await new Promise((resolve) => setTimeout(resolve, REFUSED_MS));
      }
      return false;
    }
  }

  #record(
    intent: Intent,
    call: number,
    returned: number,
    who: string,
    body: Body,
    etcdIndex = 0,
  ): void {
    const { history } = this;
    const { kind, key, value, known } = intent;
    const { node, prevNode, errorCode, cause } = body;
    const isKnown = returned !== Infinity;
    const isDone = isKnown && errorCode === undefined;
    const told =
      known === undefined ? "" : ` if ${kind === "swap-index" ? known.index : known.value}`;
    const result = !isKnown
      ? "?"
      : isDone
        ? `${node?.value ?? "deleted"}@${node?.modifiedIndex}, was ${prevNode?.value ?? "absent"}`
        : `${errorCode} ${cause}`;
    const text = `${who}: ${kind} ${key} ${value}${told} -> ${result}`;
    if (node?.value !== undefined) history.valueAt.set(node.modifiedIndex, node.value);
    if (prevNode?.value !== undefined) history.valueAt.set(prevNode.modifiedIndex, prevNode.value);

    const isWrite = isDone && kind !== "read";
    if (isKnown) {
      const index = isWrite ? (node?.modifiedIndex ?? 0) : (body.index ?? etcdIndex);
      history.indexed.push({ call, returned, index, isWrite, text });
    }
    if (isWrite && node !== undefined) {
      const { action = "" } = body;
      history.changes.push({
        ...{ index: node.modifiedIndex, action, key: node.key, value: node.value ?? null },
      });
    }
    if (kind === "append" || kind === "lease") {
      if (isKnown && !isDone) history.complaints.push(`refused for no reason: ${text}`);
      if (kind === "lease") return;
      history.appends.push({ name: key, value, index: isDone ? (node?.modifiedIndex ?? 0) : 0 });
      return;
    }
    if (isDone && node?.value !== undefined) {
      this.#seen.set(key, { value: node.value, index: node.modifiedIndex });
    }
    if (!isKnown && kind === "read") return;
    const effect = isDone || !isKnown ? effectOf(intent, body, isKnown) : refusalOf(intent, body);
    if (effect === undefined) {
      history.complaints.push(`an answer that makes no sense: ${text}`);
      return;
    }
    const operation: Operation = { key, call, returned, text, ...effect };
    const found = /^\[(\d+) != (\d+)\]$/.exec(cause ?? "")?.[2];
    if (kind === "swap-index" && found !== undefined) {
      history.refusedByIndex.push({ operation, foundIndex: Number(found) });
    } else history.registers.push(operation);
  }
}

function requestOf({ kind, key, value, known }: Intent): [string, string, string?] {
  const compared = encodeURIComponent(known?.value ?? "");
  switch (kind) {
    case "set":
      return ["PUT", key, `value=${value}`];
    case "swap-value":
      return ["PUT", `${key}?prevValue=${compared}`, `value=${value}`];
    case "swap-index":
      return ["PUT", `${key}?prevIndex=${known?.index}`, `value=${value}`];
    case "delete-value":
      return ["DELETE", `${key}?prevValue=${compared}`];
    case "create":
    case "append":
      return ["PUT", `${key}?prevExist=false`, `value=${value}`];
    case "lease":
      return ["PUT", key, `value=${value}&ttl=${LEASE_SECONDS}`];
    case "read":
      return ["GET", `${key}?quorum=true`];
  }
}

type Effect = Pick<Operation, "requires" | "forbids" | "leaves">;

/** The effect of an operation that happened, or may have. */
function effectOf(intent: Intent, body: Body, isKnown: boolean): Effect | undefined {
  const { kind, value, known } = intent;
  const found: Value = body.prevNode?.value ?? null;
  if (isKnown && kind !== "read" && kind !== "delete-value" && body.node?.value !== value) {
    return undefined;
  }
  switch (kind) {
    case "set":
      return isKnown ? { requires: found, leaves: value } : { leaves: value };
    case "swap-value":
    case "swap-index":
    case "delete-value": {
      const leaves = kind === "delete-value" ? null : value;
      if (isKnown && found !== known?.value) return undefined;
      return { requires: known?.value, leaves };
    }
    case "create":
      return isKnown && found !== null ? undefined : { requires: null, leaves: value };
    case "read":
      return { requires: body.node?.value ?? null };
    case "append":
    case "lease":
      return undefined;
  }
}

/**
 * What a rejection reveals of the value: 100 not found, 101 compare failed `[known != found]`, 105
 * exists.
 */
function refusalOf({ kind, known }: Intent, { errorCode, cause = "" }: Body): Effect | undefined {
  if (errorCode === 100 && kind !== "set" && kind !== "create") return { requires: null };
  if (errorCode === 105 && kind === "create") return { forbids: [null] };
  if (errorCode !== 101 || known === undefined) return undefined;
  if (kind === "swap-index") return { forbids: [null, known.value] };
  if (kind !== "swap-value" && kind !== "delete-value") return undefined;
  const start = `[${known.value} != `;
  if (!cause.startsWith(start) || !cause.endsWith("]")) return undefined;
  const found = cause.slice(start.length, -1);
  return found === known.value ? undefined : { requires: found };
}

/** @returns undefined unless it is an event or an error of the store */
function parse({ status, body }: Answer): Body | undefined {
  if (![200, 201, 404, 412].includes(status)) return undefined;
  const parsed = JSON.parse(body) as Body;
  return parsed.node !== undefined || parsed.errorCode !== undefined ? parsed : undefined;
}
