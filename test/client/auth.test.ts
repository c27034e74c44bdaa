import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ApiError, Client, UnauthorizedError } from "#ringd/client/index.js";
import { type MemberKind, TestMember } from "../support/member.js";

/** KIND=etcd runs it against etcd. */
const kind = (process.env.KIND ?? "ringd") as MemberKind;

let member: TestMember;
let guest: Client;
let root: Client;

before(async () => {
  member = await TestMember.create(kind);
  const endpoints = [member.clientUrl];
  guest = new Client({ endpoints });
  root = new Client({ endpoints, username: "root", password: "rö:t" });
});

after(async () => {
  await Promise.all([guest.close(), root.close()]);
  await member.destroy();
});

function hasStatus(status: number): (error: unknown) => boolean {
  return (error) => error instanceof ApiError && error.status === status;
}

test("users and roles are created, changed, listed and removed", async () => {
  const { users, roles } = guest.auth;
  assert.deepEqual(await users.list(), []);
  await users.add("ann", "secret");
  await users.setPassword("ann", "other");
  assert.deepEqual(await users.get("ann"), { user: "ann", roles: [] });

  await roles.add("reader");
  assert.deepEqual(await roles.get("reader"), {
    role: "reader",
    permissions: { kv: { read: [], write: [] } },
  });
  const granted = await roles.grant("reader", { read: ["/pub/*", "/a"], write: ["/w"] });
  assert.deepEqual(granted.permissions.kv, { read: ["/a", "/pub/*"], write: ["/w"] });
  const revoked = await roles.revoke("reader", { read: ["/a"], write: ["/w"] });
  assert.deepEqual(revoked.permissions.kv, { read: ["/pub/*"], write: [] });
  assert.deepEqual(await roles.list(), ["reader", "root"]);

  assert.deepEqual((await users.grant("ann", ["reader"])).roles, ["reader"]);
  assert.deepEqual((await users.get("ann")).roles, ["reader"]);
  await assert.rejects(users.grant("ann", ["reader"]), hasStatus(409));
  assert.deepEqual((await users.revoke("ann", ["reader"])).roles, []);
  assert.deepEqual(await users.list(), ["ann"]);

  await assert.rejects(roles.add("reader"), hasStatus(409));
  await assert.rejects(roles.get("none"), hasStatus(404));
  await assert.rejects(users.get("none"), hasStatus(404));
  await assert.rejects(roles.remove("root"), hasStatus(403));
  await users.grant("ann", ["reader"]);
});

test("once enabled, permissions are enforced", async () => {
  await assert.rejects(guest.auth.enable(), hasStatus(409));
  await guest.auth.users.add("root", "rö:t");
  await guest.auth.enable();
  assert.equal(await guest.auth.isEnabled(), true);
  await assert.rejects(guest.auth.users.list(), hasStatus(401));
  await root.auth.roles.revoke("guest", { read: ["/*"], write: ["/*"] });

  await root.set("/pub/x", "v");
  await assert.rejects(guest.get("/pub/x"), UnauthorizedError);
  await assert.rejects(guest.watch("/pub/x").next(), UnauthorizedError);
  const ann = new Client({ endpoints: [member.clientUrl], username: "ann", password: "other" });
  assert.equal((await ann.get("/pub/x")).node.value, "v");
  await assert.rejects(ann.set("/pub/x", "w"), (error) => {
    return error instanceof UnauthorizedError && error.errorCode === 110 && error.status === 401;
  });
  await ann.close();

  await root.auth.users.remove("ann");
  await root.auth.roles.remove("reader");
  await root.auth.disable();
  assert.equal(await guest.auth.isEnabled(), false);
  await assert.rejects(guest.auth.disable(), hasStatus(409));
});
