/**
 * One operation on the files of a directory: described first, then carried out by disk.ts or by a
 * simulated disk.
 */
export type DiskOp =
  /** A new empty file, to be read and written; a leftover of that name is emptied. */
  | { readonly op: "create"; readonly file: string }
  | {
      readonly op: "write";
      readonly file: string;
      readonly atBytes: number;
      /** Written one after the other in one call. */
      readonly chunks: readonly Uint8Array[];
    }
  /** Everything above for this file is durable before anything below is done. */
  | { readonly op: "datasync"; readonly file: string }
  | { readonly op: "rename"; readonly from: string; readonly to: string }
  | { readonly op: "unlink"; readonly file: string }
  | { readonly op: "close"; readonly file: string }
  | { readonly op: "syncDirectory" };
