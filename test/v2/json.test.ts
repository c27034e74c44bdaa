import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteWriter } from "#ringd/v2/byte-writer.js";
import { jsonString, rfc3339 } from "#ringd/v2/json.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";

function written(bytes: string): string {
  const writer = new ByteWriter();
  jsonString(writer, bytes);
  return writer.bytes.latin1Slice(0, writer.length);
}

test("strings are escaped as Go's encoding/json does", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["", ""],
    ["plain / 'text' \x7f", "plain / 'text' \x7f"],
    ['a"b\\c', 'a\\"b\\\\c'],
    ["<a>&", "\\u003ca\\u003e\\u0026"],
    ["\n\r\t", "\\n\\r\\t"],
    ["\x00\x08\x0b\x0c\x1f", "\\u0000\\u0008\\u000b\\u000c\\u001f"],
    ["\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"],
    ["\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", "\xe2\x80\xa7\\u2028\\u2029\xe2\x80\xaa"],
    ["\xff\xfe", "\\ufffd\\ufffd"],
    ["\xef\xbf\xbd", "\xef\xbf\xbd"],
    ["\xc3", "\\ufffd"],
    ["\xe2\x80", "\\ufffd\\ufffd"],
    ["\xe2\x80x", "\\ufffd\\ufffdx"],
    ["\xc0\x80", "\\ufffd\\ufffd"],
    ["\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd"],
    ["\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"],
    ["\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"],
    ["\xe0\x9f\xbf", "\\ufffd\\ufffd\\ufffd"],
    ["\xf0\x8f\xbf\xbf", "\\ufffd\\ufffd\\ufffd\\ufffd"],
  ];
  for (const [bytes, text] of cases) assert.equal(written(bytes), `"${text}"`);
});

test("any JavaScript text written reads back, also across pieces", () => {
  const prng = new Prng(SEED);
  const alphabet = ["a", "~", '"', "\\", "<", "\n", "\x00", "é", "€", "\u2028", "😀", "\ufffd"];
  for (let run = 0; run < 300; run++) {
    let text = "";
    for (let n = prng.below(6000); n > 0; n--) text += alphabet[prng.below(alphabet.length)];
    const json = Buffer.from(written(Buffer.from(text).toString("latin1")), "latin1");
    assert.equal(JSON.parse(json.toString()), text, `SEED=${SEED}`);
  }
});

test("any bytes make a JSON string with one replacement for each byte of invalid UTF-8", () => {
  const prng = new Prng(SEED);
  const lead = [0x41, 0x22, 0x80, 0xbf, 0xc2, 0xe0, 0xe2, 0xed, 0xf0, 0xf4, 0xff, 0xa8, 0x90, 0x9f];
  for (let run = 0; run < 20_000; run++) {
    const bytes = Buffer.from(
      Array.from({ length: prng.below(12) }, () => lead[prng.below(lead.length)] as number),
    );
    const parsed: string = JSON.parse(
      Buffer.from(written(bytes.latin1Slice(0, bytes.length)), "latin1").toString(),
    );
    assert.equal(parsed, decodeBytewise(bytes), `${bytes.toString("hex")}, SEED=${SEED}`);
  }
});

/**
 * Slow and plain: the shortest valid character at each place, else one replacement and one byte on.
 */
function decodeBytewise(bytes: Buffer): string {
  let text = "";
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  for (let at = 0; at < bytes.length; ) {
    let taken = 0;
    for (let length = 1; length <= 4 && taken === 0 && at + length <= bytes.length; length++) {
      try {
        text += decoder.decode(bytes.subarray(at, at + length));
        taken = length;
      } catch (error) {
        assert.ok(error instanceof TypeError);
      }
    }
    if (taken === 0) text += "\ufffd";
    at += Math.max(taken, 1);
  }
  return text;
}

test("a writer grows and keeps its content", () => {
  const writer = new ByteWriter();
  writer.latin1("head");
  jsonString(writer, "<".repeat(100_000));
  assert.equal(writer.length, 4 + 2 + 6 * 100_000);
  assert.equal(writer.bytes.latin1Slice(0, 11), 'head"\\u003c');
  writer.latin1("x".repeat(4_000_000));
  writer.clear();
  assert.equal(writer.length, 0);
  assert.ok(writer.bytes.length < 1_000_000, "one large answer does not hold its memory for ever");
});

test("times have as many fraction digits as they need", () => {
  assert.equal(rfc3339(0), "1970-01-01T00:00:00Z");
  assert.equal(rfc3339(1_795_242_600_100), "2026-11-21T06:30:00.1Z");
  assert.equal(rfc3339(1_795_242_600_120), "2026-11-21T06:30:00.12Z");
  assert.equal(rfc3339(1_795_242_600_007), "2026-11-21T06:30:00.007Z");
  assert.equal(rfc3339(951_782_400_000), "2000-02-29T00:00:00Z");
});

test("times agree with Date's for three centuries", () => {
  const prng = new Prng(SEED);
  for (let run = 0; run < 50_000; run++) {
    const unixMs = prng.uint32() * 2200 + prng.below(1000);
    const expected = new Date(unixMs)
      .toISOString()
      .replace(/(\.\d*?)0+Z$/, "$1Z")
      .replace(".Z", "Z");
    assert.equal(rfc3339(unixMs), expected, `SEED=${SEED}`);
  }
});
