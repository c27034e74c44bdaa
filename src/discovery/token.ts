import { setTimeout as sleep } from "node:timers/promises";
import { parseInitialCluster } from "../config/initial-cluster.js";
import { withoutTrailingSlashes } from "../go/text.js";
import { DiscoveryError, DiscoveryUnreachableError } from "./discovery-error.js";
import type { Registry, RegistryAnswer, RegistryCall } from "./registry.js";

export interface DiscoveryLog {
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
}

/** A registered member. */
interface Registered {
  /** Its id, in hex: the last part of its key. */
  readonly id: string;
  /** `name=url,name=url` */
  readonly value: string;
  readonly createdIndex: number;
}

interface Found {
  readonly size: number;
  /** In order of registration. */
  readonly members: readonly Registered[];
  /** Of the store when it was read. */
  readonly index: number;
}

const CALL_MS = 5000;
/** Between long polls that the service ends without an event, perhaps at once. */
const POLL_AGAIN_MS = 1000;
const DOUBLINGS_MAX = 8;
const KEY_NOT_FOUND = 100;
const NODE_EXISTS = 105;
const INDEX_CLEARED = 401;

/** Waits before repeating a request that failed, in seconds: 2, 4, 8 and so on to 256. */
export function backoffSeconds(failures: number): number {
  return 2 ** Math.min(failures, DOUBLINGS_MAX);
}

/**
 * A token at a discovery service: a directory where the founding members of one cluster register
 * (etcdserver/api/v2discovery). Requests that fail are repeated for ever.
 */
export class DiscoveryToken {
  /** Without a trailing slash. */
  readonly #url: string;
  /** What the operator gave. */
  readonly #shown: string;
  readonly #registry: Registry;
  readonly #log: DiscoveryLog;
  readonly #sleep: (ms: number) => Promise<unknown>;
  #failures = 0;

  constructor(
    url: string,
    registry: Registry,
    log: DiscoveryLog,
    wait: (ms: number) => Promise<unknown> = sleep,
  ) {
    this.#shown = url;
    this.#url = withoutTrailingSlashes(url.replace(/[?#].*$/, ""));
    this.#registry = registry;
    this.#log = log;
    this.#sleep = wait;
  }

  /**
   * Registers a member, and waits until all have.
   *
   * @param id in hex
   * @param member its entry of the initial cluster
   * @returns the initial cluster
   * @throws DiscoveryError
   */
  async join(id: string, member: string): Promise<string> {
    // First without registering: a full token must not get one more member.
    await this.#check(id);
    await this.#register(id, member);
    return await this.#whenComplete(id, await this.#check(id));
  }

  /** The initial cluster, once it is complete, for a process that is not one of its members. */
  async cluster(): Promise<string> {
    const found = await this.#look();
    return await this.#whenComplete("", found);
  }

  /** @throws DiscoveryError if the token is full without this member */
  async #check(id: string): Promise<Found> {
    const found = await this.#look();
    const founders = found.members.slice(0, found.size);
    const isFull = founders.length === found.size && !founders.some((one) => one.id === id);
    if (isFull) throw this.#error("full");
    return found;
  }

  async #look(): Promise<Found> {
    const sized = await this.#repeatedly("cluster status check", {
      method: "GET",
      url: `${this.#url}/_config/size`,
      timeoutMs: CALL_MS,
    });
    if (errorCodeOf(sized) === KEY_NOT_FOUND) throw this.#error("size not found");
    const { value } = this.#nodeOf(sized);
    const size = typeof value === "string" && /^\d{1,9}$/.test(value) ? Number(value) : 0;
    if (size === 0) throw this.#error("bad size");
    const listed = await this.#repeatedly("cluster status check", {
      method: "GET",
      url: this.#url,
      timeoutMs: CALL_MS,
    });
    const { nodes = [] } = this.#nodeOf(listed);
    const members = (Array.isArray(nodes) ? nodes : []).flatMap(registeredOf);
    members.sort((a, b) => a.createdIndex - b.createdIndex);
    return { size, members, index: listed.index };
  }

  /** A PUT whose response was lost is repeated, and may then find its own key. */
  async #register(id: string, value: string): Promise<void> {
    const key = `${this.#url}/${id}`;
    let mayBeOurs = false;
    for (;;) {
      try {
        const put = { method: "PUT", url: `${key}?prevExist=false`, value } as const;
        const answer = await this.#registry.call({ ...put, timeoutMs: CALL_MS });
        if (errorCodeOf(answer) !== NODE_EXISTS) {
          const { createdIndex } = this.#nodeOf(answer);
          await this.#untilVisible(key, Number(createdIndex));
          return;
        }
        if (!mayBeOurs) throw this.#error("duplicate id");
        const found = await this.#registry.call({ method: "GET", url: key, timeoutMs: CALL_MS });
        if (this.#nodeOf(found).value !== value) throw this.#error("duplicate id");
        return;
      } catch (error) {
        if (!(error instanceof DiscoveryUnreachableError)) throw error;
        mayBeOurs = true;
        await this.#backOff("registration", error.message);
      }
    }
  }

  /** Behind one URL there may be several servers, and some of them late. */
  async #untilVisible(key: string, createdIndex: number): Promise<void> {
    await this.#repeatedly("registration", {
      method: "GET",
      url: `${key}?wait=true&waitIndex=${createdIndex}`,
      timeoutMs: CALL_MS,
    });
  }

  /** @param id this member's; "" for none */
  async #whenComplete(id: string, start: Found): Promise<string> {
    const { size } = start;
    const url = this.#shown;
    let members = start.members.slice(0, size);
    let { index } = start;
    for (const one of members) this.#tell(one, id);
    while (members.length < size) {
      const missing = { url, foundPeers: members.length, neededPeers: size - members.length };
      this.#log.info(missing, "found peers from discovery server; waiting for more");
      const answer = await this.#next(index + 1);
      if (answer === undefined) {
        const again = await this.#look();
        for (const one of again.members.slice(members.length, size)) this.#tell(one, id);
        members = again.members.slice(0, size);
        index = again.index;
        continue;
      }
      const node = this.#nodeOf(answer);
      index = Math.max(index, Number(node.modifiedIndex) || 0);
      for (const one of registeredOf(node)) {
        if (members.some((known) => known.id === one.id)) continue;
        members = [...members, one];
        this.#tell(one, id);
      }
    }
    this.#log.info({ url, foundPeers: size }, "found all needed peers from discovery server");
    return this.#textOf(members, size);
  }

  /** @returns undefined if the directory must be read again */
  async #next(waitIndex: number): Promise<RegistryAnswer | undefined> {
    const url = `${this.#url}?wait=true&recursive=true&waitIndex=${waitIndex}`;
    try {
      const answer = await this.#registry.call({ method: "GET", url, timeoutMs: undefined });
      // A long poll that the service ended has no body.
      const isOver = answer.body === null || errorCodeOf(answer) === INDEX_CLEARED;
      if (!isOver) return answer;
      await this.#sleep(POLL_AGAIN_MS);
      return undefined;
    } catch (error) {
      if (!(error instanceof DiscoveryUnreachableError)) throw error;
      await this.#backOff("waiting for other nodes", error.message);
      return undefined;
    }
  }

  #textOf(members: readonly Registered[], size: number): string {
    const text = members.map(({ value }) => value).join(",");
    const parsed = parseInitialCluster(text);
    if (parsed.kind === "invalid") throw this.#error("invalid URL");
    if (parsed.members.length !== size) throw this.#error("duplicate name");
    return text;
  }

  async #repeatedly(step: string, call: RegistryCall): Promise<RegistryAnswer> {
    for (;;) {
      try {
        return await this.#registry.call(call);
      } catch (error) {
        if (!(error instanceof DiscoveryUnreachableError)) throw error;
        await this.#backOff(step, error.message);
      }
    }
  }

  async #backOff(step: string, why: string): Promise<void> {
    this.#failures++;
    const seconds = backoffSeconds(this.#failures);
    this.#log.warn(
      { url: this.#shown, reason: step, error: why, backoff: `${seconds}s` },
      "retry connecting to discovery service",
    );
    await this.#sleep(seconds * 1000);
  }

  /** @throws DiscoveryError if the response is an error, or none of the v2 API's */
  #nodeOf(answer: RegistryAnswer): Record<string, unknown> {
    const { body, status } = answer;
    if (typeof body !== "object" || body === null) throw this.#error("bad endpoint");
    const { node, message, errorCode, cause } = body as Record<string, unknown>;
    if (status < 300 && typeof node === "object" && node !== null) {
      return node as Record<string, unknown>;
    }
    if (typeof message !== "string") throw this.#error("bad endpoint");
    throw new DiscoveryError("rejected", this.#shown, `${errorCode}: ${message} (${cause})`);
  }

  #tell({ id }: Registered, ownId: string): void {
    const who = id === ownId ? { self: id } : { peer: id };
    const kind = id === ownId ? "self" : "peer";
    this.#log.info({ url: this.#shown, ...who }, `found ${kind} from discovery server`);
  }

  #error(reason: ConstructorParameters<typeof DiscoveryError>[0]): DiscoveryError {
    return new DiscoveryError(reason, this.#shown);
  }
}

function errorCodeOf({ body }: RegistryAnswer): number | undefined {
  if (typeof body !== "object" || body === null) return undefined;
  const { errorCode } = body as Record<string, unknown>;
  return typeof errorCode === "number" ? errorCode : undefined;
}

/** None for the token's own settings, and for a key that was removed. */
function registeredOf(node: unknown): Registered[] {
  if (typeof node !== "object" || node === null) return [];
  const { key, value, createdIndex } = node as Record<string, unknown>;
  if (typeof key !== "string" || typeof value !== "string") return [];
  if (/(^|\/)_config(\/|$)/.test(key)) return [];
  const id = key.slice(key.lastIndexOf("/") + 1);
  return [{ id, value, createdIndex: Number(createdIndex) || 0 }];
}
