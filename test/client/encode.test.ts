import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeForm, encodeKey, encodePath, encodeQuery } from "#ringd/client/encode.js";

test("a key becomes an absolute path without empty or dotted parts", () => {
  assert.equal(encodeKey("foo"), "/foo");
  assert.equal(encodeKey("/foo/bar"), "/foo/bar");
  assert.equal(encodeKey(""), "/");
  assert.equal(encodeKey("/"), "/");
  assert.equal(encodeKey("//a//./b/../c"), "/a/c");
  assert.equal(encodeKey("/../../v2/members"), "/v2/members");
  assert.equal(encodeKey("/a/..."), "/a/...");
});

test("a trailing slash of a key stays, because permissions distinguish it", () => {
  assert.equal(encodeKey("/foo/"), "/foo/");
  assert.equal(encodeKey("/foo//"), "/foo/");
});

test("reserved characters of URLs are escaped in a key", () => {
  assert.equal(encodeKey("/a b?c#d%e"), "/a%20b%3Fc%23d%25e");
  assert.equal(encodeKey("/ü/日"), "/%C3%BC/%E6%97%A5");
  assert.equal(encodePath("/a+b&c=d:e@f$g,h;i"), "/a+b&c=d:e@f$g,h;i");
});

test("a query is sorted and omits undefined parameters", () => {
  assert.equal(encodeQuery({ b: 1, a: true, c: undefined, d: "x y&z" }), "a=true&b=1&d=x+y%26z");
  assert.equal(encodeQuery({ "x y&z": 1 }), "x+y%26z=1");
  assert.equal(encodeQuery({}), "");
});

test("every byte of a form value is decoded again", () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  const read = encodeForm(bytes).replaceAll("+", " ");
  assert.deepEqual(Buffer.from(unescape(read), "latin1"), Buffer.from(bytes));
  assert.equal(new URLSearchParams(`v=${encodeForm("a+b c=ü&~*")}`).get("v"), "a+b c=ü&~*");
});
