import { decodeSnapshotHead, type SnapshotHead } from "../cluster/snapshot-head.js";
import { assert } from "../lib/assert.js";
import { AppendType } from "../messages/log.js";
import { writeNumbers } from "../messages/numbers.js";
import type { Message } from "../raft/message.js";
import { decodeMessage } from "../raft/message-codec.js";
import type { Outlet } from "../ring/fragments.js";
import type { BlockSink, LoadedState, Machines } from "./machine.js";

type SnapshotMessage = Extract<Message, { type: "snapshot" }>;

/** A completely loaded snapshot, not installed yet. */
export interface LoadedSnapshot {
  readonly head: SnapshotHead;
  readonly state: LoadedState;
}

/**
 * A snapshot from the leader, being loaded. Its file is on our disk; the wal thread sends its
 * blocks; a new state is built from them while the member keeps serving the old one; then raft
 * decides whether to install it.
 */
export class IncomingSnapshot {
  readonly #machines: Machines;
  /** To the wal thread, which reads the file. */
  readonly #append: Outlet;
  readonly #formatLevel: number;
  #message: SnapshotMessage | undefined;
  #head: SnapshotHead | undefined;
  #decoder: BlockSink | undefined;
  #loaded: LoadedSnapshot | undefined;

  /** @param formatLevel newest format level that this build reads */
  constructor(machines: Machines, append: Outlet, formatLevel: number) {
    this.#machines = machines;
    this.#append = append;
    this.#formatLevel = formatLevel;
  }

  get isLoading(): boolean {
    return this.#message !== undefined;
  }

  /**
   * Requests the blocks of the file, which is on this member's disk.
   *
   * @param bytes the leader's message
   */
  begin(bytes: Uint8Array, appliedIndex: number): void {
    const message = decodeMessage(bytes);
    assert(
      message.type === "snapshot",
      "the peer thread passes a snapshot message only with its file",
    );
    const { index, term } = message.meta;
    if (this.isLoading || index <= appliedIndex) return;
    assert(this.#loaded === undefined, "the snapshot loaded before was installed or dropped");
    this.#message = message;
    this.#decoder = this.#machines.decoder();
    assert(term > 0, "a snapshot holds an entry of some term");
    this.#assertInvariants();
    writeNumbers(this.#append, AppendType.loadSnapshot, term, index);
  }

  /** @throws NewerFormatError */
  head(metadata: Buffer): void {
    this.#head = decodeSnapshotHead(metadata, this.#formatLevel);
  }

  block(bytes: Uint8Array): void {
    this.#decoder?.push(bytes);
  }

  /**
   * The last block arrived.
   *
   * @returns the message for raft to step; call `take` if raft installs it
   */
  finish(): SnapshotMessage | undefined {
    const message = this.#message;
    if (message === undefined || this.#decoder === undefined) return undefined;
    const head = this.#head;
    assert(head !== undefined, "a snapshot's head comes before its blocks");
    this.#loaded = { head, state: this.#decoder.finish() };
    this.#message = undefined;
    this.#decoder = undefined;
    this.#assertInvariants();
    return message;
  }

  /** Returns the loaded snapshot for raft to install. */
  take(): LoadedSnapshot {
    const loaded = this.#loaded;
    assert(loaded !== undefined, "raft installs the snapshot that was just loaded");
    this.#loaded = undefined;
    return loaded;
  }

  /** The file cannot be read; the leader will send another. */
  fail(): void {
    this.drop();
  }

  /** Raft rejected the snapshot, or installed it. */
  drop(): void {
    this.#message = undefined;
    this.#head = undefined;
    this.#decoder = undefined;
    this.#loaded = undefined;
    this.#assertInvariants();
  }

  #assertInvariants(): void {
    const isLoading = this.#message !== undefined;
    assert(isLoading === (this.#decoder !== undefined), "what is loading is being decoded");
    assert(!isLoading || this.#loaded === undefined, "one snapshot is loaded at a time");
  }
}
