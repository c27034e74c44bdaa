/**
 * Buffer's direct latin1 methods, documented only as the targets of `toString` and `write`, but
 * what those end in after parsing their arguments: on records of a few hundred bytes that parsing
 * costs more than the copy.
 */
declare global {
  interface Buffer {
    /** Bytes `start` .. `end` - 1 as a string of one character per byte. */
    latin1Slice(start: number, end: number): string;
    /** Writes one byte per character at `offset`; returns how many. */
    latin1Write(text: string, offset: number): number;
    /** Writes UTF-8 at `offset`; returns how many bytes. */
    utf8Write(text: string, offset: number): number;
  }
}

export {};
