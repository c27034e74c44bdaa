import { decodeSnapshotHead, NO_HEAD } from "../cluster/snapshot-head.js";
import { assert, unreachable } from "../lib/assert.js";
import { DurableType, EntryReader, readHardState, SNAPSHOT_METADATA_AT } from "../messages/log.js";
import type { Entry, HardState, SnapshotMeta } from "../raft/entry.js";
import { Inlet } from "../ring/fragments.js";
import type { RecordCursor } from "../ring/record-cursor.js";
import type { RingReader } from "../ring/ring.js";
import { SnapshotDecoder } from "../store/snapshot.js";
import { Store, type StoreOptions } from "../store/store.js";
import type { RecoveredMember } from "./raft-start.js";

const BATCH_RECORDS = 1024;

/**
 * The core's end of a start: takes what the disk held out of the ring, and builds the state that
 * the member begins with. Nothing that it keeps is a view of the ring.
 *
 * Invariants, by the order of `DurableType`:
 *   1. One snapshot at most, whole, before all else; then one identity; then the entries.
 *   2. The entries follow the snapshot, without a gap, and their terms never decrease.
 *   3. The commit index lies among them, and the term is no older than the last one's.
 */
export class RecoveryReader {
  readonly #inlet: Inlet;
  readonly #storeOptions: StoreOptions;
  readonly #formatLevel: number;
  readonly #entryReader = new EntryReader();
  readonly #entries: Entry[] = [];
  #identity: { readonly memberId: bigint; readonly clusterId: bigint } | undefined;
  #snapshot: SnapshotMeta | undefined;
  #head = NO_HEAD;
  /** While blocks are to come. */
  #decoder: SnapshotDecoder | undefined;
  #store: Store | undefined;
  #hardState: HardState | undefined;

  /** @param formatLevel the newest that may be read */
  constructor(durable: RingReader, storeOptions: StoreOptions, formatLevel: number) {
    this.#storeOptions = storeOptions;
    this.#formatLevel = formatLevel;
    this.#inlet = Inlet.withCursor<DurableType>(durable, (record) => this.#take(record));
  }

  /** Everything came. What the ring holds from now on is for the member's loop. */
  get isDone(): boolean {
    return this.#hardState !== undefined;
  }

  /** Looked at before the thread parks. */
  hasWork(): boolean {
    return this.#inlet.hasWork();
  }

  /** @returns whether anything came. @throws RingdError */
  turn(recordsMax = BATCH_RECORDS): boolean {
    assert(!this.isDone, "what follows a recovery is for the member's loop");
    return this.#inlet.drain(recordsMax) > 0;
  }

  /** Once, when all is there. */
  finish(): RecoveredMember {
    assert(this.#identity !== undefined, "a log says whose it is");
    assert(this.#hardState !== undefined, "a recovery is used once it is whole");
    return {
      ...this.#identity,
      snapshot: this.#snapshot ?? { index: 0, term: 0, conf: { voters: [], learners: [] } },
      head: this.#head,
      store: this.#store ?? new Store(this.#storeOptions),
      entries: this.#entries,
      hardState: this.#hardState,
    };
  }

  #take(record: RecordCursor<DurableType>): void {
    const { type } = record;
    switch (type) {
      case DurableType.snapshotHead:
        this.#beginSnapshot(record);
        break;
      case DurableType.snapshotBlock:
        this.#openDecoder().push(record.bytes(0));
        break;
      case DurableType.snapshotEnd:
        this.#store = this.#openDecoder().finish();
        this.#decoder = undefined;
        break;
      case DurableType.identity:
        assert(this.#decoder === undefined, "a snapshot is whole before the log follows");
        assert(this.#identity === undefined, "a log belongs to one member");
        this.#identity = { memberId: record.u64(0), clusterId: record.u64(8) };
        break;
      case DurableType.entry:
        this.#addEntry(record);
        break;
      case DurableType.recovered:
        this.#end(record);
        break;
      case DurableType.durable:
      case DurableType.blocked:
      case DurableType.unblocked:
      case DurableType.failed:
      case DurableType.snapshotFailed:
        assert(false, "a log is written once it has been read");
        break;
      default:
        unreachable(type);
    }
  }

  #beginSnapshot(record: RecordCursor): void {
    assert(this.#snapshot === undefined, "a member starts from one snapshot");
    assert(this.#identity === undefined, "a snapshot comes before the log");
    const { conf, ...head } = decodeSnapshotHead(
      record.bytes(SNAPSHOT_METADATA_AT),
      this.#formatLevel,
    );
    this.#head = head;
    this.#snapshot = { term: record.f64(0), index: record.f64(8), conf };
    assert(this.#snapshot.index > 0, "a snapshot holds an entry at least");
    this.#decoder = new SnapshotDecoder(this.#storeOptions);
  }

  #openDecoder(): SnapshotDecoder {
    assert(this.#decoder !== undefined, "blocks are of a snapshot");
    return this.#decoder;
  }

  #addEntry(record: RecordCursor): void {
    assert(this.#identity !== undefined, "whose log it is comes before its entries");
    const { index, term } = this.#last;
    const entry = this.#entryReader.read(record);
    assert(entry.index === index + 1, "entries follow the snapshot without a gap");
    assert(entry.term >= term, "terms do not fall from an entry to the next");
    this.#entries.push(entry);
  }

  #end(record: RecordCursor): void {
    assert(this.#identity !== undefined, "a log says whose it is before it ends");
    const hardState = readHardState(record);
    const { index, term } = this.#last;
    assert(hardState.commit <= index, "what is committed is in the log");
    assert(hardState.commit >= (this.#snapshot?.index ?? 0), "what a snapshot holds is committed");
    assert(hardState.term >= term, "a term is no older than the last entry's");
    this.#hardState = hardState;
    this.#inlet.endBatch();
  }

  get #last(): { readonly index: number; readonly term: number } {
    return this.#entries.at(-1) ?? this.#snapshot ?? { index: 0, term: 0 };
  }
}
