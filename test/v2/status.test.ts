import assert from "node:assert/strict";
import { test } from "node:test";
import { handleDebugVars, handleLogLevel, metricsResponse } from "#ringd/v2/local.js";
import { NOT_FOUND } from "#ringd/v2/plain.js";
import { ContentKind } from "#ringd/v2/response.js";
import { handleVersion, healthResponse, refuseHealthMethod } from "#ringd/v2/status.js";
import { requestOf } from "./request-of.js";

test("/version: etcd 3.4.23's bytes", () => {
  const get = requestOf("GET", "/version");
  const answer = handleVersion(get, "3.4.0");
  assert.equal(answer.body.toString(), '{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}');
  assert.equal(answer.head.contentKind, ContentKind.json);
  const early = handleVersion(get, "").body.toString();
  assert.equal(early, '{"etcdserver":"3.4.23","etcdcluster":"not_decided"}');
  const head = handleVersion(requestOf("HEAD", "/version"), "3.4.0").head;
  assert.deepEqual([head.status, head.allow], [405, "GET"]);
});

test("/health: text without a newline, and an error with one", () => {
  const good = healthResponse(true);
  assert.deepEqual([good.head.status, good.head.contentKind], [200, ContentKind.text]);
  assert.equal(good.body.toString(), '{"health":"true"}');
  const bad = healthResponse(false);
  assert.deepEqual([bad.head.status, bad.head.contentKind], [503, ContentKind.textError]);
  assert.equal(bad.body.toString(), '{"health":"false"}\n');
  assert.equal(refuseHealthMethod(requestOf("GET", "/health")), undefined);
  assert.equal(refuseHealthMethod(requestOf("PUT", "/health"))?.head.allow, "GET");
});

test("unknown paths are Go's 404", () => {
  assert.equal(NOT_FOUND.body.toString(), "404 page not found\n");
  assert.deepEqual(
    [NOT_FOUND.head.status, NOT_FOUND.head.contentKind],
    [404, ContentKind.textError],
  );
  assert.equal(metricsResponse("a 1\n").head.contentKind, ContentKind.metrics);
});

test("/config/local/log takes etcd's level names in any case", () => {
  const put = (body: string) => handleLogLevel(requestOf("PUT", "/config/local/log", body));
  const levels = [
    ["DEBUG", "debug"],
    ["warning", "warn"],
    ["NOTICE", "info"],
    ["w", "warn"],
    ["critical", "fatal"],
    ["0", "error"],
    ["T", "trace"],
  ];
  for (const [name, level] of levels) {
    const { answer, level: got } = put(`{"Level":"${name}"}`);
    assert.deepEqual([answer.head.status, got, answer.body.length], [204, level, 0], name);
  }
  assert.equal(put('{"level":"info"} xx').level, "info");
  const refused = [
    ['{"Level":"x<"}', "Invalid log level x\\u003c"],
    ['{"Level":"warn"}', "Invalid log level warn"],
    ['{"Level":null}', "Invalid log level "],
    ["null", "Invalid log level "],
    ['{"Level":1}', "Invalid json body"],
    ["[]", "Invalid json body"],
    ["{", "Invalid json body"],
    ["", "Invalid json body"],
    [`{"Level":"info"}${" ".repeat(65_536)}`, "Invalid json body"],
  ];
  for (const [body = "", message] of refused) {
    const { answer, level } = put(body);
    assert.equal(answer.body.toString(), `{"message":"${message}"}`, body.slice(0, 40));
    assert.deepEqual([answer.head.status, level], [400, undefined]);
  }
  const get = handleLogLevel(requestOf("GET", "/config/local/log")).answer.head;
  assert.deepEqual([get.status, get.allow], [405, "PUT"]);
});

test("/debug/vars is one JSON object with a variable a line", () => {
  const answer = handleDebugVars(requestOf("GET", "/debug/vars"), {
    commandLine: ["ringd", "--name=<a>"],
    fileDescriptorLimit: 1024,
    memory: {
      rssBytes: 5,
      heapTotalBytes: 4,
      heapUsedBytes: 3,
      externalBytes: 2,
      arrayBuffersBytes: 1,
    },
    raft: {
      id: "a",
      vote: "a",
      lead: "a",
      term: 2,
      commit: 7,
      applied: 6,
      raftState: "StateLeader",
      progress: new Map([["a", { match: 7, next: 8, state: "StateReplicate" }]]),
    },
  });
  assert.equal(answer.head.contentKind, ContentKind.jsonUtf8);
  assert.equal(
    answer.body.toString(),
    '{\n"cmdline": ["ringd","--name=\\u003ca\\u003e"],\n"file_descriptor_limit": 1024,\n' +
      '"memstats": {"Alloc":3,"Sys":5,"HeapAlloc":3,"HeapSys":4,"External":2,"ArrayBuffers":1},\n' +
      '"raft.status": {"id":"a","term":2,"vote":"a","commit":7,"lead":"a","raftState":"StateLeader","applied":6,"progress":{"a":{"match":7,"next":8,"state":"StateReplicate"}},"leadtransferee":"0"}\n}\n',
  );
});
