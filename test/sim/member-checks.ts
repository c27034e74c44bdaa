import assert from "node:assert/strict";
import { readClusterPath } from "#ringd/cluster/paths.js";
import type { HardState } from "#ringd/raft/entry.js";
import type { Message } from "#ringd/raft/message.js";
import type { Raft, Ready } from "#ringd/raft/raft.js";
import { ACTION_NAMES, type Event } from "#ringd/store/event.js";
import type { Node } from "#ringd/store/node.js";
import type { Store } from "#ringd/store/store.js";
import { Checks } from "./raft-checks.js";
import type { SimDisk as DurableLog } from "./raft-disk.js";

/** One change of the replicated store, as reported by the first store that applied it. */
export interface AgreedEvent {
  readonly index: number;
  readonly action: string;
  readonly path: string;
  readonly value: string;
  readonly isRefresh: boolean;
  readonly text: string;
}

/** State of one member, for the checks. */
export interface CheckedMember {
  readonly id: bigint;
  readonly name: string;
  readonly store: Store | undefined;
  /** The durable content of its log. */
  readonly durableLog: DurableLog;
  /** The last entry its store contains. */
  applied: number;
}

/**
 * The agreed state, as reported by the first member, and the checks that all others agree: Raft's
 * properties (raft-checks.ts), one sequence of changes, one content of the store per index.
 */
export class MemberChecks {
  readonly raft = new Checks();
  /** By etcd index. */
  readonly events = new Map<number, AgreedEvent>();
  lastEvent = 0;
  /** Peer URLs of everyone who is or was a member. */
  readonly peerUrls = new Map<bigint, string>();
  readonly members = new Set<bigint>();
  /** Those that stay learners until a client promotes them. */
  readonly learners = new Set<bigint>();
  readonly removed = new Set<bigint>();
  /** By raft index: the store's content after that entry. */
  readonly #digests = new Map<number, number>();
  readonly #logs = new Map<bigint, DurableLog>();
  digestsCompared = 0;
  leaders = 0;
  installs = 0;

  keep(member: CheckedMember): void {
    this.#logs.set(member.id, member.durableLog);
  }

  onReady(member: CheckedMember, raft: Raft, ready: Ready | undefined): void {
    raft.checkInvariants();
    if (this.raft.commitIndex === 0 && raft.commit > 0) {
      // The bootstrap entries of the initial members.
      for (let i = 1; i <= raft.commit; i++) this.raft.committed.push(raft.entryOf(i));
    }
    if (raft.isLeader) this.raft.leads(raft);
    this.raft.commits(raft, this.#logs);
    if (ready === undefined) return;
    for (const message of ready.messages) this.#sends(message, member.durableLog);
    if (ready.append !== undefined) this.raft.writes(raft, ready.append.entries);
    if (ready.softState?.role === "leader") this.leaders++;
  }

  /** `member` hands these entries to its store. */
  onCommitted(member: CheckedMember, { committed, append }: Ready): void {
    if (append !== undefined) {
      if (append.snapshot !== undefined) {
        this.installs++;
        member.applied = append.snapshot.index;
      }
      member.durableLog.add(append);
    }
    for (const entry of committed) {
      assert.equal(entry.index, member.applied + 1, `${member.name} applies entries in order`);
      const agreed = this.raft.committed[entry.index - 1];
      assert.ok(agreed !== undefined, `${member.name} applies ${entry.index}, not committed`);
      assert.equal(entry.term, agreed.term, `${member.name} applies another ${entry.index}`);
      assert.ok(
        Buffer.compare(entry.data, agreed.data) === 0,
        `${member.name} applies another entry ${entry.index}`,
      );
      member.applied = entry.index;
    }
  }

  /** State machine safety, change by change. */
  onEvent(event: Event): void {
    const { index, node, prevNode, timeMs, isRefresh } = event;
    const text = `${ACTION_NAMES[event.action]} ${describe(node)} was ${describe(prevNode)} at ${timeMs} ${isRefresh}`;
    const agreed = this.events.get(index);
    if (agreed !== undefined) {
      assert.equal(text, agreed.text, `change ${index} is another one elsewhere`);
      return;
    }
    assert.ok(index <= this.lastEvent + 1, `change ${index} comes after ${this.lastEvent}`);
    this.lastEvent = index;
    const action = ACTION_NAMES[event.action];
    this.events.set(index, {
      index,
      action,
      path: node.path,
      value: node.value,
      isRefresh,
      text,
    });
    this.#onMembership(node);
  }

  /** The content of a store that has applied everything up to `applied`. */
  onStore(name: string, store: Store, applied: number): void {
    const digest = digestOf(store);
    const known = this.#digests.get(applied);
    if (known === undefined) this.#digests.set(applied, digest);
    else {
      this.digestsCompared++;
      assert.equal(digest, known, `${name} has another store after entry ${applied}`);
    }
  }

  #onMembership(node: Node): void {
    const place = readClusterPath(node.path);
    if (place?.kind === "raftAttributes") {
      const { peerURLs, isLearner = false } = JSON.parse(node.value) as {
        readonly peerURLs: string[];
        readonly isLearner?: boolean;
      };
      this.peerUrls.set(place.id, peerURLs.join());
      this.members.add(place.id);
      if (isLearner) this.learners.add(place.id);
      else this.learners.delete(place.id);
    } else if (place?.kind === "removed") {
      this.members.delete(place.id);
      this.learners.delete(place.id);
      this.removed.add(place.id);
    }
  }

  #sends(message: Message, log: DurableLog): void {
    this.raft.sends(message, log);
  }
}

/** The log found at a start must contain everything that was durable when the member went down. */
export function checkRecovery(
  name: string,
  log: DurableLog,
  found: {
    /** Index of the newest on the disk. */
    readonly newestSnapshot: number;
    readonly snapshotIndex: number;
    readonly snapshotTerm: number;
    readonly hardState: HardState;
    readonly entries: readonly { readonly index: number; readonly term: number }[];
  },
): void {
  assert.equal(found.snapshotIndex, found.newestSnapshot, `${name} starts from an old snapshot`);
  const { term, vote } = log.hardState;
  assert.ok(found.hardState.term >= term, `${name} forgot its term ${term}`);
  if (found.hardState.term === term && !log.hasUnfinishedHardState) {
    assert.equal(found.hardState.vote, vote, `${name} forgot its vote in term ${term}`);
  }
  // A snapshot from the leader that the log did not know yet replaces entries that contradict it:
  // they were never committed.
  if (!log.holds(found.snapshotIndex, found.snapshotTerm)) return;
  const terms = new Map(found.entries.map((entry) => [entry.index, entry.term]));
  for (const entry of log.entries) {
    if (entry.index >= log.unfinishedFrom || entry.index <= found.snapshotIndex) continue;
    assert.equal(terms.get(entry.index), entry.term, `${name} lost entry ${entry.index}`);
  }
  const reached = Math.min(log.lastIndex, log.unfinishedFrom - 1);
  const last = found.entries.at(-1)?.index ?? found.snapshotIndex;
  assert.ok(last >= reached, `${name} had entries up to ${reached}, and now up to ${last}`);
}

function describe(node: Node | undefined): string {
  if (node === undefined) return "nothing";
  const { path, value, isDirectory, createdIndex, modifiedIndex, expirationMs } = node;
  return `${path} ${isDirectory ? "dir" : value} ${createdIndex} ${modifiedIndex} ${expirationMs}`;
}

/**
 * FNV-1a over the state that members must agree on: nodes, index, and the event history's range.
 */
function digestOf(store: Store): number {
  let hash = 0x811c9dc5;
  const mix = (value: number) => {
    hash = Math.imul(hash ^ (value | 0), 0x01000193);
    hash = Math.imul(hash ^ Math.floor(value / 2 ** 32), 0x01000193);
  };
  const mixText = (text: string) => {
    for (let i = 0; i < text.length; i++) {
      hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    }
  };
  const cursor = store.cursor();
  for (let node = cursor.next(); node !== undefined; node = cursor.next()) {
    mixText(node.path);
    mixText(node.value);
    mix(node.isDirectory ? 1 : 0);
    mix(node.createdIndex);
    mix(node.modifiedIndex);
    mix(node.expirationMs);
  }
  mix(store.index);
  const { events } = store;
  mix(events[0]?.index ?? 0);
  mix(events.length);
  return hash >>> 0;
}
