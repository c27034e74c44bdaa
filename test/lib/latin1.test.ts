import assert from "node:assert/strict";
import { test } from "node:test";
import { LOOP_CHARACTERS_MAX, writeLatin1, writeUtf8 } from "#ringd/lib/latin1.js";

const LENGTHS = [0, 1, LOOP_CHARACTERS_MAX - 1, LOOP_CHARACTERS_MAX, LOOP_CHARACTERS_MAX + 1, 300];

test("texts of any length and character are written as Node.js writes them", () => {
  for (const length of LENGTHS) {
    for (const character of ["a", "\x7f", "\x80", "\xff", "\ufffd", "\u{1f600}", "\ud800"]) {
      for (const text of [character.repeat(length), `${"a".repeat(length)}${character}`]) {
        const into = Buffer.alloc(2000);
        assert.equal(writeUtf8(into, text, 7), Buffer.byteLength(text));
        assert.equal(into.toString("latin1", 7, 7 + Buffer.byteLength(text)), utf8(text));
        if (/[^\0-\xff]/.test(text)) continue;
        assert.equal(writeLatin1(into, text, 7), text.length);
        assert.equal(into.toString("latin1", 7, 7 + text.length), text);
      }
    }
  }
});

function utf8(text: string): string {
  return Buffer.from(text).toString("latin1");
}
