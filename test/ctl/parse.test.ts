import assert from "node:assert/strict";
import { test } from "node:test";
import { COMMANDS } from "#ringd/ctl/cli/commands.js";
import { readInvocation } from "#ringd/ctl/cli/invocation.js";
import type { CommandSpec } from "#ringd/ctl/cli/spec.js";
import { loaderOf } from "#ringd/ctl/commands/implementations.js";

function parse(line: string) {
  const invocation = readInvocation(line.split(" "));
  assert.equal(invocation.kind, "run", line);
  return invocation as Extract<typeof invocation, { kind: "run" }>;
}

test("every command of the table has an implementation, and groups have none", async () => {
  const paths = (commands: readonly CommandSpec[], path: readonly string[]): string[][] =>
    commands.flatMap(({ name, subcommands }) =>
      subcommands === undefined ? [[...path, name]] : paths(subcommands, [...path, name]),
    );
  for (const path of paths(COMMANDS, [])) {
    const load = loaderOf(path);
    assert.ok(load !== undefined, path.join(" "));
    assert.equal(typeof (await load()), "function", path.join(" "));
  }
  for (const path of [["member"], ["constructor"], []]) assert.equal(loaderOf(path), undefined);
});

test("values are the last ones given, else the defaults", () => {
  const { globals, flags, args } = parse(
    "--output json --timeout=1.5s -output extended set -ttl 0x10 -- /k -v",
  );
  assert.equal(globals.string("output"), "extended");
  assert.equal(globals.durationMs("timeout"), 1500);
  assert.equal(globals.durationMs("total-timeout"), 5000);
  assert.equal(globals.string("username"), "");
  assert.equal(flags.int("ttl"), 16n);
  assert.equal(flags.int("swap-with-index"), 0n);
  assert.deepEqual(args, ["/k", "-v"]);
});

test("a boolean set to false once is false, and an alias is the flag itself", () => {
  assert.equal(parse("--no-sync --debug=false get -q k").globals.bool("no-sync"), true);
  assert.equal(parse("--debug=false --debug get k").globals.bool("debug"), false);
  assert.equal(parse("get k -q").flags.bool("quorum"), true);
  assert.equal(parse("get k").flags.bool("quorum"), false);
});

test("a flag that may be repeated keeps all its values, in order", () => {
  const { flags, path } = parse("user grant --roles a u --roles=b");
  assert.deepEqual(
    [path, flags.strings("roles")],
    [
      ["user", "grant"],
      ["a", "b"],
    ],
  );
  assert.deepEqual(parse("user grant u").flags.strings("roles"), []);
});

test("exec-watch keeps the separator between its key and its command", () => {
  assert.deepEqual(parse("exec-watch -r /k -- ls -l").args, ["/k", "--", "ls", "-l"]);
});
