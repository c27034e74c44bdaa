import assert from "node:assert/strict";
import { test } from "node:test";
import { authTarget, handleAuth } from "#ringd/auth/requests.js";
import type { AuthOutcome, AuthScript, AuthStepResult } from "#ringd/auth/script.js";
import { AuthState } from "#ringd/auth/state.js";
import { CommandOp, commandOf } from "#ringd/store/command.js";
import { Event } from "#ringd/store/event.js";
import { Store } from "#ringd/store/store.js";
import { Method } from "#ringd/v2/request.js";
import { requestOf } from "../v2/request-of.js";

const NOW_MS = 1_700_000_000_000;

/** A store and its users. Each script is made a step at a time. */
class Fixture {
  readonly store = new Store();
  readonly state = new AuthState(() => undefined);

  begin(method: "GET" | "PUT" | "DELETE", path: string, body: unknown = ""): Script {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    const request = requestOf(method, `/v2/auth${path}`, text);
    const target = authTarget(request.path, request.method);
    assert.notEqual(target.kind, "answer");
    const context = { state: this.state, clusterMs: () => NOW_MS };
    const handled = handleAuth(context, target as never, request);
    if (handled.kind === "answer") {
      return new Script(this, undefined, { answer: handled.answer, change: undefined });
    }
    return new Script(this, handled.script, undefined);
  }

  do(method: "GET" | "PUT" | "DELETE", path: string, body: unknown = ""): string {
    return this.begin(method, path, body).finish();
  }
}

class Script {
  readonly #fixture: Fixture;
  readonly #script: AuthScript | undefined;
  #result: AuthStepResult;
  #outcome: AuthOutcome | undefined;

  constructor(fixture: Fixture, script: AuthScript | undefined, outcome: AuthOutcome | undefined) {
    this.#fixture = fixture;
    this.#script = script;
    this.#outcome = outcome;
  }

  /** @returns the kind of the step that was carried out, or "end" */
  step(): string {
    const next = this.#script?.next(this.#result);
    if (next === undefined) return "end";
    if (next.done === true) {
      this.#outcome = next.value;
      return "end";
    }
    const step = next.value;
    if (step.kind === "hash") this.#result = `hash of ${step.password}`;
    else if (step.kind === "confirm") this.#result = undefined;
    else {
      const result = this.#fixture.store.apply(step.command);
      if (result instanceof Event) this.#fixture.state.apply(result);
      this.#result = result;
    }
    return step.kind;
  }

  until(kind: string): void {
    for (let n = 0; n < 100; n++) if (this.step() === kind) return;
    assert.fail(`there is no step ${kind}`);
  }

  finish(): string {
    if (this.#outcome === undefined) this.until("end");
    const { answer } = this.#outcome as AuthOutcome;
    return `${answer.head.status} ${answer.body.toString()}`.trim();
  }
}

test("the first change creates four nodes, and takes five indexes", () => {
  const fixture = new Fixture();
  const before = fixture.store.index;
  fixture.do("DELETE", "/roles/nobody");
  assert.equal(fixture.store.index, before + 4);
  assert.equal(fixture.store.get("/2/enabled")?.value, "false");
  fixture.do("PUT", "/users/ann", { user: "ann", password: "p" });
  assert.equal(fixture.store.index, before + 5);
});

test("what is stored is what etcd stores", () => {
  const fixture = new Fixture();
  const { store } = fixture;
  fixture.do("PUT", "/users/root", { user: "root", password: "p", roles: ["a<b"] });
  assert.equal(
    store.get("/2/users/root")?.value,
    '{"user":"root","password":"hash of p","roles":["a\\u003cb","root"]}',
  );
  fixture.do("PUT", "/roles/r", { role: "r", permissions: { kv: { read: ["/ü*"] } }, grant: {} });
  assert.equal(
    Buffer.from(store.get("/2/roles/r")?.value ?? "", "latin1").toString(),
    '{"role":"r","permissions":{"kv":{"read":["/ü*"],"write":null}},"grant":{"kv":{"read":null,"write":null}}}',
  );
});

test("two changes of one user at once both count", () => {
  const fixture = new Fixture();
  fixture.do("PUT", "/users/ann", { user: "ann", password: "p" });
  const first = fixture.begin("PUT", "/users/ann", { user: "ann", grant: ["a"] });
  const second = fixture.begin("PUT", "/users/ann", { user: "ann", password: "q", grant: ["b"] });
  first.until("confirm");
  second.until("hash");
  assert.equal(first.finish(), '200 {"user":"ann","roles":["a"]}');
  assert.equal(second.finish(), '200 {"user":"ann","roles":["a","b"]}');
  assert.equal(fixture.state.user("ann")?.hash, "hash of q");
});

test("a user that another change removes meanwhile is not made again", () => {
  const fixture = new Fixture();
  fixture.do("PUT", "/users/ann", { user: "ann", password: "p" });
  const change = fixture.begin("PUT", "/users/ann", { user: "ann", password: "q" });
  change.until("hash");
  fixture.do("DELETE", "/users/ann");
  assert.equal(change.finish(), '404 {"message":"auth: User ann does not exist."}');
  const twice = ["p", "q"].map((password) =>
    fixture.begin("PUT", "/users/bob", { user: "bob", password }),
  );
  for (const one of twice) one.until("hash");
  assert.equal(twice[1]?.finish(), '201 {"user":"bob","roles":null}');
  assert.equal(twice[0]?.finish(), '409 {"message":"auth: User bob already exists."}');
});

test("the first changes of two members may come at the same time", () => {
  const fixture = new Fixture();
  const changes = ["a", "b"].map((role) => fixture.begin("PUT", `/roles/${role}`, { role }));
  for (let n = 0; n < 4; n++) for (const change of changes) change.step();
  for (const change of changes) assert.match(change.finish(), /^201 /);
  assert.ok(fixture.state.lookForRole("a") !== undefined);
});

test("enabling keeps the guest role as it was edited", () => {
  const fixture = new Fixture();
  fixture.do("PUT", "/users/root", { user: "root", password: "p" });
  fixture.do("PUT", "/enable");
  fixture.do("PUT", "/roles/guest", { role: "guest", revoke: { kv: { write: ["/*"] } } });
  fixture.do("DELETE", "/enable");
  assert.equal(fixture.do("PUT", "/enable"), "200");
  assert.deepEqual(fixture.state.lookForRole("guest")?.permissions, { read: ["/*"], write: [] });
});

test("each limit is named in the answer", () => {
  const fixture = new Fixture();
  fixture.do("PUT", "/users/ann", { user: "ann", password: "p" });
  const roles = Array.from({ length: 257 }, (_, i) => `r${i}`);
  const patterns = Array.from({ length: 4097 }, (_, i) => `/${i}`);
  const long = "n".repeat(1025);
  for (const [path, body, message] of [
    ["/users/ann", { user: "ann", grant: roles }, "Too many roles of a user: at most 256"],
    [`/users/${long}`, { user: long, password: "p" }, "The user name is too long: at most 1024"],
    ["/users/b", { user: "b", password: "p".repeat(4097) }, "The password is too long"],
    ["/roles/r", { role: "r", permissions: { kv: { read: patterns } } }, "Too many patterns"],
    [
      "/roles/r",
      { role: "r", permissions: { kv: { read: ["p".repeat(4097)] } } },
      "The pattern is too long: at most 4096 bytes",
    ],
    ["/users/b", " ".repeat(2 ** 20 + 1), "The body is too long: at most 1048576 bytes"],
  ] as const) {
    const answer = fixture.do("PUT", path, body);
    assert.ok(answer.startsWith(`400 {"message":"auth: ${message}`), answer);
  }
  fixture.do("PUT", "/users/ann", { user: "ann", grant: roles.slice(0, 200) });
  const more = fixture.do("PUT", "/users/ann", { user: "ann", grant: roles.slice(200) });
  assert.match(more, /^400 .*Too many roles of a user/);
});

test("values in the store that no one could have written are nobody", () => {
  const fixture = new Fixture();
  fixture.do("PUT", "/users/ann", { user: "ann", password: "p" });
  for (const value of ["{", "[]", '{"user":7}']) {
    const command = commandOf(CommandOp.set, "/2/users/ann", value, NOW_MS);
    const event = fixture.store.apply(command);
    fixture.state.apply(event as Event);
    assert.equal(fixture.state.user("ann"), undefined);
  }
  const restored = new AuthState(() => undefined);
  restored.restoreFrom(fixture.store.cursor());
  assert.equal(restored.user("ann"), undefined);
  assert.ok(restored.has("/2/users"));
});

test("HEAD is not allowed, nor is POST", () => {
  for (const [path, allow] of [
    ["/v2/auth/users", "GET"],
    ["/v2/auth/roles/", "GET"],
    ["/v2/auth/users/ann", "GET,PUT,DELETE"],
    ["/v2/auth/enable", "GET,PUT,DELETE"],
  ] as const) {
    for (const method of [Method.head, Method.post]) {
      const target = authTarget(path, method);
      assert.ok(target.kind === "answer");
      assert.equal(target.answer.head.status, 405);
      assert.equal(target.answer.head.allow, allow);
    }
  }
});
