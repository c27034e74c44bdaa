import assert from "node:assert/strict";
import { test } from "node:test";
import { readTokenSize, tokenPath } from "#ringd/v2/discovery.js";
import { Method } from "#ringd/v2/request.js";
import { type Asked, OneMember } from "./one-member.js";

const OPTIONS = { discoveryService: true, advertiseClientUrls: ["http://disc:2379"] };

function answered(member: OneMember, asked: Asked): Asked {
  member.until("it is answered", () => !asked.isOpen);
  return asked;
}

test("a token is made, filled, watched and removed, and is a directory of the key space", () => {
  const member = new OneMember({}, undefined, undefined, undefined, [], OPTIONS);
  const ask = (...args: Parameters<OneMember["ask"]>) => answered(member, member.ask(...args));
  const made = ask("get", "/new?size=5");
  assert.equal(made.status, 200);
  const [, token = ""] = /^http:\/\/disc:2379\/([0-9a-f]{32})$/.exec(made.body) ?? [];
  assert.ok(token !== "", made.body);
  const key = `/_etcd/registry/${token}`;
  const size = ask("get", `/${token}/_config/size`);
  assert.ok(size.body.includes(`"key":"${key}/_config/size","value":"5"`), size.body);
  assert.equal(ask("get", `/v2/keys${key}/_config/size`).body, size.body);

  const watch = member.ask("get", `/${token}?wait=true&recursive=true`);
  const put = ask("put", `/${token}/abc?prevExist=false`, "value=n1=http://a:1");
  assert.equal(put.status, 201);
  assert.ok(answered(member, watch).body.includes('"value":"n1=http://a:1"'));
  assert.equal(ask("put", `/${token}/abc?prevExist=false`, "value=x").status, 412);
  assert.match(ask("get", `/${token}/`).body, /"nodes":\[\{"key":"[^"]*abc"/);
  assert.equal(ask("delete", `/${token}/abc`).status, 200);
  assert.equal(ask("get", "/0123456789abcdef0123456789abcdef").status, 404);
  assert.equal(ask("post", "/new").status, 200);
  assert.equal(ask("put", "/new", "size=x").status, 400);
  assert.equal(ask("get", "/robots.txt").body, "User-agent: *\nDisallow: /");
  assert.equal(ask("get", "/health").body, '{"health":"true"}');
});

test("with authentication, tokens are made, filled and read by those who may", () => {
  const member = new OneMember(
    {},
    undefined,
    undefined,
    undefined,
    ["--bcrypt-cost", "4"],
    OPTIONS,
  );
  const basic = (text: string) => `Basic ${Buffer.from(text).toString("base64")}`;
  const json = (target: string, body: unknown) =>
    answered(member, member.askJson("put", target, body)).status;
  const status = (authorization: string, ...args: Parameters<OneMember["ask"]>) => {
    member.authorization = authorization;
    const asked = member.ask(...args);
    member.until("it is answered", () => asked.status !== 0);
    return asked.status;
  };
  const registry = { kv: { read: [], write: ["/_etcd/registry/*"] } };
  json("/v2/auth/users/root", { user: "root", password: "rpw" });
  json("/v2/auth/roles/founder", { role: "founder", permissions: registry });
  json("/v2/auth/users/ann", { user: "ann", password: "apw", roles: ["founder"] });
  json("/v2/auth/roles/guest", { role: "guest" });
  assert.equal(status("", "put", "/v2/auth/enable"), 200);
  const token = `/${"0a".repeat(16)}`;
  assert.equal(status("", "get", "/new"), 401);
  assert.equal(status(basic("ann:wrong"), "get", "/new"), 401);
  assert.equal(status("", "get", `${token}?recursive=true`), 401);
  assert.equal(status("", "get", `${token}?wait=true`), 401);
  assert.equal(status("", "put", `${token}/m`, "value=v"), 401);
  assert.equal(status("", "delete", `${token}/m`), 401);
  assert.equal(status(basic("ann:apw"), "get", "/new"), 200);
  assert.equal(status(basic("ann:apw"), "put", `${token}/m`, "value=v"), 201);
  assert.equal(status(basic("ann:apw"), "get", token), 401);
  assert.equal(status(basic("root:rpw"), "get", token), 200);
});

test("without the flag there is no service", () => {
  const member = new OneMember({});
  assert.equal(answered(member, member.ask("get", "/new")).body, "404 page not found\n");
});

test("the sizes that are accepted, and Go's texts for the others", () => {
  const read = (query: string, form = "") =>
    readTokenSize({
      ...{ method: Method.get, path: "/new", query, isBodyTooLarge: false },
      ...{ authorization: "", commonName: "", remote: "" },
      contentType: "application/x-www-form-urlencoded; charset=utf-8",
      body: Buffer.from(form),
    });
  const says = (query: string) => {
    const answer = read(query);
    return typeof answer === "number" ? answer : answer.body.toString();
  };
  assert.equal(says(""), 3);
  assert.equal(says("size="), 3);
  assert.equal(says("size=%2B07"), 7);
  assert.equal(read("", "size=9"), 9);
  assert.equal(says("size=abc"), 'strconv.Atoi: parsing "abc": invalid syntax\n');
  assert.equal(says("size=1.5"), 'strconv.Atoi: parsing "1.5": invalid syntax\n');
  assert.match(String(says("size=99999999999999999999")), /value out of range/);
  assert.match(String(says(`size=${"9".repeat(10_000)}`)), /value out of range/);
  for (const size of ["0", "-1"]) assert.equal(says(`size=${size}`), "size must be above 0\n");
});

test("paths of tokens, and the methods of each", () => {
  const token = `/${"0a".repeat(16)}`;
  const of = (path: string, method: Method) => {
    const found = tokenPath(path, method);
    return found?.kind === "answer" ? found.answer.head.allow : found?.path;
  };
  assert.equal(of(token, Method.get), token);
  assert.equal(of(`${token}/`, Method.put), token);
  assert.equal(of(token, Method.delete), "GET,PUT");
  assert.equal(of(`${token}/m`, Method.delete), `${token}/m`);
  assert.equal(of(`${token}/m`, Method.post), "GET,PUT,DELETE");
  assert.equal(of(`${token}/_config/size`, Method.get), `${token}/_config/size`);
  assert.equal(of(`${token}/_config/size`, Method.put), "GET");
  for (const path of ["/", `${token}0`, token.toUpperCase(), `${token}/a/b`, "/v2/keys"]) {
    assert.equal(of(path, Method.get), undefined, path);
  }
});
