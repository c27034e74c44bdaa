import assert from "node:assert/strict";
import { STATUS_CODES } from "node:http";
import { test } from "node:test";
import { statusText } from "#ringd/frontend/head-text.js";
import { parseHead } from "#ringd/frontend/http-head.js";
import { V2_ERRORS } from "#ringd/v2/errors.js";

test("a megabyte of blanks inside a value is parsed as fast as one of letters", () => {
  const blanks = " ".repeat(1_000_000);
  const startMs = performance.now();
  const head = parseHead(`GET / HTTP/1.1\r\nHost: a\r\nOrigin: a${blanks}b\t \r\n\r\n`);
  assert.ok("origin" in head);
  assert.equal(head.origin, `a${blanks}b`);
  assert.ok(performance.now() - startMs < 2000, "quadratic time would be minutes");
});

test("every status that a frontend sends has a reason phrase", () => {
  const ofErrors = Object.values(V2_ERRORS).map(({ status }) => status);
  const others = [200, 201, 204, 301, 404, 405, 408, 409, 410, 415, 417, 431, 501, 503, 505];
  for (const status of [...ofErrors, ...others]) {
    assert.equal(statusText(status), `${status} ${STATUS_CODES[status]}`);
  }
});
