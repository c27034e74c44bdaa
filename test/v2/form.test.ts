import assert from "node:assert/strict";
import { test } from "node:test";
import { parseForm } from "#ringd/v2/form.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";

/** Keeps fields of any name. */
const ALL = { has: () => true } as unknown as ReadonlySet<string>;

function formOf(query: string, body?: string): Record<string, string> {
  const parsed = parseForm(
    query,
    body === undefined ? undefined : Buffer.from(body, "latin1"),
    ALL,
  );
  assert.equal(parsed.kind, "form", `${query} | ${body}`);
  return parsed.kind === "form" ? Object.fromEntries(parsed.form) : {};
}

function causeOf(query: string, body?: string): string {
  const parsed = parseForm(
    query,
    body === undefined ? undefined : Buffer.from(body, "latin1"),
    ALL,
  );
  return parsed.kind === "invalid" ? parsed.cause : "";
}

test("a query and a body are parsed into the same pairs", () => {
  const cases: readonly (readonly [string, Record<string, string>])[] = [
    ["", {}],
    ["value", { value: "" }],
    ["value=", { value: "" }],
    ["value=1=2", { value: "1=2" }],
    ["&&&value=3&", { value: "3" }],
    ["=x&value=1", { "": "x", value: "1" }],
    ["value=1&value=2", { value: "1" }],
    ["va%6cue=a+b%20c%2B", { value: "a b c+" }],
    ["value=%00%ff\xfe", { value: "\x00\xff\xfe" }],
    ["a&b=&c=1", { a: "", b: "", c: "1" }],
  ];
  for (const [text, form] of cases) {
    assert.deepEqual(formOf(text), form, text);
    assert.deepEqual(formOf("", text), form, text);
  }
});

test("the body's value wins, the query's other names stay", () => {
  assert.deepEqual(formOf("value=q&ttl=1", "value=b"), { value: "b", ttl: "1" });
  assert.deepEqual(formOf("value=q", "value="), { value: "" });
});

test("bad escapes are quoted, at most three bytes of them, as Go quotes bytes", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["value=%zz", '"%zz"'],
    ["value=%", '"%"'],
    ["value=%1", '"%1"'],
    ["value=%%%%", '"%%%"'],
    ["%zz=1", '"%zz"'],
    ['value=%"\\', '"%\\"\\\\"'],
    ["value=a%\xc3\xa9", '"%\xc3\xa9"'],
    ["value=%\xff\xfe", '"%\\xff\\xfe"'],
    ["value=%\xe2\x82\xac", '"%\\xe2\\x82"'],
    ["value=%\n\t", '"%\\n\\t"'],
  ];
  for (const [text, shown] of cases) {
    assert.equal(causeOf(text), `invalid URL escape ${shown}`);
    assert.equal(causeOf("", text), `invalid URL escape ${shown}`);
  }
});

test("of several errors the first escape, but the semicolon over it, and the body's first", () => {
  const semicolon = "invalid semicolon separator in query";
  assert.equal(causeOf("a;b"), semicolon);
  assert.equal(causeOf("a;b&%zz"), semicolon);
  assert.equal(causeOf("%zz&a;b"), semicolon);
  assert.equal(causeOf("a=%yy&b=%zz"), 'invalid URL escape "%yy"');
  assert.equal(causeOf("%zz", "a;b"), semicolon);
  assert.equal(causeOf("a;b", "%zz"), 'invalid URL escape "%zz"');
  assert.equal(causeOf("a=%3b"), "");
});

test("a value is not a slice of its request", () => {
  const body = Buffer.from(`value=${"x".repeat(64)}`);
  const parsed = parseForm("", body, ALL);
  body.fill(0);
  assert.equal(parsed.kind === "form" && parsed.form.get("value"), "x".repeat(64));
});

test("a body of ten million bytes without a value takes time with its size, not its square", () => {
  const body = Buffer.alloc(10 * 1024 * 1024, "a&");
  const start = process.cpuUsage();
  const parsed = parseForm("", body, ALL);
  const { user } = process.cpuUsage(start);
  assert.deepEqual(parsed.kind === "form" && [...parsed.form], [["a", ""]]);
  assert.ok(user < 30e6, `${user} microseconds; the square takes several minutes`);
});

test("queries and bodies of any bytes are parsed alike", () => {
  const prng = new Prng(SEED);
  const bytes = "&&==%%;+az09AF\xff\xc3\xa9\x00\n";
  for (let run = 0; run < 50_000; run++) {
    let text = "";
    for (let n = prng.below(16); n > 0; n--) text += bytes[prng.below(bytes.length)];
    const asQuery = parseForm(text, undefined, ALL);
    const asBody = parseForm("", Buffer.from(text, "latin1"), ALL);
    assert.deepEqual(asQuery, asBody, `${JSON.stringify(text)}, SEED=${SEED}`);
  }
});

test("fields of other names are checked and not kept", () => {
  const names = new Set(["value"]);
  const body = Buffer.from("a=1&value=2&value=3&%61=4&__proto__=5&constructor=6");
  const parsed = parseForm("value=7&b=8", body, names);
  assert.ok(parsed.kind === "form");
  assert.deepEqual([...parsed.form], [["value", "2"]]);
  assert.equal(parseForm("", Buffer.from("a=%zz"), names).kind, "invalid");
});
