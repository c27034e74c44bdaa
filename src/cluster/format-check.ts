import { EntryType } from "../raft/entry.js";
import { checkFormats } from "./envelope.js";
import { decodeSnapshotHead } from "./snapshot-head.js";

/** Rejects, at a start, what only a newer ringd reads. */
export class FormatCheck {
  readonly #newest: number;

  /** @param newest format level that may be read */
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
