import { NO_HEAD, type SnapshotHead } from "../cluster/snapshot-head.js";
import type { Message } from "../raft/message.js";
import { SnapshotDecoder } from "../store/snapshot.js";
import type { Store, StoreOptions } from "../store/store.js";

type SnapshotMessage = Extract<Message, { type: "snapshot" }>;

/**
 * A snapshot from the leader on its way into this member: the file is on our disk; its store is built
 * beside the one in use, while everything else goes on; then raft decides whether it still wants it.
 */
export class Arrival {
  readonly #options: StoreOptions;
  #message: SnapshotMessage | undefined;
  #decoder: SnapshotDecoder | undefined;
  #store: Store | undefined;
  #head = NO_HEAD;

  constructor(options: StoreOptions) {
    this.#options = options;
  }

  get isLoading(): boolean {
    return this.#message !== undefined;
  }

  /**
   * The file that `message` is about is asked for.
   *
   * @param before the store in use, which the new one shares memory with
   */
  begin(message: SnapshotMessage, before: Store): void {
    this.#message = message;
    this.#decoder = new SnapshotDecoder(this.#options, before);
  }

  /** Of the snapshot that is loading, or was loaded last. */
  get head(): SnapshotHead {
    return this.#head;
  }

  set head(head: SnapshotHead) {
    this.#head = head;
  }

  block(bytes: Uint8Array): void {
    this.#decoder?.push(bytes);
  }

  /** @returns the message for raft to step, now that the store is there: `take` it if raft agrees */
  finish(): SnapshotMessage | undefined {
    const message = this.#message;
    this.#store = this.#decoder?.finish();
    this.#message = undefined;
    this.#decoder = undefined;
    return message;
  }

  /** The store of the snapshot that raft installs. */
  take(): Store | undefined {
    const store = this.#store;
    this.#store = undefined;
    return store;
  }

  /** It could not be read, or raft did not want it. */
  drop(): void {
    this.#message = undefined;
    this.#decoder = undefined;
    this.#store = undefined;
  }
}
