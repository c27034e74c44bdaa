import { EntryType } from "../raft/entry.js";
import { checkEntryFormat } from "./envelope.js";
import { decodeSnapshotHead } from "./snapshot-head.js";

/** Rejects data at start that only a newer ringd reads. */
export class FormatCheck {
  readonly #newest: number;

  /** @param newest newest format level that this build reads */
  constructor(newest: number) {
    this.#newest = newest;
  }

  /** @param metadata of the snapshot. @throws NewerFormatError */
  snapshot(metadata: Uint8Array): void {
    decodeSnapshotHead(Buffer.from(metadata), this.#newest);
  }

  /** @throws NewerFormatError */
  entries(entries: readonly { readonly type: number; readonly data: Uint8Array }[]): void {
    for (const { type, data } of entries) {
      if (type === EntryType.normal) checkEntryFormat(data, this.#newest);
    }
  }
}
