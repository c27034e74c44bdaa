import assert from "node:assert/strict";
import { test } from "node:test";
import { parseMediaType } from "#ringd/go/media-type.js";

const FORM = "application/x-www-form-urlencoded";

test("types are found whatever their case, blanks and parameters", () => {
  const headers = [
    FORM,
    FORM.toUpperCase(),
    ` ${FORM}\t`,
    `${FORM}; charset=utf-8`,
    `${FORM};`,
    `${FORM};a=b;`,
    `${FORM} ; a = b`,
    `${FORM}; a=b ;c=d`,
    `${FORM}; a="q;x"`,
    `${FORM}; a="x\\"y"; b=""`,
    `${FORM}; a="\xff"`,
    `${FORM}; a*=1; a=2`,
  ];
  for (const header of headers) assert.deepEqual(parseMediaType(header), { type: FORM, error: "" });
  assert.equal(parseMediaType("garbage").type, "garbage");
  assert.equal(parseMediaType(`${FORM}x`).type, `${FORM}x`);
});

test("malformed types, as in etcd 3.4.23's responses", () => {
  const cases: readonly (readonly [string, string])[] = [
    [" ", "no media type"],
    ["/", "no media type"],
    ["; a=b", "no media type"],
    ["\xa0text/plain", "no media type"],
    ["text /plain", "expected slash after first token"],
    ["a/", "expected token after slash"],
    ["text/plain x", "unexpected content after media subtype"],
    [`${FORM}/x`, "unexpected content after media subtype"],
    [`${FORM},x`, "unexpected content after media subtype"],
    ["text/plain; a=b; a=c", "duplicate parameter name"],
    [`${FORM}; a=b; A=b`, "duplicate parameter name"],
  ];
  for (const [header, error] of cases) {
    assert.deepEqual(parseMediaType(header), { type: "", error: `mime: ${error}` }, header);
  }
});

test("malformed parameters leave the type known", () => {
  const parameters = [
    "a",
    "=b",
    "a=",
    "a=b c",
    '"',
    'a="b',
    'a="b\\',
    ";",
    " ;",
    "\xff=1",
    "a=\xff",
  ];
  for (const parameter of parameters) {
    assert.deepEqual(
      parseMediaType(`${FORM};${parameter}`),
      { type: FORM, error: "mime: invalid media parameter" },
      parameter,
    );
  }
});
