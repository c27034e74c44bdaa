import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";

const ROOT = new URL("../../", import.meta.url).pathname;
const SRC = join(ROOT, "src");

/** Allowed imports between folders; every folder may import itself. Imports point one way. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  program: ["config", "ctl", "discovery", "lib", "process", "proxy", "thread", "v2", "wal"],
  proxy: "bootstrap config discovery frontend go lib log metrics process storage tls wal".split(
    " ",
  ),
  thread:
    "bootstrap cluster config discovery frontend lib log member messages metrics peer process raft ring snap storage store tls v2 wal".split(
      " ",
    ),
  member:
    "auth bootstrap cluster config go lib log messages metrics process raft ring snap store v2".split(
      " ",
    ),
  peer: "cluster config go lib log messages process raft ring snap storage tls v2".split(" "),
  frontend: ["config", "lib", "log", "messages", "metrics", "process", "ring", "tls", "v2"],
  tls: ["config", "lib", "log", "metrics", "process"],
  wal: ["go", "lib", "log", "messages", "metrics", "ring", "snap", "storage"],
  snap: ["lib", "messages", "ring", "storage"],
  messages: ["bootstrap", "config", "lib", "log", "metrics", "process", "raft", "ring", "v2"],
  bootstrap: ["cluster", "config", "go", "lib", "tls"],
  discovery: ["config", "go", "lib"],
  ctl: "bootstrap btree client cluster config etcd go lib messages process raft snap storage store v2 wal".split(
    " ",
  ),
  etcd: ["btree", "cluster", "go", "lib", "storage", "store"],
  client: ["go", "lib"],
  config: ["cluster", "go", "lib", "process"],
  log: ["config", "lib", "process"],
  auth: ["btree", "go", "lib", "store", "v2"],
  v2: ["btree", "cluster", "go", "lib", "store"],
  cluster: ["btree", "go", "lib", "raft", "store"],
  store: ["btree", "lib"],
  btree: ["lib"],
  metrics: ["lib"],
  process: ["lib"],
  raft: ["lib"],
  ring: ["lib"],
  storage: ["lib"],
  go: ["lib"],
  lib: [],
};
/** Subfolders, and the imports allowed between them. Files beside the subfolders may import all. */
const ROOMS: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  ctl: { commands: ["cli", "migrate", "output"], migrate: ["output"], cli: ["output"], output: [] },
};
/** Pure: values in, values out. */
const PURE = ["auth", "btree", "cluster", "go", "lib", "raft", "ring", "store", "v2"];
const IMPURE =
  /from "node:|\bDate\.|new Date\b|\bMath\.random\b|\bset(Timeout|Interval|Immediate)\(|\bprocess\.|\bperformance\./;

const files = readdirSync(SRC, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => ({
    file,
    folder: file.split("/")[0] ?? "",
    text: readFileSync(join(SRC, file), "utf8"),
  }));

/** Specifiers of imported files, also of `import()`. */
function imported(text: string): string[] {
  return [...text.matchAll(/(?:\bfrom |\bimport |\bimport\()"(\.[^"]*)"/g)].map(
    ([, path = ""]) => path,
  );
}

test("imports between folders point one way", () => {
  const wrong: string[] = [];
  for (const { file, folder, text } of files) {
    for (const path of imported(text)) {
      const [target = ""] = join(dirname(file), path).split("/");
      if (target !== folder && !MAY_IMPORT[folder]?.includes(target)) {
        wrong.push(`${file} imports ${target}`);
      }
    }
  }
  assert.deepEqual(wrong, []);
  assert.ok(files.length > 50);
});

test("imports between subfolders point one way", () => {
  const wrong: string[] = [];
  for (const { file, folder, text } of files) {
    const rooms = ROOMS[folder];
    if (rooms === undefined) continue;
    const [, room = ""] = /^[^/]+\/([^/]+)\//.exec(file) ?? [];
    if (room !== "") assert.ok(rooms[room] !== undefined, `${file} is in a room that has no rules`);
    for (const path of imported(text)) {
      const [top, target, ...rest] = join(dirname(file), path).split("/");
      if (top !== folder || room === "" || target === room) continue;
      // A subfolder must not import the files beside it.
      if (rest.length === 0 || !rooms[room]?.includes(target ?? "")) {
        wrong.push(`${file} imports ${path}`);
      }
    }
  }
  assert.deepEqual(wrong, []);
});

test("there are no import cycles, at load or with import()", () => {
  const targets = new Map(
    files.map(({ file, text }) => {
      const from = [
        ...text.matchAll(/^(?:import|export|\}).*? from "(\.[^"]*)\.js";$/gm),
        ...text.matchAll(/\bimport\("(\.[^"]*)\.js"\)/g),
      ];
      return [file, from.map(([, path = ""]) => `${join(dirname(file), path)}.ts`)] as const;
    }),
  );
  const done = new Set<string>();
  const visit = (file: string, trail: readonly string[]): void => {
    const at = trail.indexOf(file);
    assert.equal(at, -1, `a circle: ${[...trail.slice(at), file].join(" imports ")}`);
    if (done.has(file)) return;
    for (const target of targets.get(file) ?? []) visit(target, [...trail, file]);
    done.add(file);
  };
  for (const file of targets.keys()) visit(file, []);
  assert.ok(targets.get("thread/main.ts")?.includes("config/config.ts"));
});

test("pure folders use no clock, no randomness and no I/O", () => {
  const impure = files
    .filter(({ folder }) => PURE.includes(folder))
    .filter(({ text }) => IMPURE.test(text.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "")))
    .map(({ file }) => file);
  assert.deepEqual(impure, []);
});

test("every record of a ring has a dispatcher that knows its type", () => {
  const dispatchers = files.filter(({ folder }) => folder !== "messages");
  const isSomewhere = (what: RegExp) => dispatchers.some(({ text }) => what.test(text));
  const records = files
    .filter(({ folder }) => folder === "messages")
    .flatMap(({ text }) => [
      ...text.matchAll(/^export const (\w+Type) = \{\n([\s\S]*?)^\} as const;$/gm),
    ]);
  const missing: string[] = [];
  for (const [, name = "", body = ""] of records) {
    const members = [...body.matchAll(/^ {2}(\w+): (\d+),$/gm)];
    assert.ok(members.length > 0, `${name} has members`);
    const numbers = new Set(members.map(([, , number]) => number));
    assert.equal(numbers.size, members.length, `the numbers of ${name} differ`);
    // With the union of its types, `unreachable` makes the compiler see a case that is missing.
    if (!isSomewhere(new RegExp(`\\b(?:withCursor|OnCursor)<${name}>`))) missing.push(name);
    for (const [, member] of members) {
      if (!isSomewhere(new RegExp(`\\bcase ${name}\\.${member}:`)))
        missing.push(`${name}.${member}`);
    }
  }
  assert.deepEqual(missing, []);
  assert.ok(records.length >= 8);
});

/** The client library's types are a server's as its users see them, and have the same names. */
const LIBRARY = "client";

test("an exported name means one thing", () => {
  const places = new Map<string, string[]>();
  const exported =
    /^export (?:abstract |async )*(?:class|interface|type|const|function\*?) (\w+)/gm;
  for (const { file, folder, text } of files) {
    if (folder === LIBRARY) continue;
    // A constant and the type of its values share a name in one file.
    for (const name of new Set([...text.matchAll(exported)].map(([, found = ""]) => found))) {
      places.set(name, [...(places.get(name) ?? []), file]);
    }
  }
  const twice = [...places].filter(([, all]) => all.length > 1);
  assert.deepEqual(twice, []);
  assert.ok(places.size > 500);
});

test("a comment ends at column 100", () => {
  const long = files.flatMap(({ file, text }) =>
    text
      .split("\n")
      .filter((line) => line.length > 100 && /^\s*(?:\/\/|\/?\*)/.test(line))
      .filter((line) => !line.includes("biome-ignore"))
      .map((line) => `${file}: ${line.trim()}`),
  );
  assert.deepEqual(long, []);
});

test("the files that src/README.md names are there", () => {
  const text = readFileSync(join(SRC, "README.md"), "utf8");
  const names = [...text.matchAll(/`((?:[a-z0-9-]+\/)?[a-z0-9-]+\.ts)`/g)].map(
    ([, name = ""]) => name,
  );
  const missing = names.filter(
    (name) => !files.some(({ file }) => `/${file}`.endsWith(`/${name}`)),
  );
  assert.deepEqual(
    missing.filter((name) => !name.startsWith("test/")),
    [],
  );
  assert.ok(names.length > 50);
});

test("a file fits in one's head", () => {
  const long = files
    .filter(({ text }) => text.trimEnd().split("\n").length > 450)
    .map(({ file }) => file);
  assert.deepEqual(long, []);
});

test("the top level holds the expected files only", () => {
  const allowed = new Set(
    "package.json package-lock.json tsconfig.json src bench test Dockerfile README.md LICENSE".split(
      " ",
    ),
  );
  const made = new Set(["node_modules", "dist", "bench-results"]);
  const extra = readdirSync(ROOT).filter(
    (name) =>
      !name.startsWith(".") && !name.endsWith(".etcd") && !allowed.has(name) && !made.has(name),
  );
  assert.deepEqual(extra, []);
});

/** Failed checks of uWebSockets.js, which their callers catch at once. */
const MAY_THROW_ERROR = ["frontend/uws-calibration.ts", "frontend/uws-self-test.ts"];
/** Two listeners, two folders that may not import one another; the same for an operator. */
const SHARED_CODES = ["LISTEN_FAILED"];

test("every error has a class, and every class a code of its own", () => {
  const bare = files.filter(({ text }) => /\bnew Error\(/.test(text)).map(({ file }) => file);
  assert.deepEqual(
    bare.filter((file) => !MAY_THROW_ERROR.includes(file)),
    [],
  );
  const fileOf = new Map<string, string>();
  for (const { file, text } of files) {
    for (const [, code = ""] of text.matchAll(
      /^ {2}(?:override )?readonly code(?:: string)? = "([^"]+)";$/gm,
    )) {
      if (SHARED_CODES.includes(code)) continue;
      assert.equal(fileOf.get(code), undefined, `${code} is also an error of ${file}`);
      fileOf.set(code, file);
    }
  }
  assert.ok(fileOf.size > 20);
});

test("the README of the tests names every folder of tests", () => {
  const text = readFileSync(join(ROOT, "test/README.md"), "utf8");
  const folders = readdirSync(join(ROOT, "test"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  const unnamed = folders.filter(
    (name) => !text.includes(`\`${name}\``) && !text.includes(`\`${name}/`),
  );
  assert.deepEqual(unnamed, []);
});

/** Set by the tests themselves for their children, or by the system. */
const OWN_VARIABLES: ReadonlySet<string> = new Set(
  "DYING_THREADS FAILING_CALLS TEST_WALL_CLOCK NODE_OPTIONS NOTIFY_SOCKET PATH".split(" "),
);

test("the README of the tests names every variable that changes a test", () => {
  const text = readFileSync(join(ROOT, "test/README.md"), "utf8");
  const read = readdirSync(join(ROOT, "test"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .flatMap((file) => [
      ...readFileSync(join(ROOT, "test", file), "utf8").matchAll(/process\.env\.([A-Z_]+)/g),
    ])
    .map(([, name = ""]) => name);
  const unnamed = new Set(read.filter((name) => !OWN_VARIABLES.has(name) && !text.includes(name)));
  assert.deepEqual([...unnamed], []);
});
