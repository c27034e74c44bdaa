import type { Cursor } from "../btree/cursor.js";
import { compareBytes } from "../go/url-list.js";
import { assert } from "../lib/assert.js";
import type { Command } from "../store/command.js";
import { Action, type Event } from "../store/event.js";
import type { Node } from "../store/node.js";
import { type ClusterPath, readClusterPath } from "./paths.js";

/** A member. Until it has started, it has no name and no client URLs. */
export interface Member {
  readonly id: bigint;
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  /** Until a client promotes it. One that promotes itself is not shown as a learner. */
  readonly isLearner: boolean;
}

/**
 * The cluster's members, derived from the replicated store's keys below "/0". Invariants:
 *
 *   1. A member is listed exactly while the store has its raftAttributes.
 *   2. No id is both a member and removed; a removed id never returns.
 *   3. It depends on the applied log alone: the same on every member at the same index.
 *
 * Pass it every event for which `concerns` is true, in order; call `restore` after a snapshot.
 */
export class Membership {
  readonly #members = new Map<bigint, Member>();
  readonly #removed = new Set<bigint>();
  #version = "";
  #sorted: readonly Member[] | undefined;

  /** Cheap test for the apply loop: whether a store path belongs to the membership. */
  static concerns(path: string): boolean {
    return path.startsWith("/0/");
  }

  /**
   * False for commands the apply loop must skip: attributes published by a member but logged only
   * after its removal would re-create the removed member.
   */
  mayApply(command: Command): boolean {
    if (!Membership.concerns(command.path)) return true;
    const place = readClusterPath(command.path);
    return place?.kind !== "attributes" || this.#members.has(place.id);
  }

  /** Updates the membership by an applied event; ignores events elsewhere in the store. */
  apply(event: Event): void {
    const place = readClusterPath(event.node.path);
    if (place === undefined) return;
    this.#sorted = undefined;
    const isGone = event.action === Action.delete || event.action === Action.compareAndDelete;
    if (!isGone) this.#set(place, event.node.value);
    else if (place.kind === "member") this.#members.delete(place.id);
    else assert(false, "below /0 only whole members are deleted");
  }

  /** Like `restore`, from a cursor over the store. */
  restoreFrom(cursor: Cursor<Node>): void {
    cursor.seek("/0/");
    const nodes: Node[] = [];
    for (let node = cursor.next(); node?.path.startsWith("/0/"); node = cursor.next()) {
      nodes.push(node);
    }
    this.restore(nodes);
  }

  /** Rebuilds the membership from a restored store's nodes below "/0", in any order. */
  restore(nodes: Iterable<Node>): void {
    this.#members.clear();
    this.#removed.clear();
    this.#version = "";
    this.#sorted = undefined;
    const attributes: Node[] = [];
    for (const node of nodes) {
      const place = node.isDirectory ? undefined : readClusterPath(node.path);
      if (place === undefined) continue;
      // raftAttributes create a member, so apply them before the attributes.
      if (place.kind === "attributes") attributes.push(node);
      else this.#set(place, node.value);
    }
    for (const node of attributes) {
      const place = readClusterPath(node.path);
      if (place !== undefined) this.#set(place, node.value);
    }
  }

  #set(place: ClusterPath, value: string): void {
    switch (place.kind) {
      case "version":
        this.#version = textOf(value);
        return;
      case "removed":
        this.#members.delete(place.id);
        this.#removed.add(place.id);
        return;
      case "raftAttributes": {
        assert(!this.#removed.has(place.id), "a removed member never returns");
        const before = this.#members.get(place.id);
        const attributes = attributesOf(value);
        const { name = "", clientUrls = [] } = before ?? {};
        this.#members.set(place.id, {
          id: place.id,
          name,
          peerUrls: stringsOf(attributes.peerURLs),
          clientUrls,
          isLearner: attributes.isLearner === true,
        });
        return;
      }
      case "attributes": {
        const before = this.#members.get(place.id);
        assert(before !== undefined, "attributes belong to a member");
        const { name, clientURLs } = attributesOf(value);
        this.#members.set(place.id, {
          id: place.id,
          name: typeof name === "string" ? name : "",
          peerUrls: before.peerUrls,
          clientUrls: stringsOf(clientURLs),
          isLearner: before.isLearner,
        });
        return;
      }
      case "member":
        return;
    }
  }

  /** All members, ascending by numeric id. */
  members(): readonly Member[] {
    this.#sorted ??= [...this.#members.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    return this.#sorted;
  }

  member(id: bigint): Member | undefined {
    return this.#members.get(id);
  }

  isRemoved(id: bigint): boolean {
    return this.#removed.has(id);
  }

  /** Ids of removed members, ascending. */
  removedIds(): readonly bigint[] {
    return [...this.#removed].sort((a, b) => (a < b ? -1 : 1));
  }

  /** Client URLs of all members, in byte order. */
  clientUrls(): readonly string[] {
    return this.members()
      .flatMap((member) => member.clientUrls)
      .sort(compareBytes);
  }

  /** "3.4.0", or "" before the leader has set one. */
  get version(): string {
    return this.#version;
  }
}

/** Store values are latin1 bytes; names are UTF-8 text. */
function textOf(value: string): string {
  return Buffer.from(value, "latin1").toString("utf8");
}

/** Only members write below "/0", so a value that is not a JSON object is our own mistake. */
function attributesOf(value: string): Readonly<Record<string, unknown>> {
  const parsed: unknown = JSON.parse(textOf(value));
  assert(typeof parsed === "object" && parsed !== null, "attributes are a JSON object");
  return parsed as Record<string, unknown>;
}

function stringsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}
