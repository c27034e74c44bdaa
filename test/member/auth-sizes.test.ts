import assert from "node:assert/strict";
import { test } from "node:test";
import { type Asked, OneMember } from "./one-member.js";

function answered(member: OneMember, asked: Asked): Asked {
  member.until("it is answered", () => asked.status !== 0 && !asked.isOpen);
  return asked;
}

/** Their JSON has six times their length; 250 of them fill a request. */
function patterns(first: number, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${first + i}${"<".repeat(4000)}`);
}

test("a role that outgrows its room by grants is rejected, and stays as it was", () => {
  const member = new OneMember({}, 1 << 20);
  const put = (json: unknown) =>
    answered(member, member.askJson("put", "/v2/auth/roles/wide", json)).status;
  assert.equal(put({ role: "wide" }), 201);
  const outcomes: number[] = [];
  for (let n = 0; n < 4; n++) {
    outcomes.push(put({ role: "wide", grant: { kv: { read: patterns(n * 1000, 75) } } }));
  }
  assert.deepEqual(outcomes, [200, 400, 400, 400]);
  assert.equal(put({ role: "wide", grant: { kv: { write: patterns(0, 250) } } }), 400);
  assert.equal(put({ role: "wide", grant: { kv: { read: ["/a"] } } }), 200);
});

test("lists of users and roles that no response could hold are an error", () => {
  const member = new OneMember({}, 1 << 20);
  const call = (method: "get" | "put", target: string, json?: unknown) =>
    answered(
      member,
      json === undefined ? member.ask(method, target) : member.askJson(method, target, json),
    );
  const roles = Array.from({ length: 18 }, (_, n) => `r${n}`);
  for (const role of roles) {
    const permissions = { kv: { read: patterns(0, 80) } };
    assert.equal(call("put", `/v2/auth/roles/${role}`, { role, permissions }).status, 201);
  }
  const user = { user: "ann", password: "pw", roles };
  assert.equal(call("put", "/v2/auth/users/ann", user).status, 200);
  for (const target of ["/v2/auth/roles", "/v2/auth/users", "/v2/auth/users/ann"]) {
    const { status, body } = call("get", target);
    assert.equal(status, 500);
    assert.equal(body, '{"message":"auth: The users and roles are too many to be shown"}');
  }
  assert.equal(call("get", "/v2/auth/roles/r0").status, 200);
});
