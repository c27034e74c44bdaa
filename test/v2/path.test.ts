import assert from "node:assert/strict";
import { test } from "node:test";
import { routePath } from "#ringd/v2/path.js";
import type { ApiResponse } from "#ringd/v2/plain.js";
import { Method } from "#ringd/v2/request.js";
import { ContentKind, LOCATION_BYTES_MAX } from "#ringd/v2/response.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";

function pathOf(raw: string): string {
  const routed = routePath(raw, "", Method.get);
  assert.equal(routed.kind, "path", raw);
  return routed.kind === "path" ? routed.path : "";
}

function answerOf(raw: string, query = "", method: Method = Method.get): ApiResponse {
  const routed = routePath(raw, query, method);
  assert.equal(routed.kind, "answer", raw);
  return (routed as { answer: ApiResponse }).answer;
}

test("clean paths pass, percent escapes undone, a plus kept", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["/v2/keys", "/v2/keys"],
    ["/v2/keys/", "/v2/keys/"],
    ["/v2/keys/a/", "/v2/keys/a/"],
    ["/v2/keys/a+b", "/v2/keys/a+b"],
    ["/v2/keys/x%2Fy", "/v2/keys/x/y"],
    ["/v2/keys/a%20b%00", "/v2/keys/a b\x00"],
    ["/v2/keys/%c3%A9%ff", "/v2/keys/\xc3\xa9\xff"],
    ["/v2/keys/%25zz", "/v2/keys/%zz"],
    ["/v2/keys/...", "/v2/keys/..."],
    ["/v2/keys/a/.../b", "/v2/keys/a/.../b"],
    ["/v2/keys/.a/..b", "/v2/keys/.a/..b"],
  ];
  for (const [raw, path] of cases) assert.equal(pathOf(raw), path);
});

test("unclean paths are sent to the clean one", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["/v2/keys//a", "/v2/keys/a"],
    ["/v2/keys/./a", "/v2/keys/a"],
    ["/v2/keys/a/..", "/v2/keys"],
    ["/v2/keys/a/.", "/v2/keys/a"],
    ["/v2/keys/a//", "/v2/keys/a/"],
    ["/v2/keys/%2e%2e/foo", "/v2/foo"],
    ["/v2/keys/%2f%2f", "/v2/keys/"],
    ["/v2/keys/a%2f..%2fb", "/v2/keys/b"],
    ["/v2/keys/a/../../../../x", "/x"],
    ["/..", "/"],
    ["//", "/"],
    ["/v2//keys/%3f%23%25", "/v2/keys/%3F%23%25"],
    ["/v2//keys/a;b:c@d=e+f$g,h!i*j(k)'l", "/v2/keys/a;b:c@d=e+f$g,h%21i%2Aj%28k%29%27l"],
  ];
  for (const [raw, location] of cases) {
    const { head } = answerOf(raw);
    assert.equal(head.status, 301);
    assert.equal(head.location, location);
    assert.equal(head.hasClusterId, false);
  }
});

test("a redirect's body is for GET, its type for GET and HEAD", () => {
  const query = "x=\"<>'&";
  const get = answerOf("/v2//keys/a", query, Method.get);
  assert.equal(get.head.contentKind, ContentKind.html);
  assert.equal(
    get.body.toString(),
    '<a href="/v2/keys/a?x=&#34;&lt;&gt;&#39;&amp;">Moved Permanently</a>.\n\n',
  );
  const head = answerOf("/v2//keys/a", query, Method.head);
  assert.equal(head.head.contentKind, ContentKind.html);
  assert.equal(head.body.length, 0);
  const put = answerOf("/v2//keys/a", query, Method.put);
  assert.equal(put.head.contentKind, ContentKind.none);
  assert.equal(put.head.location, `/v2/keys/a?${query}`);
  assert.equal(put.body.length, 0);
});

test("raw bytes of a query are escaped in the header and untouched in the body", () => {
  const { head, body } = answerOf("/v2//keys/%ff", "a=\xc3\xa9");
  assert.equal(head.location, "/v2/keys/%FF?a=%c3%a9");
  assert.equal(
    body.toString("latin1"),
    '<a href="/v2/keys/%FF?a=\xc3\xa9">Moved Permanently</a>.\n\n',
  );
});

test("a malformed escape is rejected below the API", () => {
  for (const raw of ["/v2/keys/%", "/v2/keys/%1", "/v2/keys/%zz", "/%/../a"]) {
    const { head, body } = answerOf(raw);
    assert.equal(head.status, 400);
    assert.equal(head.contentKind, ContentKind.bare);
    assert.equal(body.toString(), "400 Bad Request");
  }
});

test("following a redirect ends at a path, whatever the bytes", () => {
  const prng = new Prng(SEED);
  const parts = ["/", "//", ".", "..", "%2e", "%2F", "a", "%ff", "%", "\xff", "?", "_", "%41"];
  for (let run = 0; run < 20_000; run++) {
    let raw = "/";
    for (let n = prng.below(8); n > 0; n--) raw += parts[prng.below(parts.length)];
    const first = routePath(raw, "", Method.get);
    if (first.kind === "path") {
      assert.doesNotMatch(first.path, /\/\/|\/\.\.?(\/|$)/, `${raw}, SEED=${SEED}`);
    } else if (first.answer.head.status === 301) {
      const again = routePath(first.answer.head.location, "", Method.get);
      assert.equal(again.kind, "path", `${raw}, SEED=${SEED}`);
    }
  }
});

test("a redirect to more than 64 KiB is rejected, and leads nowhere else", () => {
  const raw = (bytes: number) => `/v2/keys//${"a".repeat(bytes - 9)}`;
  const longest = answerOf(raw(LOCATION_BYTES_MAX));
  assert.equal(longest.head.status, 301);
  assert.equal(longest.head.location.length, LOCATION_BYTES_MAX);
  const encoded = `x=${"\xff".repeat(LOCATION_BYTES_MAX / 3)}`;
  for (const [path, query] of [
    [raw(LOCATION_BYTES_MAX + 1), ""],
    ["/v2/keys//", encoded],
  ] as const) {
    const { head } = answerOf(path, query);
    assert.deepEqual([head.status, head.location], [400, ""]);
  }
});
