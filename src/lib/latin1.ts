/**
 * Buffer's undocumented methods that `toString` and `write` call after parsing their arguments. On
 * records of a few hundred bytes that parsing costs more than the copy.
 */
declare global {
  interface Buffer {
    /** Bytes `start` .. `end` - 1 as a latin1 string. */
    latin1Slice(start: number, end: number): string;
    /** Writes one byte per character at `offset`. @returns bytes written */
    latin1Write(text: string, offset: number): number;
    /** Writes UTF-8 at `offset`. @returns bytes written */
    utf8Write(text: string, offset: number): number;
  }
}

export {};
