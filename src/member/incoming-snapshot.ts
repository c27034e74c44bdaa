import { decodeSnapshotHead, type SnapshotHead } from "../cluster/snapshot-head.js";
import { assert } from "../lib/assert.js";
import { AppendType } from "../messages/log.js";
import { writeNumbers } from "../messages/numbers.js";
import type { Message } from "../raft/message.js";
import { decodeMessage } from "../raft/message-codec.js";
import type { Outlet } from "../ring/fragments.js";
import type { BlockSink, LoadedState, Machines } from "./machine.js";

type SnapshotMessage = Extract<Message, { type: "snapshot" }>;

/** A snapshot that was loaded whole, and not yet taken over. */
export interface LoadedSnapshot {
  readonly head: SnapshotHead;
  readonly state: LoadedState;
}

/**
 * A snapshot from the leader on its way into this member: the file is on our disk; its state is
 * built beside the one in use, while everything else goes on; then raft decides whether it still
 * wants it.
 */
export class IncomingSnapshot {
  readonly #machines: Machines;
  /** To the log, which reads the file. */
  readonly #append: Outlet;
  readonly #formatLevel: number;
  #message: SnapshotMessage | undefined;
  #head: SnapshotHead | undefined;
  #decoder: BlockSink | undefined;
  #loaded: LoadedSnapshot | undefined;

  /** @param formatLevel the newest that may be read */
  constructor(machines: Machines, append: Outlet, formatLevel: number) {
    this.#machines = machines;
    this.#append = append;
    this.#formatLevel = formatLevel;
  }

  get isLoading(): boolean {
    return this.#message !== undefined;
  }

  /** The file that the leader's message is about is on this member's disk: asks for its blocks. */
  begin(bytes: Uint8Array, appliedIndex: number): void {
    const message = decodeMessage(bytes);
    assert(message.type === "snapshot", "the peer thread gives only whole snapshots");
    const { index, term } = message.meta;
    if (this.isLoading || index <= appliedIndex) return;
    assert(this.#loaded === undefined, "what was loaded before was taken or dropped");
    this.#message = message;
    this.#decoder = this.#machines.decoder();
    writeNumbers(this.#append, AppendType.loadSnapshot, term, index);
  }

  /** @throws NewerFormatError */
  head(metadata: Buffer): void {
    this.#head = decodeSnapshotHead(metadata, this.#formatLevel);
  }

  block(bytes: Uint8Array): void {
    this.#decoder?.push(bytes);
  }

  /** The last block came. @returns the message for raft to step: `take` the state if raft agrees */
  finish(): SnapshotMessage | undefined {
    const message = this.#message;
    if (message === undefined || this.#decoder === undefined) return undefined;
    const head = this.#head;
    assert(head !== undefined, "a snapshot begins with its head");
    this.#loaded = { head, state: this.#decoder.finish() };
    this.#message = undefined;
    this.#decoder = undefined;
    return message;
  }

  /** What raft installs. */
  take(): LoadedSnapshot {
    const loaded = this.#loaded;
    assert(loaded !== undefined, "raft installs the snapshot it has just been given");
    this.#loaded = undefined;
    return loaded;
  }

  /** It cannot be read. The leader sends one again. */
  fail(): void {
    this.drop();
  }

  /** Raft did not want it, or has it. */
  drop(): void {
    this.#message = undefined;
    this.#head = undefined;
    this.#decoder = undefined;
    this.#loaded = undefined;
  }
}
