import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ClusterFile } from "#ringd/proxy/cluster-file.js";
import { Endpoints } from "#ringd/proxy/endpoints.js";
import { endToEnd } from "#ringd/proxy/headers.js";
import { MemberWatch } from "#ringd/proxy/members.js";
import { isRepeatable } from "#ringd/proxy/repeatable.js";

const URLS = ["http://a:1", "http://b:1", "http://c:1"];

function logOf() {
  const lines: string[] = [];
  const take = (details: unknown, message?: string) => {
    lines.push(message ?? String(details));
  };
  return { lines, log: { info: take, warn: take } };
}

test("an endpoint that failed is left alone for its time, also across a refresh", () => {
  let nowMs = 1000;
  const { lines, log } = logOf();
  const endpoints = new Endpoints(5000, log, () => nowMs);
  endpoints.replace([]);
  assert.deepEqual(lines, []);
  endpoints.replace(URLS);
  assert.match(lines[0] ?? "", /^httpproxy: endpoints found \["http:\/\/.:1" "http/);
  const [first, second] = endpoints.available();
  assert.ok(first !== undefined && second !== undefined);
  endpoints.failed(first, "gone");
  nowMs += 3000;
  endpoints.failed(first, "gone again"); // Its time does not begin anew.
  endpoints.replace([...URLS, "http://d:1"]);
  assert.deepEqual(
    endpoints
      .available()
      .map(({ url }) => url)
      .sort(),
    [...URLS, "http://d:1"].filter((url) => url !== first.url),
  );
  nowMs += 2000;
  assert.equal(endpoints.available().length, 4);
  assert.equal(lines.filter((line) => line === "marked endpoint unavailable").length, 1);
});

test("the cluster file: as etcd's, private, replaced as a whole; a damaged one is named", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = new ClusterFile(dir);
  assert.equal(file.read(), undefined);
  file.write(URLS);
  assert.equal(readFileSync(file.path, "utf8"), JSON.stringify({ PeerURLs: URLS }));
  assert.equal(statSync(file.path).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(dir), ["cluster"]);
  assert.deepEqual(file.read(), URLS);
  for (const text of ["", "{", "[]", '{"PeerURLs":[]}', '{"PeerURLs":[1]}', "null"]) {
    writeFileSync(file.path, text);
    assert.throws(() => file.read(), { name: "ProxyStartError", message: new RegExp(file.path) });
  }
});

test("members: the first that answers counts; without any the endpoints stay", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const file = new ClusterFile(dir);
  const { lines, log } = logOf();
  const endpoints = new Endpoints(5000, log);
  const answers = new Map<string, string>();
  const get = async (url: string) => {
    const body = answers.get(url);
    if (body === undefined) throw new Error("connect ECONNREFUSED");
    return { body, clusterId: "cdf8" };
  };
  const member = (id: number, peer: string, client: string) => ({
    ...{ id, name: `n${id}`, peerURLs: [peer], clientURLs: client === "" ? [] : [client] },
  });
  const watch = new MemberWatch(["http://p1:1", "http://p2:1"], get, endpoints, file, log);
  assert.equal(await watch.refresh(), false);
  assert.equal(file.read(), undefined);
  // Its members have not published themselves yet: there will be more in a second.
  answers.set("http://p1:1", JSON.stringify([member(1, "http://p1:1", "")]));
  assert.equal(await watch.refresh(), false);
  assert.equal(file.read(), undefined);
  answers.set("http://p1:1", "[]");
  const both = [member(1, "http://p3:1", "http://c3:1"), member(2, "http://p2:1", "")];
  answers.set("http://p2:1", JSON.stringify(both));
  assert.equal(await watch.refresh(), true);
  assert.deepEqual(
    endpoints.available().map(({ url }) => url),
    ["http://c3:1"],
  );
  assert.deepEqual(file.read(), ["http://p2:1", "http://p3:1"]);
  assert.ok(lines.includes("proxy updated peer URLs"));
  answers.clear();
  assert.equal(await watch.refresh(), false);
  assert.equal(endpoints.available().length, 1);
});

test("headers of one connection do not pass, nor those that Connection names", () => {
  const raw = ["Host", "h", "Connection", "close, X-Secret", "x-secret", "1", "TE", "trailers"];
  const more = ["Authorization", "Basic x", "X-A", "1", "x-a", "2", "Content-Length", "3"];
  assert.deepEqual(endToEnd([...raw, ...more], new Set(["content-length"])), [
    ...["Host", "h", "Authorization", "Basic x", "X-A", "1", "x-a", "2"],
  ]);
});

test("what may be sent to a second member after the first may have carried it out", () => {
  const says = (method: string, target: string, body?: string) =>
    isRepeatable(method, target, body === undefined ? undefined : Buffer.from(body));
  assert.ok(says("GET", "/v2/keys/a?wait=true"));
  assert.ok(says("PUT", "/v2/keys/a?ttl=5", "value=prev&ttl=3"));
  assert.ok(says("PUT", "/v2/keys/a", "value=a%20b"));
  for (const query of ["prevExist=false", "a=1&prevIndex=3", "dir=true", "pre%76Value=x"]) {
    assert.ok(!says("PUT", `/v2/keys/a?${query}`, "value=x"), query);
    assert.ok(!says("PUT", "/v2/keys/a", query), query);
  }
  assert.ok(says("PUT", "/v2/keys?ttl=5", "value=x"));
  for (const path of ["auth/enable", "auth/users/u", "members/1", "keysets"]) {
    assert.ok(!says("PUT", `/v2/${path}`, '{"grant":["r"]}'), path);
  }
  assert.ok(!says("POST", "/v2/keys/a", "value=x"));
  assert.ok(!says("DELETE", "/v2/keys/a"));
});
