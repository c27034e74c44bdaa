import { EntryType } from "../raft/entry.js";
import { checkFormats } from "./envelope.js";
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
    const normal = entries.filter(({ type }) => type === EntryType.normal);
    checkFormats(
      normal.map(({ data }) => data),
      this.#newest,
    );
  }
}
