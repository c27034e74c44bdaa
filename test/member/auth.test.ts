import assert from "node:assert/strict";
import { test } from "node:test";
import { HASH_JOBS_MAX } from "#ringd/member/hashes.js";
import { type Asked, OneMember } from "./one-member.js";

const FLAGS = ["--bcrypt-cost", "4", "--audit-log", "stdout"];
const ROOT = basic("root", "rpw");
/** Core, wal, peer, pool and one frontend come before it. */
const HASHES_AT = 1;

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
}

/** A member whose authentication is enabled, with user ann of role reader. */
function setUp(flags: readonly string[] = []) {
  const member = new OneMember({}, 65_536, 1, undefined, [...FLAGS, ...flags]);
  const answered = (asked: Asked): string => {
    member.until("the answer", () => asked.status !== 0);
    return `${asked.status} ${asked.body}`.trim();
  };
  const call = (
    authorization: string,
    method: "get" | "put" | "delete" | "head",
    target: string,
    body?: unknown,
  ): string => {
    member.authorization = authorization;
    return answered(
      body === undefined ? member.ask(method, target) : member.askJson(method, target, body),
    );
  };
  const put = (target: string, authorization = ROOT) => {
    member.authorization = authorization;
    return answered(member.ask("put", target, "value=v"));
  };
  call("", "put", "/v2/auth/users/root", { user: "root", password: "rpw" });
  call("", "put", "/v2/auth/roles/reader", {
    role: "reader",
    permissions: { kv: { read: ["/pub/*", "/one"], write: ["/own/*", "/one"] } },
  });
  const ann = { user: "ann", password: "apw", roles: ["reader"] };
  call("", "put", "/v2/auth/users/ann", ann);
  assert.equal(call("", "put", "/v2/auth/enable"), "200");
  member.takeAudit();
  const hashes = () => member.metric("authHashes", "compare");
  return { member, call, put, hashes };
}

const status = (answer: string) => Number(answer.slice(0, 3));

test("verified credentials are compared once, until the user's password changes", () => {
  const { call, hashes } = setUp();
  const before = hashes();
  for (let n = 0; n < 5; n++) assert.equal(status(call(ROOT, "get", "/v2/keys/")), 200);
  assert.equal(hashes(), before + 1);
  const change = { user: "root", password: "new" };
  assert.equal(status(call(ROOT, "put", "/v2/auth/users/root", change)), 200);
  assert.equal(status(call(ROOT, "get", "/v2/keys/")), 401);
  assert.equal(status(call(basic("root", "new"), "get", "/v2/keys/")), 200);
  assert.equal(hashes(), before + 3);
});

test("a change of roles counts at once, and needs no comparison", () => {
  const { call, hashes } = setUp();
  const ann = basic("ann", "apw");
  assert.equal(status(call(ann, "get", "/v2/keys/pub/x")), 404);
  call(ROOT, "put", "/v2/auth/users/ann", { user: "ann", revoke: ["reader"] });
  const before = hashes();
  assert.equal(status(call(ann, "get", "/v2/keys/pub/x")), 401);
  call(ROOT, "put", "/v2/auth/users/ann", { user: "ann", grant: ["reader"] });
  assert.equal(status(call(ann, "get", "/v2/keys/pub/x")), 404);
  call(ROOT, "delete", "/v2/auth/users/ann");
  assert.equal(status(call(ann, "get", "/v2/keys/pub/x")), 401);
  assert.equal(hashes(), before + 1, "the user that is gone is compared like any other");
});

test("wrong credentials are compared once, until they may be right", () => {
  const { call, hashes } = setUp();
  const wrong = basic("ann", "new");
  const before = hashes();
  for (let n = 0; n < 3; n++) assert.equal(status(call(wrong, "get", "/v2/keys/pub/x")), 401);
  for (let n = 0; n < 3; n++) {
    assert.equal(status(call(basic("nobody", "x"), "get", "/v2/keys/pub/x")), 401);
  }
  assert.equal(hashes(), before + 2);
  call(ROOT, "put", "/v2/auth/users/ann", { user: "ann", password: "new" });
  call(ROOT, "put", "/v2/auth/users/nobody", { user: "nobody", password: "x" });
  assert.equal(status(call(wrong, "get", "/v2/keys/pub/x")), 404);
  assert.equal(status(call(basic("nobody", "x"), "get", "/v2/auth/users")), 401);
});

test("the permissions of section 5: write alone, exact patterns, watches, guests", () => {
  const { member, call, put } = setUp();
  const ann = basic("ann", "apw");
  const role = (change: object) =>
    assert.equal(
      status(call(ROOT, "put", "/v2/auth/roles/guest", { role: "guest", ...change })),
      200,
    );
  assert.equal(status(put("/v2/keys/own/x", ann)), 201);
  assert.equal(status(call(ann, "get", "/v2/keys/own/x")), 401, "writing is not reading");
  assert.equal(status(call(ann, "head", "/v2/keys/own/x")), 401);
  assert.equal(status(put("/v2/keys/one", ann)), 201);
  assert.equal(status(call(ann, "delete", "/v2/keys/one?recursive=true")), 401, "exact pattern");
  assert.equal(status(call(ann, "delete", "/v2/keys/one")), 200);
  assert.equal(status(call("", "get", "/v2/keys")), 401, "not even a guest's /* covers no slash");
  assert.equal(status(call("", "get", "/v2/keys/")), 200);

  member.authorization = ann;
  const watch = member.ask("get", "/v2/keys/pub/x?wait=true&stream=true");
  member.until("the watch is open", () => watch.status === 200);
  call(ROOT, "put", "/v2/auth/users/ann", { user: "ann", revoke: ["reader"] });
  put("/v2/keys/pub/x");
  member.until("the event", () => watch.body.includes('"value":"v"'));
  assert.equal(status(call(ann, "get", "/v2/keys/pub/x?wait=true")), 401);

  role({ revoke: { kv: { read: ["/*"], write: ["/*"] } } });
  assert.equal(status(put("/v2/keys/pub/y", "")), 401);
  role({ grant: { kv: { read: ["/exact", ""], write: [] } } });
  put("/v2/keys/exact");
  assert.equal(status(call("", "get", "/v2/keys/exact?recursive=true")), 200, "as in etcd");
  assert.equal(status(call("", "get", "/v2/keys/exact/")), 401);
  assert.equal(status(call("", "get", "/v2/keys")), 401, "an empty pattern covers nothing");
  call(ROOT, "delete", "/v2/auth/roles/guest");
  assert.equal(status(call("", "get", "/v2/keys/exact")), 401);
  assert.equal(status(call("Basic !!!", "get", "/v2/keys/exact")), 401);
  assert.equal(status(call("", "get", "/v2/keys/exact?wait=maybe")), 400, "checked before");
});

test("too many comparisons at once are rejected, and others are not disturbed", () => {
  const { member, call, hashes } = setUp();
  assert.equal(status(call(ROOT, "get", "/v2/keys/")), 200);
  const before = hashes();
  const flood = Array.from({ length: HASH_JOBS_MAX + 10 }, (_, i) => {
    member.authorization = basic("ann", `guess ${i}`);
    return member.ask("get", "/v2/keys/pub/x");
  });
  const rejected = () => flood.filter((asked) => asked.status === 500);
  for (let n = 0; rejected().length < 10; n++) {
    assert.ok(n < 100, "the last ones are rejected");
    member.turnBut(HASHES_AT, 1);
  }
  assert.match(rejected()[0]?.body ?? "", /"errorCode":300.*too many requests/);
  assert.equal(hashes(), before + HASH_JOBS_MAX);
  assert.equal(member.metric("limitReached", "passwords"), 10);
  member.authorization = ROOT;
  const known = member.ask("get", "/v2/keys/");
  for (let n = 0; n < 3; n++) member.turnBut(HASHES_AT, 1);
  assert.equal(known.status, 200, "known credentials do not wait for the pool");
  const change = member.askJson("put", "/v2/auth/users/ann", { user: "ann", password: "new" });
  member.until("all others are answered", () => flood.every((asked) => asked.status !== 0));
  assert.equal(flood.filter((asked) => asked.status === 401).length, HASH_JOBS_MAX);
  member.until("a password can be set meanwhile", () => change.status !== 0);
  assert.equal(change.status, 200);
});

test("a client that disconnects while its credentials are compared leaves nothing behind", () => {
  const { member, call } = setUp();
  member.authorization = basic("ann", "apw");
  const watch = member.ask("get", "/v2/keys/pub/x?wait=true");
  member.turnBut(HASHES_AT, 1);
  watch.giveUp();
  assert.equal(status(call(ROOT, "get", "/v2/keys/")), 200);
  assert.equal(watch.status, 0);
  assert.equal(member.metric("storeWatchers"), 0);
});

test("what waits for the same credentials needs one comparison", () => {
  const { member, hashes } = setUp();
  const before = hashes();
  member.authorization = basic("ann", "apw");
  const all = Array.from({ length: 100 }, () => member.ask("get", "/v2/keys/pub/x"));
  member.until("all are answered", () => all.every((asked) => asked.status === 404));
  assert.equal(hashes(), before + 1);
});

test("the audit log has a line for each refusal and each change, and no secret", () => {
  const { member, call, put } = setUp();
  put("/v2/keys/secret-key?prevValue=hidden", basic("ann", "apw"));
  call(basic("ann", "wrong-secret"), "get", "/v2/keys/pub/x");
  call("", "get", "/v2/auth/users");
  call("Bearer token-secret", "get", "/v2/keys/pub/x");
  call(ROOT, "put", "/v2/auth/users/bob", { user: "bob", password: "bob-secret" });
  call(ROOT, "put", "/v2/auth/roles/r", { role: "r" });
  call(ROOT, "put", "/v2/auth/users/bob", { user: "nobody", password: "bob-secret" });
  call(ROOT, "delete", "/v2/auth/enable");
  const lines = member.takeAudit();
  assert.deepEqual(
    lines.map(({ kind, user, method, path, status: code, reason }) =>
      [kind, user, method, path, code, reason].join(" "),
    ),
    [
      "denied ann PUT /v2/keys/secret-key 401 no permission",
      "denied ann GET /v2/keys/pub/x 401 wrong user name or password",
      "denied  GET /v2/auth/users 401 no credentials",
      "denied  GET /v2/keys/pub/x 401 malformed credentials",
      "auth root PUT /v2/auth/users/bob 201 created a user: bob",
      "auth root PUT /v2/auth/roles/r 201 created a new role: r",
      "auth root DELETE /v2/auth/enable 200 disabled auth",
    ],
  );
  assert.deepEqual(Object.keys(lines[0] ?? {}), [
    ...["time", "kind", "user", "cn", "remote", "method", "path", "status", "reason"],
  ]);
  assert.doesNotMatch(JSON.stringify(lines), /secret"|-secret|hidden|rpw|apw|\$2/);
});

test("members are changed by root only, and the audit log says by whom", () => {
  const { member, call } = setUp();
  const peer = { peerURLs: ["http://127.0.0.1:1"] };
  const [refused, added] = ["", ROOT].map((authorization) => {
    member.authorization = authorization;
    const asked = member.askJson("post", "/v2/members", peer);
    member.until("the answer", () => asked.status !== 0);
    return asked;
  });
  assert.equal(`${refused?.status} ${refused?.body}`, '401 {"message":"Insufficient credentials"}');
  assert.equal(added?.status, 201);
  assert.equal(status(call("", "get", "/v2/members")), 200);
  assert.equal(status(call("", "head", "/v2/members")), 405);
  const [denied, line] = member.takeAudit();
  assert.equal(denied?.kind, "denied");
  assert.equal(line?.kind, "member");
  assert.equal(line?.user, "root");
  assert.match(String(line?.reason), /^add [0-9a-f]+$/);
});

test("who leads is chosen by root alone, and goes to the audit log", () => {
  const { member, call } = setUp();
  const { members } = JSON.parse(call("", "get", "/v2/members").slice(4)) as {
    members: { id: string }[];
  };
  const id = members[0]?.id ?? "";
  const move = (authorization: string) => {
    member.authorization = authorization;
    const asked = member.askJson("post", "/v2/admin/leader", { id });
    member.until("the answer", () => asked.status !== 0);
    return asked.status;
  };
  assert.deepEqual([move(""), move(basic("ann", "apw")), move(ROOT)], [401, 401, 204]);
  const [guest, ann, root] = member.takeAudit();
  assert.deepEqual([guest?.kind, ann?.kind, ann?.user], ["denied", "denied", "ann"]);
  assert.deepEqual([root?.kind, root?.user, root?.status], ["member", "root", 204]);
  assert.equal(root?.reason, `move-leader ${id}`);
});

test("--protect-status asks for root, once authentication is enabled", () => {
  const { call } = setUp(["--protect-status"]);
  for (const path of ["/v2/stats/self", "/v2/stats/store", "/v2/members", "/v2/members/leader"]) {
    assert.equal(status(call("", "get", path)), 401, path);
    assert.equal(status(call(basic("ann", "apw"), "get", path)), 401, path);
    assert.equal(status(call(ROOT, "get", path)), 200, path);
  }
  for (const path of ["/version", "/v2/machines", "/health", "/v2/auth/enable"]) {
    assert.equal(status(call("", "get", path)), 200, path);
  }
  call(ROOT, "delete", "/v2/auth/enable");
  assert.equal(status(call("", "get", "/v2/members")), 200);
});

test("without that flag status is for everybody", () => {
  const { call } = setUp();
  for (const path of ["/v2/stats/self", "/v2/members", "/v2/members/leader"]) {
    assert.equal(status(call("", "get", path)), 200, path);
    assert.equal(status(call(basic("ann", "wrong"), "get", path)), 200, path);
  }
});

test("a certificate names a user; a header has precedence", () => {
  const { member, call } = setUp();
  const as = (commonName: string, authorization: string, path: string) => {
    member.commonName = commonName;
    return status(call(authorization, "get", path));
  };
  assert.equal(as("ann", "", "/v2/keys/pub/x"), 404);
  assert.equal(as("ann", "", "/v2/keys/other"), 401, "guest's rights are not added");
  assert.equal(as("nobody", "", "/v2/keys/other"), 404, "not a user: a guest");
  assert.equal(as("root", "", "/v2/auth/users"), 200);
  assert.equal(as("ann", "", "/v2/auth/users"), 401);
  assert.equal(as("nobody", "", "/v2/auth/users"), 401);
  assert.equal(as("root", basic("ann", "apw"), "/v2/auth/users"), 401);
  assert.equal(as("root", basic("ann", "wrong"), "/v2/keys/pub/x"), 401);
  assert.equal(as("ann", ROOT, "/v2/auth/users"), 200);
  assert.equal(member.takeAudit()[0]?.cn, "ann");
});

test("refusals wait for a frontend that does not take the lines of the audit log", () => {
  const member = new OneMember({}, 65_536, 2, undefined, FLAGS);
  const done = (asked: Asked) => member.until("the answer", () => asked.status !== 0);
  done(member.askJson("put", "/v2/auth/users/root", { user: "root", password: "rpw" }));
  done(member.askJson("put", "/v2/auth/roles/guest", { role: "guest" }));
  done(member.ask("put", "/v2/auth/enable"));
  member.takeAudit();
  const asked = Array.from({ length: 2000 }, () => member.ask("get", "/v2/keys/x", undefined, 1));
  const answered = () => asked.filter(({ status }) => status === 401).length;
  member.turnBut(0, 100);
  const early = answered();
  assert.ok(early > 100 && early < 1000, `${early} are answered`);
  member.turnBut(0, 100);
  assert.equal(answered(), early);
  member.until("all are answered", () => answered() === asked.length);
  let lines = 0;
  member.until("all lines come", () => {
    lines += member.takeAudit().length;
    return lines >= asked.length;
  });
  assert.equal(lines, asked.length);
});
