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

/**
 * Texts up to this length are copied by a JavaScript loop: a native call costs as much as 50
 * characters.
 */
export const LOOP_CHARACTERS_MAX = 48;

/** Writes one byte per character; the caller has made sure of the room. @returns bytes written */
export function writeLatin1(into: Buffer, text: string, at: number): number {
  const { length } = text;
  if (length > LOOP_CHARACTERS_MAX) return into.latin1Write(text, at);
  for (let i = 0; i < length; i++) into[at + i] = text.charCodeAt(i);
  return length;
}

/** Writes UTF-8; the caller has made sure of the room. @returns bytes written */
export function writeUtf8(into: Buffer, text: string, at: number): number {
  const { length } = text;
  if (length > LOOP_CHARACTERS_MAX) return into.utf8Write(text, at);
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code > ASCII_MAX) return into.utf8Write(text, at);
    into[at + i] = code;
  }
  return length;
}

const ASCII_MAX = 0x7f;
