import { parseId } from "../cluster/ids.js";
import { assert } from "../lib/assert.js";
import type { PeerMembers } from "../messages/peers.js";
import type { Roster } from "./hello.js";

/** Another member to connect to. */
export interface RosterPeer {
  readonly id: bigint;
  readonly peerUrls: readonly string[];
}

/** The membership as last sent by the core. */
export class PeerRoster implements Roster {
  readonly #self: bigint;
  #members: PeerMembers | undefined;
  #byId = new Map<bigint, readonly string[]>();
  #removed = new Set<bigint>();

  constructor(self: bigint) {
    this.#self = self;
  }

  get isKnown(): boolean {
    return this.#members !== undefined;
  }

  get members(): PeerMembers | undefined {
    return this.#members;
  }

  get formatLevel(): number {
    return this.#members?.formatLevel ?? 1;
  }

  /** This member's own peer URLs; empty if it is not a member. */
  get ownUrls(): readonly string[] {
    return this.#byId.get(this.#self) ?? [];
  }

  /** All members but this one. */
  get peers(): readonly RosterPeer[] {
    return [...this.#byId]
      .filter(([id]) => id !== this.#self)
      .map(([id, peerUrls]) => ({ id, peerUrls }));
  }

  set(members: PeerMembers): void {
    this.#members = members;
    this.#byId = new Map(members.members.map(({ id, peerUrls }) => [idOf(id), peerUrls]));
    this.#removed = new Set(members.removed.map(idOf));
  }

  has(id: bigint): boolean {
    return this.#byId.has(id);
  }

  isRemoved(id: bigint): boolean {
    return this.#removed.has(id);
  }
}

/** Written by the core, so an invalid one is a bug. */
function idOf(text: string): bigint {
  const id = parseId(text);
  assert(id !== undefined, "a member id is hexadecimal");
  return id;
}
