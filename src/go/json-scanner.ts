import { goQuote } from "./text.js";

/** Deeper nesting is rejected, as by encoding/json; also bounds our own stack. */
const DEPTH_MAX = 10_000;

/**
 * Where the first JSON value of `bytes` ends, or why there is none, with the error texts of Go's
 * encoding/json. A `prefix` scan (Go's Decoder) ignores bytes after the value; a whole scan (Go's
 * Unmarshal) allows only white space there.
 */
export type JsonScan =
  | { readonly kind: "valid"; readonly end: number }
  | { readonly kind: "invalid"; readonly message: string };

/** Never throws, for any bytes. One pass, no recursion. */
export function scanJson(bytes: Uint8Array, extent: "whole" | "prefix"): JsonScan {
  return new Scanner(bytes).scan(extent);
}

/** Parses a value that `scanJson` found valid. Invalid UTF-8 becomes U+FFFD. */
export function parseScanned(bytes: Buffer, scan: { readonly end: number }): unknown {
  return JSON.parse(bytes.toString("utf8", 0, scan.end));
}

const END = -1;
const SPACE = 0x20;
const OBJECT = 0;
const ARRAY = 1;

class Scanner {
  readonly #bytes: Uint8Array;
  #at = 0;
  #message = "";

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  scan(extent: "whole" | "prefix"): JsonScan {
    if (!this.#value()) return { kind: "invalid", message: this.#message };
    const end = this.#at;
    if (extent === "whole" && this.#skipSpace() !== END) {
      this.#refuse("after top-level value");
      return { kind: "invalid", message: this.#message };
    }
    return { kind: "valid", end };
  }

  /** Scans one value with its children. The stack holds the kind of each open bracket. */
  #value(): boolean {
    const open: number[] = [];
    for (;;) {
      // A value must begin here.
      const char = this.#skipSpace();
      let isDone = true;
      if (char === 0x7b || char === 0x5b) {
        if (open.length === DEPTH_MAX) return this.#refuse("exceeded max depth");
        this.#at++;
        const closer = char === 0x7b ? 0x7d : 0x5d;
        if (this.#skipSpace() === closer) {
          this.#at++;
        } else {
          open.push(char === 0x7b ? OBJECT : ARRAY);
          isDone = false;
          if (char === 0x7b && !this.#key()) return false;
        }
      } else if (!this.#scalar(char)) {
        return false;
      }
      // After a value: close brackets until another value must follow or none is open.
      while (isDone) {
        const kind = open.at(-1);
        if (kind === undefined) return true;
        const next = this.#skipSpace();
        if (next === 0x2c) {
          this.#at++;
          if (kind === OBJECT && !this.#key()) return false;
          isDone = false;
        } else if (next === (kind === OBJECT ? 0x7d : 0x5d)) {
          this.#at++;
          open.pop();
        } else {
          return this.#refuse(
            kind === OBJECT ? "after object key:value pair" : "after array element",
          );
        }
      }
    }
  }

  #key(): boolean {
    if (this.#skipSpace() !== 0x22)
      return this.#refuse("looking for beginning of object key string");
    if (!this.#string()) return false;
    if (this.#skipSpace() !== 0x3a) return this.#refuse("after object key");
    this.#at++;
    return true;
  }

  #scalar(char: number): boolean {
    switch (char) {
      case 0x22:
        return this.#string();
      case 0x74:
        return this.#literal("true");
      case 0x66:
        return this.#literal("false");
      case 0x6e:
        return this.#literal("null");
    }
    if (char === 0x2d || isDigit(char)) return this.#number();
    return this.#refuse("looking for beginning of value");
  }

  #literal(word: string): boolean {
    for (let i = 0; i < word.length; i++) {
      if (this.#peek() !== word.charCodeAt(i)) {
        return this.#refuseInside(`in literal ${word} (expecting '${word.charAt(i)}')`);
      }
      this.#at++;
    }
    return true;
  }

  #string(): boolean {
    this.#at++;
    for (;;) {
      const char = this.#peek();
      if (char === END) return this.#fail("unexpected end of JSON input");
      if (char < 0x20) return this.#refuse("in string literal");
      this.#at++;
      if (char === 0x22) return true;
      if (char === 0x5c && !this.#escape()) return false;
    }
  }

  #escape(): boolean {
    const char = this.#peek();
    if (char === 0x75) {
      this.#at++;
      for (let i = 0; i < 4; i++) {
        if (!isHexDigit(this.#peek())) {
          return this.#refuseInside("in \\u hexadecimal character escape");
        }
        this.#at++;
      }
      return true;
    }
    if (char === END || !'"\\/bfnrt'.includes(String.fromCharCode(char))) {
      return this.#refuseInside("in string escape code");
    }
    this.#at++;
    return true;
  }

  #number(): boolean {
    if (this.#peek() === 0x2d) this.#at++;
    if (this.#peek() === 0x30) this.#at++;
    else if (!this.#digits()) return this.#refuseInside("in numeric literal");
    if (this.#peek() === 0x2e) {
      this.#at++;
      if (!this.#digits()) return this.#refuseInside("after decimal point in numeric literal");
    }
    if (this.#peek() === 0x65 || this.#peek() === 0x45) {
      this.#at++;
      if (this.#peek() === 0x2b || this.#peek() === 0x2d) this.#at++;
      if (!this.#digits()) return this.#refuseInside("in exponent of numeric literal");
    }
    return true;
  }

  /** At least one digit. */
  #digits(): boolean {
    const from = this.#at;
    while (isDigit(this.#peek())) this.#at++;
    return this.#at > from;
  }

  #skipSpace(): number {
    for (;;) {
      const char = this.#peek();
      if (char !== SPACE && char !== 0x09 && char !== 0x0a && char !== 0x0d) return char;
      this.#at++;
    }
  }

  #peek(): number {
    return this.#bytes[this.#at] ?? END;
  }

  /** Fails at the current character, or at the end of the input. */
  #refuse(where: string): boolean {
    const char = this.#peek();
    if (char === END) return this.#fail("unexpected end of JSON input");
    return this.#fail(`invalid character ${quoteChar(char)} ${where}`);
  }

  /** Like `#refuse`, but inside a token Go reports the end of the input as a blank. */
  #refuseInside(where: string): boolean {
    const char = this.#peek();
    return this.#fail(`invalid character ${quoteChar(char === END ? SPACE : char)} ${where}`);
  }

  #fail(message: string): boolean {
    this.#message = message;
    return false;
  }
}

function isDigit(char: number): boolean {
  return char >= 0x30 && char <= 0x39;
}

function isHexDigit(char: number): boolean {
  return isDigit(char) || (char >= 0x41 && char <= 0x46) || (char >= 0x61 && char <= 0x66);
}

/** A byte in single quotes. Go reads it as a code point, so 0xe9 shows as é. */
function quoteChar(char: number): string {
  if (char === 0x27) return "'\\''";
  if (char === 0x22) return "'\"'";
  return `'${goQuote(String.fromCharCode(char)).slice(1, -1)}'`;
}
