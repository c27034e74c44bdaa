import { publishAttributesCommand } from "../cluster/commands.js";
import { formatId } from "../cluster/ids.js";
import {
  attributesPath,
  MEMBERS_PATH,
  memberPath,
  REMOVED_MEMBERS_PATH,
  raftAttributesPath,
  readClusterPath,
  removedMemberPath,
} from "../cluster/paths.js";
import { goJsonStrings } from "../go/text.js";
import { CommandOp, commandOf } from "../store/command.js";
import { Refusal } from "../store/refusal.js";
import type { Store } from "../store/store.js";
import type { EtcdConfChange } from "./messages.js";

/** A member as etcd's conf changes and store have it. */
interface EtcdMember {
  readonly peerUrls: readonly string[];
  readonly isLearner: boolean;
}

const ADD = 0;
const REMOVE = 1;
const UPDATE = 2;
const ADD_LEARNER = 3;
/** etcdserver/api/membership/cluster.go. */
const LEARNERS_MAX = 1;

/**
 * The membership of an etcd cluster, which etcd keeps in the v2 store, too: each change takes
 * indexes of the key space (etcdserver/api/membership/cluster.go and store.go).
 */
export class EtcdMembers {
  readonly #store: Store;
  readonly #members = new Map<bigint, EtcdMember>();
  readonly #removed = new Set<bigint>();

  constructor(store: Store) {
    this.#store = store;
    const cursor = store.cursor();
    cursor.seek("/0/");
    for (let node = cursor.next(); node?.path.startsWith("/0/"); node = cursor.next()) {
      const place = readClusterPath(node.path);
      if (place?.kind === "removed") this.#removed.add(place.id);
      if (place?.kind !== "raftAttributes") continue;
      this.#members.set(place.id, memberOf(jsonOf(Buffer.from(node.value, "latin1"))));
    }
  }

  /** Whether the member is the only voter: then what its disk has is committed. */
  isAlone(id: bigint): boolean {
    const voters = [...this.#members].filter(([, { isLearner }]) => !isLearner);
    return voters.length === 1 && voters[0]?.[0] === id;
  }

  get count(): number {
    return this.#members.size;
  }

  /** Applies a conf change that is valid. */
  change(change: EtcdConfChange): void {
    this.#countReads();
    if (this.#removed.has(change.memberId)) return;
    if (change.type === REMOVE) this.#remove(change.memberId);
    else if (change.type === UPDATE) this.#update(change.memberId, jsonOf(change.context));
    else if (change.type === ADD || change.type === ADD_LEARNER) {
      this.#add(change.memberId, jsonOf(change.context));
    }
  }

  /** A member has published itself; ignored for one that was removed. */
  publish(id: bigint, name: string, clientUrls: readonly string[], timeMs: number): void {
    if (!this.#members.has(id)) return;
    this.#store.apply(publishAttributesCommand(id, name, clientUrls, timeMs));
  }

  /** By a v2 request of etcd before 3.5. @param value JSON, bytes one per character */
  publishJson(path: string, value: string, timeMs: number): boolean {
    const place = readClusterPath(path);
    if (place?.kind !== "attributes" || path !== attributesPath(place.id)) return false;
    const { name, clientURLs } = jsonOf(Buffer.from(value, "latin1"));
    this.publish(place.id, typeof name === "string" ? name : "", textsOf(clientURLs), timeMs);
    return true;
  }

  #add(id: bigint, json: Json): void {
    const before = this.#members.get(id);
    if (json.isPromote === true) {
      if (before?.isLearner !== true) return;
      this.#write(CommandOp.update, id, { ...before, isLearner: false });
      return;
    }
    const member = memberOf(json);
    if (before !== undefined || this.#isTaken(member.peerUrls, id)) return;
    const learners = [...this.#members.values()].filter(({ isLearner }) => isLearner);
    if (member.isLearner && learners.length >= LEARNERS_MAX) return;
    this.#write(CommandOp.create, id, member);
  }

  #update(id: bigint, json: Json): void {
    const member = memberOf(json);
    if (!this.#members.has(id) || this.#isTaken(member.peerUrls, id)) return;
    this.#write(CommandOp.update, id, member);
  }

  #remove(id: bigint): void {
    if (!this.#members.delete(id)) return;
    this.#removed.add(id);
    const whole = { isDirectory: true, isRecursive: true };
    this.#store.apply(commandOf(CommandOp.delete, memberPath(id), "", 0, whole));
    this.#store.apply(commandOf(CommandOp.create, removedMemberPath(id), "", 0));
  }

  #isTaken(peerUrls: readonly string[], id: bigint): boolean {
    const others = [...this.#members].filter(([other]) => other !== id);
    return others.some(([, other]) => other.peerUrls.some((url) => peerUrls.includes(url)));
  }

  #write(op: typeof CommandOp.create | typeof CommandOp.update, id: bigint, member: EtcdMember) {
    this.#members.set(id, member);
    const learner = member.isLearner ? ',"isLearner":true' : "";
    const json = `{"peerURLs":${goJsonStrings(member.peerUrls)}${learner}}`;
    const value = Buffer.from(json).toString("latin1");
    this.#store.apply(commandOf(op, raftAttributesPath(id), value, 0));
  }

  /** etcd reads the membership from the store to validate a change, and counts these reads. */
  #countReads(): void {
    if (this.#store.read(MEMBERS_PATH) instanceof Refusal) return;
    this.#store.read(REMOVED_MEMBERS_PATH);
  }

  /** For messages. */
  toString(): string {
    return [...this.#members.keys()].map(formatId).join(", ");
  }
}

type Json = Readonly<Record<string, unknown>>;

/** Of a conf change or of the store; what is not an object has no fields. */
function jsonOf(bytes: Buffer): Json {
  try {
    const json: unknown = JSON.parse(bytes.toString());
    return typeof json === "object" && json !== null ? (json as Json) : {};
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return {};
  }
}

function memberOf({ peerURLs, isLearner }: Json): EtcdMember {
  return { peerUrls: textsOf(peerURLs), isLearner: isLearner === true };
}

function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}
