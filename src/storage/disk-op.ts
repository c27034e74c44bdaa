/**
 * One operation on the files of a directory: a description, executed by disk.ts or by a simulated
 * disk.
 */
export type DiskOp =
  /** A new empty file, opened for reading and writing; a leftover of that name is truncated. */
  | { readonly op: "create"; readonly file: string }
  | {
      readonly op: "write";
      readonly file: string;
      readonly atBytes: number;
      /** Written in order, in one call. */
      readonly chunks: readonly Uint8Array[];
    }
  /** Everything above for this file is durable before anything below is executed. */
  | { readonly op: "datasync"; readonly file: string }
  | { readonly op: "rename"; readonly from: string; readonly to: string }
  | { readonly op: "unlink"; readonly file: string }
  | { readonly op: "close"; readonly file: string }
  | { readonly op: "syncDirectory" };
