import assert from "node:assert/strict";
import { test } from "node:test";
import { confChangeCommands } from "#ringd/cluster/commands.js";
import type { MemberChange } from "#ringd/cluster/member-change.js";
import { Membership } from "#ringd/cluster/membership.js";
import {
  confChangeResponse,
  decodePeerUrls,
  handleMachines,
  handleMembers,
  type MembersInputs,
  refuseConfChange,
  writesMembers,
} from "#ringd/v2/members.js";
import type { ApiResponse } from "#ringd/v2/plain.js";
import type { ApiRequest } from "#ringd/v2/request.js";
import { ContentKind } from "#ringd/v2/response.js";
import { eventOf, MEMBER_ID, oneMember, PEER_URL, sha1 } from "../cluster/one-member.js";
import { Prng } from "../support/prng.js";
import { requestOf } from "./request-of.js";

const alone = { activeMembers: 1, isConnected: (id: bigint) => id === MEMBER_ID };
const INPUTS: MembersInputs = {
  membership: oneMember(),
  leaderId: MEMBER_ID,
  unixSeconds: 1_795_237_970,
  sha1,
  connectivity: alone,
};

/** The response, at once or once the read index is known. */
function ask(request: ApiRequest, inputs: Partial<MembersInputs> = {}): ApiResponse {
  const outcome = handleMembers(request, { ...INPUTS, ...inputs });
  if (outcome.kind === "answer") return outcome.answer;
  const answer = refuseConfChange(outcome.change, INPUTS.membership);
  assert.ok(answer !== undefined, "the change fits the membership");
  return answer;
}

function expect(answer: ApiResponse, status: number, kind: ContentKind, body: string): void {
  assert.equal(answer.body.toString(), body);
  assert.equal(answer.head.status, status);
  assert.equal(answer.head.contentKind, kind);
  assert.equal(answer.head.etcdIndex, -1);
  assert.equal(answer.head.hasRaft, false);
}

// The bodies below are those of etcd 3.4.23.
const MEMBER =
  '{"id":"8ddab73534be950c","name":"default","peerURLs":["http://127.0.0.1:31380"],"clientURLs":["http://127.0.0.1:31379"]}';

test("GET lists the members, the leader, and nothing else", () => {
  for (const path of ["/v2/members", "/v2/members/"]) {
    const answer = ask(requestOf("GET", path));
    expect(answer, 200, ContentKind.json, `{"members":[${MEMBER}]}\n`);
    assert.ok(answer.head.hasClusterId);
  }
  const leader = requestOf("GET", "/v2/members/leader");
  expect(ask(leader), 200, ContentKind.json, `${MEMBER}\n`);
  const election = ask(leader, { leaderId: 0n });
  expect(election, 503, ContentKind.json, '{"message":"During election"}');
  const other = ask(requestOf("GET", "/v2/members/foo"));
  expect(other, 404, ContentKind.json, '{"message":"Not found"}');
});

test("methods: HEAD and the unknown get Allow and no cluster id, DELETE without id the opposite", () => {
  for (const method of ["HEAD", "OTHER"] as const) {
    const answer = ask(requestOf(method, "/v2/members"));
    expect(answer, 405, ContentKind.textError, "Method Not Allowed\n");
    assert.equal(answer.head.allow, "GET,POST,DELETE,PUT");
    assert.equal(answer.head.hasClusterId, false);
  }
  for (const path of ["/v2/members", "/v2/members/"]) {
    const answer = ask(requestOf("DELETE", path));
    expect(answer, 405, ContentKind.textError, "Method Not Allowed\n");
    assert.equal(answer.head.allow, "");
    assert.equal(answer.head.hasClusterId, true);
  }
});

test("the content type must be application/json to the letter, unless it has parameters", () => {
  const post = (type: string) => ask(requestOf("POST", "/v2/members", "{", type));
  const bad = (type: string) => `{"message":"Bad Content-Type ${type}, accept application/json"}`;
  expect(post("text/plain"), 415, ContentKind.json, bad("text/plain"));
  expect(post(""), 415, ContentKind.json, bad(""));
  expect(post("Application/json"), 415, ContentKind.json, bad("Application/json"));
  expect(post("<&x"), 415, ContentKind.json, bad("\\u003c\\u0026x"));
  const end = '{"message":"unexpected end of JSON input"}';
  expect(post("application/json"), 400, ContentKind.json, end);
  expect(post("Application/JSON ; charset=utf-8"), 400, ContentKind.json, end);
});

test("invalid ids are shown as sent, others as numbers", () => {
  const remove = (id: string) => ask(requestOf("DELETE", `/v2/members/${id}`));
  const none = (id: string) => `{"message":"No such member: ${id}"}`;
  const cases = [
    ["abc", "abc"],
    ["zzz", "zzz"],
    ["00ABC", "abc"],
    ["8ddab73534be950c/", "8ddab73534be950c/"],
    ["a%20b", "a b"],
    ["%3Ca", "\\u003ca"],
    ["%c3%a9", "é"],
    ["%ff%c3", "\\ufffd\\ufffd"],
    ["%ef%bf%bd", "\ufffd"],
    ["ffffffffffffffffff", "ffffffffffffffffff"],
  ];
  for (const [sent = "", shown = ""] of cases) {
    expect(remove(sent), 404, ContentKind.json, none(shown));
  }
  const put = requestOf("PUT", "/v2/members/abc", '{"peerURLs":["http://127.0.0.1:1"]}');
  expect(ask(put), 404, ContentKind.json, none("abc"));
  const badIdFirst = requestOf("PUT", "/v2/members/zz", "{");
  expect(ask(badIdFirst), 404, ContentKind.json, none("zz"));
  // 0 is a number like any other: the body is judged first.
  const zero = (body: string, type?: string) => ask(requestOf("PUT", "/v2/members/0", body, type));
  expect(remove("0"), 404, ContentKind.json, none("0"));
  expect(zero('{"peerURLs":["http://127.0.0.1:1"]}'), 404, ContentKind.json, none("0"));
  expect(zero("{}"), 400, ContentKind.json, '{"message":"no valid URLs given"}');
  const badType = '{"message":"Bad Content-Type text/json, accept application/json"}';
  expect(zero("{}", "text/json"), 415, ContentKind.json, badType);
});

test("PUT, POST and DELETE write members, other methods do not", () => {
  const methods = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "OTHER"] as const;
  const changing = methods.filter((name) => writesMembers(requestOf(name, "/v2/members").method));
  assert.deepEqual(changing, ["PUT", "POST", "DELETE"]);
});

test("invalid changes are rejected in the order strict rules, ids, URLs", () => {
  const twoMembers = oneMember();
  for (const command of confChangeCommands({ kind: "add", id: 2n, peerUrls: ["http://b:1"] }, 1)) {
    twoMembers.apply(eventOf(command, 4));
  }
  const post = (url: string) =>
    requestOf("POST", "/v2/members", JSON.stringify({ peerURLs: [url] }));
  const strictly = handleMembers(post(PEER_URL), { ...INPUTS, membership: twoMembers });
  assert.equal(strictly.kind, "answer");
  if (strictly.kind === "answer") {
    expect(strictly.answer, 500, ContentKind.json, '{"message":"Internal Server Error"}');
  }
  const gone = oneMember();
  for (const command of confChangeCommands({ kind: "remove", id: 0x1fn }, 1)) {
    gone.apply(eventOf(command, 4));
  }
  const again = refuseConfChange({ kind: "remove", id: 0x1fn }, gone);
  assert.equal(again?.head.status, 410);
  assert.equal(again?.body.toString(), '{"message":"Member permanently removed: 1f"}');
  const same = refuseConfChange({ kind: "add", id: MEMBER_ID, peerUrls: [PEER_URL] }, gone);
  assert.equal(same?.head.status, 409);
  assert.equal(same?.body.toString(), '{"message":"membership: ID exists"}');
  assert.equal(refuseConfChange({ kind: "remove", id: MEMBER_ID }, gone), undefined);
});

test("the last member cannot be removed under the strict rules", () => {
  const request = requestOf("DELETE", "/v2/members/8ddab73534be950c");
  expect(ask(request), 500, ContentKind.json, '{"message":"Internal Server Error"}');
  assert.deepEqual(handleMembers(request, { ...INPUTS, connectivity: undefined }), {
    kind: "propose",
    change: { kind: "remove", id: MEMBER_ID },
  });
});

test("a valid change is proposed, and its outcome sent once it is applied", () => {
  const post = requestOf("POST", "/v2/members", '{"peerURLs":[" http://b:1","HTTP://a:1"]}');
  const outcome = handleMembers(post, INPUTS);
  assert.equal(outcome.kind, "propose");
  if (outcome.kind !== "propose" || outcome.change.kind !== "add") return assert.fail();
  assert.deepEqual(outcome.change.peerUrls, ["http://a:1", "http://b:1"]);
  const id = outcome.change.id.toString(16);
  const added = oneMember();
  for (const command of confChangeCommands(outcome.change, 1)) added.apply(eventOf(command, 4));
  const created = `{"id":"${id}","name":"","peerURLs":["http://a:1","http://b:1"],"clientURLs":[]}\n`;
  expect(confChangeResponse(outcome.change, "ok", added), 201, ContentKind.json, created);
  const taken = '{"message":"membership: peerURL exists"}';
  expect(confChangeResponse(outcome.change, "peerUrlExists", added), 409, ContentKind.json, taken);
  const gone = confChangeResponse({ kind: "remove", id: 0x1fn }, "idRemoved", added);
  expect(gone, 410, ContentKind.json, '{"message":"Member permanently removed: 1f"}');
  expect(confChangeResponse({ kind: "remove", id: 1n }, "ok", added), 204, ContentKind.none, "");
  const update = confChangeResponse({ kind: "update", id: 1n, peerUrls: [] }, "idRemoved", added);
  expect(update, 500, ContentKind.json, '{"message":"Internal Server Error"}');

  const own = requestOf("POST", "/v2/members", JSON.stringify({ peerURLs: [PEER_URL] }));
  expect(ask(own), 409, ContentKind.json, taken);
});

/** body, message: as in etcd 3.4.23's responses. */
const BAD_BODIES: readonly (readonly [string, string])[] = [
  ["", "unexpected end of JSON input"],
  [" ", "unexpected end of JSON input"],
  ["[", "unexpected end of JSON input"],
  [
    "[]",
    'json: cannot unmarshal array into Go value of type struct { PeerURLs []string "json:\\"peerURLs\\"" }',
  ],
  [
    "true",
    'json: cannot unmarshal bool into Go value of type struct { PeerURLs []string "json:\\"peerURLs\\"" }',
  ],
  ["null", "no valid URLs given"],
  ["{}", "no valid URLs given"],
  ['{"peerURLs":null}', "no valid URLs given"],
  [
    '{"peerURLs":1e400}',
    "json: cannot unmarshal number into Go struct field .peerURLs of type []string",
  ],
  [
    '{"peerURLs":{}}',
    "json: cannot unmarshal object into Go struct field .peerURLs of type []string",
  ],
  [
    '{"peerURLs":["http://a:1",1]}',
    "json: cannot unmarshal number into Go struct field .peerURLs of type string",
  ],
  [
    '{"peerURLs":[[]]}',
    "json: cannot unmarshal array into Go struct field .peerURLs of type string",
  ],
  ['{"peerURLs":[null]}', "URL scheme must be http, https, unix, or unixs: "],
  ['{"peerurls":["http://127.0.0.1:1/x"]}', "URL must not contain a path: http://127.0.0.1:1/x"],
  ["{a", "invalid character 'a' looking for beginning of object key string"],
  ['{"a"x', "invalid character 'x' after object key"],
  ['{"a":x', "invalid character 'x' looking for beginning of value"],
  ['{"a":1x', "invalid character 'x' after object key:value pair"],
  ['{"a":1,}', "invalid character '}' looking for beginning of object key string"],
  ['{"a":[1x', "invalid character 'x' after array element"],
  ['{"a":tru', "invalid character ' ' in literal true (expecting 'e')"],
  ['{"a":trux', "invalid character 'x' in literal true (expecting 'e')"],
  ['{"a":"\\x"}', "invalid character 'x' in string escape code"],
  ['{"a":"\\u12x"}', "invalid character 'x' in \\u hexadecimal character escape"],
  ['{"a":01}', "invalid character '1' after object key:value pair"],
  ['{"a":-}', "invalid character '}' in numeric literal"],
  ["-", "invalid character ' ' in numeric literal"],
  ['{"a":1.}', "invalid character '}' after decimal point in numeric literal"],
  ['{"a":1e}', "invalid character '}' in exponent of numeric literal"],
  ["{} x", "invalid character 'x' after top-level value"],
  ["'", "invalid character '\\'' looking for beginning of value"],
  ['{"a":"\n"}', "invalid character '\\n' in string literal"],
  ['{"a\u0001', "invalid character '\\x01' in string literal"],
  ['{"peerURLs":["nope"]}', "URL scheme must be http, https, unix, or unixs: nope"],
  [
    '{"peerURLs":["http://127.0.0.1:a"]}',
    'parse "http://127.0.0.1:a": invalid port ":a" after host',
  ],
  ['{"peerURLs":["http://127.0.0.1:1/"]}', "URL must not contain a path: http://127.0.0.1:1/"],
  ['{"peerURLs":["  http://a "]}', 'URL address does not have the form "host:port": http://a'],
  ['{"peerURLs":["http://[::1]"]}', 'URL address does not have the form "host:port": http://[::1]'],
  ['{"peerURLs":["http://[::1:2"]}', `parse "http://[::1:2": missing ']' in host`],
  ['{"peerURLs":["http://a:1:2"]}', 'URL address does not have the form "host:port": http://a:1:2'],
  ['{"peerURLs":["http:a:1"]}', 'URL address does not have the form "host:port": http:a:1'],
  [
    '{"peerURLs":["127.0.0.1:1"]}',
    'parse "127.0.0.1:1": first path segment in URL cannot contain colon',
  ],
  ['{"peerURLs":[":x"]}', 'parse ":x": missing protocol scheme'],
  ['{"peerURLs":["http://%zz:1"]}', 'parse "http://%zz:1": invalid URL escape "%zz"'],
  ['{"peerURLs":["http://%<é:1"]}', 'parse "http://%<é:1": invalid URL escape "%<\\xc3"'],
  ['{"peerURLs":["http://a b:1"]}', 'parse "http://a b:1": invalid character " " in host name'],
  ['{"peerURLs":["http://a:1%zz"]}', 'parse "http://a:1%zz": invalid port ":1%zz" after host'],
  ['{"peerURLs":["http://a:1/%zz"]}', 'parse "http://a:1/%zz": invalid URL escape "%zz"'],
  [
    '{"peerURLs":["http://a\\u0001:1"]}',
    'parse "http://a\\x01:1": net/url: invalid control character in URL',
  ],
  [
    '{"peerURLs":["http://a:1?x=1","ftp://b:1"]}',
    "URL scheme must be http, https, unix, or unixs: ftp://b:1",
  ],
];

test("invalid bodies are rejected with Go's texts", () => {
  for (const [body, message] of BAD_BODIES) {
    assert.deepEqual(decodePeerUrls(Buffer.from(body)), { kind: "invalid", message }, body);
  }
  const latin = decodePeerUrls(Buffer.from([0xe9]));
  assert.deepEqual(latin, {
    kind: "invalid",
    message: "invalid character 'é' looking for beginning of value",
  });
  const deep = decodePeerUrls(Buffer.alloc(1_000_000, "["));
  const message = "invalid character '[' exceeded max depth";
  assert.deepEqual(deep, { kind: "invalid", message });
});

test("no body throws, and the scanner accepts exactly what JSON.parse accepts", () => {
  const seed = Number(process.env.SEED ?? 7);
  const prng = new Prng(seed);
  const pieces = [
    '{"peerURLs":',
    '["http://a:1"]',
    "[",
    "]",
    "{",
    "}",
    '"',
    ",",
    ":",
    "\\u00",
    "1",
    "-0.5e3",
    "true",
    "nul",
    "null",
    " ",
    "\u0000",
    "é",
    '"__proto__"',
  ];
  for (let round = 0; round < 20_000; round++) {
    const body = Array.from({ length: 1 + prng.below(8) }, () => prng.pick(pieces)).join("");
    const result = decodePeerUrls(Buffer.from(body));
    let isJson = true;
    try {
      JSON.parse(body);
    } catch {
      isJson = false;
    }
    const isSyntaxError =
      result.kind === "invalid" && /^(invalid character|unexpected end)/.test(result.message);
    assert.equal(isSyntaxError, !isJson, `SEED=${seed} ${JSON.stringify(body)}`);
  }
});

test("/v2/machines joins all client URLs", () => {
  for (const method of ["GET", "HEAD"] as const) {
    const answer = handleMachines(requestOf(method, "/v2/machines"), oneMember());
    expect(answer, 200, ContentKind.text, "http://127.0.0.1:31379");
    assert.equal(answer.head.hasClusterId, false);
  }
  const post = handleMachines(requestOf("POST", "/v2/machines"), new Membership());
  expect(post, 405, ContentKind.textError, "Method Not Allowed\n");
  assert.equal(post.head.allow, "GET,HEAD");
});

test("a JSON body above 1 MiB is not parsed", () => {
  const body = (bytes: number) => `{"peerURLs":[]${" ".repeat(bytes)}}`;
  const post = (bytes: number) => ask(requestOf("POST", "/v2/members", body(bytes)));
  const none = '{"message":"no valid URLs given"}';
  assert.equal(post(1000).body.toString(), none);
  assert.equal(post(2 ** 20).body.toString(), '{"message":"http: request body too large"}');
});

test("a learner is added as one, shown as one, and promoted", () => {
  const body = (more: string) => `{"peerURLs":["http://b:1"]${more}}`;
  const addition = (more: string) => {
    const outcome = handleMembers(requestOf("POST", "/v2/members", body(more)), INPUTS);
    return outcome.kind === "propose" ? outcome.change : assert.fail();
  };
  assert.equal(addition("").kind, "add");
  assert.equal(addition(',"isLearner":false').kind, "add");
  assert.equal(addition(',"isLearner":null').kind, "add");
  const change = addition(',"islearner":true');
  assert.equal(change.kind, "addLearner");
  const wrong =
    '{"message":"json: cannot unmarshal string into Go struct field .isLearner of type bool"}';
  expect(
    ask(requestOf("POST", "/v2/members", body(',"isLearner":"yes"'))),
    ...([400, ContentKind.json, wrong] as const),
  );

  const list = oneMember();
  const apply = (what: MemberChange) => {
    const before = list.member(what.id);
    for (const command of confChangeCommands(what, 1, before)) list.apply(eventOf(command, 4));
  };
  apply(change);
  const id = change.id.toString(16);
  const learner = `{"id":"${id}","name":"","peerURLs":["http://b:1"],"clientURLs":[],"isLearner":true}\n`;
  expect(confChangeResponse(change, "ok", list), 201, ContentKind.json, learner);
  apply({ kind: "update", id: change.id, peerUrls: ["http://c:1"] });
  assert.equal(list.member(change.id)?.isLearner, true, "other URLs make no voter of it");
  const promote: MemberChange = { kind: "promote", id: change.id };
  assert.deepEqual(
    handleMembers(requestOf("POST", `/v2/members/${id}/promote`), { ...INPUTS, membership: list }),
    { kind: "propose", change: promote },
  );
  assert.equal(refuseConfChange(promote, list), undefined);
  apply(promote);
  const voter = `{"id":"${id}","name":"","peerURLs":["http://c:1"],"clientURLs":[]}\n`;
  expect(confChangeResponse(promote, "ok", list), 200, ContentKind.json, voter);
  const again = refuseConfChange(promote, list);
  assert.ok(again !== undefined);
  const gone = confChangeResponse(promote, "idRemoved", list);
  expect(gone, 410, ContentKind.json, `{"message":"Member permanently removed: ${id}"}`);
  const why = '{"message":"etcdserver: can only promote a learner member"}';
  expect(again, 412, ContentKind.json, why);
  for (const none of ["0", "zz", "1f"]) {
    const asked = handleMembers(requestOf("POST", `/v2/members/${none}/promote`), {
      ...INPUTS,
      connectivity: undefined,
    });
    const answer = asked.kind === "propose" ? refuseConfChange(asked.change, list) : asked.answer;
    assert.equal(answer?.head.status, 404);
  }
});
