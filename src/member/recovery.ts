import { decodeSnapshotHead, NO_HEAD } from "../cluster/snapshot-head.js";
import { assert, unreachable } from "../lib/assert.js";
import { DurableType, EntryReader, readHardState, SNAPSHOT_METADATA_AT } from "../messages/log.js";
import type { Entry, HardState, SnapshotMeta } from "../raft/entry.js";
import type { Position } from "../raft/log.js";
import { PackedEntries } from "../raft/packed-entries.js";
import { Inlet } from "../ring/fragments.js";
import type { RecordCursor } from "../ring/record-cursor.js";
import type { RingReader } from "../ring/ring.js";
import { SnapshotDecoder } from "../store/snapshot.js";
import { Store, type StoreOptions } from "../store/store.js";
import type { RecoveredMember } from "./raft-start.js";

const BATCH_RECORDS = 1024;

/**
 * The core's half of recovery: reads the wal thread's replay from the ring and builds the member's
 * initial state. Keeps no views into the ring.
 *
 * Invariants, by the order of `DurableType`:
 *   1. At most one snapshot, complete, comes first; then one identity; then the entries.
 *   2. The entries follow the snapshot, without a gap, and their terms never decrease.
 *   3. The commit index is from the snapshot's to the last entry's, and the term at least the last
 *      entry's.
 */
export class RecoveryReader {
  readonly #inlet: Inlet;
  readonly #storeOptions: StoreOptions;
  readonly #formatLevel: number;
  readonly #entryReader = new EntryReader();
  readonly #packEntries: number;
  /**
   * All but the last few entries: as one object each, a long log is most of what the garbage
   * collector copies during a start.
   */
  #packed: PackedEntries | undefined;
  #entries: Entry[] = [];
  /** Of the last entry, or the snapshot. */
  #last: Position = { index: 0, term: 0 };
  #identity: { readonly memberId: bigint; readonly clusterId: bigint } | undefined;
  #snapshot: SnapshotMeta | undefined;
  #head = NO_HEAD;
  /** Set until the snapshot's last block. */
  #decoder: SnapshotDecoder | undefined;
  #store: Store | undefined;
  #hardState: HardState | undefined;

  /**
   * @param formatLevel newest format level that this build reads
   * @param packEntries of raft's limits
   */
  constructor(
    durable: RingReader,
    storeOptions: StoreOptions,
    formatLevel: number,
    packEntries: number,
  ) {
    this.#storeOptions = storeOptions;
    this.#formatLevel = formatLevel;
    this.#packEntries = packEntries;
    this.#inlet = Inlet.withCursor<DurableType>(durable, (record) => this.#take(record));
  }

  /** Recovery is complete. Later records of the ring are for the member's loop. */
  get isDone(): boolean {
    return this.#hardState !== undefined;
  }

  /** Checked before the thread parks. */
  hasWork(): boolean {
    return this.#inlet.hasWork();
  }

  /**
   * @returns whether any record was read
   * @throws RingdError
   */
  turn(recordsMax = BATCH_RECORDS): boolean {
    assert(!this.isDone, "records after recovery are for the member's loop");
    return this.#inlet.drain(recordsMax) > 0;
  }

  /** Call once, when `isDone`. */
  finish(): RecoveredMember {
    assert(this.#identity !== undefined, "the log names its member and cluster");
    assert(this.#hardState !== undefined && this.#packed !== undefined, "recovery is complete");
    return {
      ...this.#identity,
      snapshot: this.#snapshot ?? { index: 0, term: 0, conf: { voters: [], learners: [] } },
      head: this.#head,
      store: this.#store ?? new Store(this.#storeOptions),
      packed: this.#packed,
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
        assert(this.#decoder === undefined, "a snapshot is complete before the log begins");
        assert(this.#identity === undefined, "a log belongs to one member");
        this.#identity = { memberId: record.u64(0), clusterId: record.u64(8) };
        this.#packed = new PackedEntries(this.#last.index + 1, this.#packEntries);
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
        assert(false, "the log is written only after recovery");
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
    assert(this.#snapshot.index > 0, "a snapshot covers at least one entry");
    this.#last = this.#snapshot;
    this.#decoder = new SnapshotDecoder(this.#storeOptions);
  }

  #openDecoder(): SnapshotDecoder {
    assert(this.#decoder !== undefined, "snapshot blocks come after a snapshot head");
    return this.#decoder;
  }

  #addEntry(record: RecordCursor): void {
    assert(this.#packed !== undefined, "the identity comes before the entries");
    const { index, term } = this.#last;
    const entry = this.#entryReader.read(record);
    assert(entry.index === index + 1, "entries follow the snapshot without a gap");
    assert(entry.term >= term, "terms never decrease along the log");
    this.#last = entry;
    this.#entries.push(entry);
    if (this.#entries.length < this.#packEntries) return;
    this.#packed.push(this.#entries);
    this.#entries = [];
  }

  #end(record: RecordCursor): void {
    assert(this.#packed !== undefined, "the identity comes before the end of recovery");
    const hardState = readHardState(record);
    const { index, term } = this.#last;
    assert(hardState.commit <= index, "the commit index is in the log");
    assert(
      hardState.commit >= (this.#snapshot?.index ?? 0),
      "the commit index covers the snapshot",
    );
    assert(hardState.term >= term, "the hard state's term is at least the last entry's");
    this.#hardState = hardState;
    // A later leader may replace entries that are not committed.
    while (this.#packed.end - 1 > hardState.commit) {
      this.#entries.unshift(...this.#packed.unpackLast());
    }
    this.#inlet.endBatch();
  }
}
