import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type Command, CommandOp, commandOf } from "#ringd/store/command.js";
import { SnapshotEncoder } from "#ringd/store/snapshot.js";
import { Store } from "#ringd/store/store.js";
import { ByteWriter } from "#ringd/v2/byte-writer.js";
import { Listing } from "#ringd/v2/listing.js";
import { run } from "./lib/lifetime.js";
import { figure, table } from "./lib/table.js";
import { VALUE } from "./lib/workload.js";

/**
 * What does the store itself cost, without log, rings and sockets? CPU microseconds per operation
 * on a tree of a million keys, bytes of heap per key, and what a watch adds to a write.
 *
 *   node dist/bench/store.js [keys, default 1000000] [--only TEXT]
 */
const KEYS_PER_DIRECTORY = 1000;
const WATCHERS = 5000;
const RUN_MS = 700;
const WARMUP_MS = 150;
/** Step through the keys: prime, so every key is visited, and consecutive ones are far apart. */
const STRIDE = 387_007;

const args = process.argv.slice(2);
const only = args.includes("--only") ? (args[args.indexOf("--only") + 1] ?? "") : "";
const keys = Number(args.find((arg) => /^\d+$/.test(arg)) ?? 1_000_000);

function pathOf(key: number): string {
  return `/1/bench/dir-${Math.floor(key / KEYS_PER_DIRECTORY)}/key-${key % KEYS_PER_DIRECTORY}`;
}

function command(op: CommandOp, path: string, value: string): Command {
  return commandOf(op, path, value, 1_700_000_000_000);
}

const rows: string[][] = [];

function addRow(name: string, value: number, unit: string, note = ""): void {
  rows.push([name, figure(value), unit, note]);
}

/** CPU of the whole process in microseconds: other programs on the machine do not count. */
function cpuMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/**
 * Calls `operation(n)` for n = 0, 1, ... for the duration of a measurement. @returns CPU
 * microseconds per call
 */
function time(operation: (n: number) => void): number {
  let n = 0;
  const until = (ms: number) => {
    const startedMs = performance.now();
    const startedMicros = cpuMicros();
    const first = n;
    while (performance.now() - startedMs < ms) {
      for (let i = 0; i < 16; i++) operation(n++);
    }
    return (cpuMicros() - startedMicros) / (n - first);
  };
  until(WARMUP_MS);
  return until(RUN_MS);
}

function perOperation(name: string, operation: (n: number) => void, note = ""): void {
  if (name.includes(only)) addRow(name, time(operation), "us", note);
}

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

function heapBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

function filled(): Store {
  const before = heapBytes();
  const store = new Store();
  const startedMicros = cpuMicros();
  for (let n = 0; n < keys; n++) {
    // A separate string for each key, as decoding a request makes one.
    const value = Buffer.from(VALUE, "latin1").latin1Slice(0, VALUE.length);
    store.apply(command(CommandOp.set, pathOf((n * STRIDE) % keys), value));
  }
  addRow("set, new key", (cpuMicros() - startedMicros) / keys, "us", "in random order");
  const content = pathOf(keys / 2).length + VALUE.length;
  const note = `${content} of them path and value`;
  addRow("heap per key", (heapBytes() - before) / keys, "bytes", note);
  return store;
}

function measureKeys(store: Store): void {
  const anyPath = (n: number) => pathOf((n * STRIDE) % keys);
  perOperation("get", (n) => store.read(anyPath(n)));
  perOperation("get, no such key", (n) => store.read(`${anyPath(n)}x`));
  perOperation("set, existing key", (n) => store.apply(command(CommandOp.set, anyPath(n), VALUE)));
  perOperation("set, same key", () => store.apply(command(CommandOp.set, pathOf(0), VALUE)));
  perOperation("compareAndSwap", (n) =>
    store.apply({ ...command(CommandOp.compareAndSwap, anyPath(n), VALUE), prevValue: VALUE }),
  );
  perOperation(
    "create and delete",
    (n) => {
      store.apply(command(CommandOp.create, `${anyPath(n)}x`, VALUE));
      store.apply(command(CommandOp.delete, `${anyPath(n)}x`, ""));
    },
    "both",
  );
  perOperation("createInOrder", () =>
    store.apply(command(CommandOp.createInOrder, "/1/queue", VALUE)),
  );
  let view = store.view();
  perOperation(
    "set, after each a view",
    (n) => {
      store.apply(command(CommandOp.set, anyPath(n), VALUE));
      view = store.view();
    },
    `copies pages; ${view.size} nodes`,
  );
}

function measureListing(store: Store): void {
  const body = new ByteWriter();
  const list = (path: string, isRecursive: boolean) => {
    const directory = store.get(path);
    if (directory === undefined) throw new Error(`Cannot list ${path}: there is no such directory`);
    body.clear();
    new Listing(directory, store.cursor(), isRecursive, 0).next(body, Number.POSITIVE_INFINITY);
    return body.length;
  };
  const name = `list ${KEYS_PER_DIRECTORY} keys`;
  const directories = keys / KEYS_PER_DIRECTORY;
  perOperation(name, (n) => list(`/1/bench/dir-${(n * 7) % directories}`, false));
  if (!"slice".includes(only)) return;
  const listing = new Listing(
    store.get("/1/bench") ?? raise("the directory is there"),
    store.view().cursor(""),
    true,
    0,
  );
  const sliceMs: number[] = [];
  let bytes = 0;
  for (let isEnd = false; !isEnd; ) {
    body.clear();
    const startedMs = performance.now();
    isEnd = listing.next(body, 64 * 1024);
    sliceMs.push(performance.now() - startedMs);
    bytes += body.length;
  }
  const totalMs = sliceMs.reduce((sum, ms) => sum + ms, 0);
  sliceMs.sort((a, b) => a - b);
  addRow("list all keys", totalMs, "ms", `${figure(bytes / 1e6)} MB`);
  addRow("  slice of 64 KiB, p99", quantile(sliceMs, 0.99) * 1000, "us");
  addRow("  slice of 64 KiB, longest", quantile(sliceMs, 1) * 1000, "us");
}

function measureSnapshot(store: Store): void {
  if (!"snapshot".includes(only)) return;
  const encoder = new SnapshotEncoder(store);
  const blockMs: number[] = [];
  let bytes = 0;
  for (;;) {
    const startedMs = performance.now();
    const block = encoder.next();
    blockMs.push(performance.now() - startedMs);
    if (block === undefined) break;
    bytes += block.length;
  }
  const totalMs = blockMs.reduce((sum, ms) => sum + ms, 0);
  blockMs.sort((a, b) => a - b);
  addRow("encode a snapshot", totalMs, "ms", `${figure(bytes / 1e6)} MB`);
  addRow("  block, longest", quantile(blockMs, 1) * 1000, "us");
}

/** Each with its own store, as a watch ends with its event. */
function measureWatches(): void {
  const store = new Store();
  const watched = "/1/bench/dir-0/key-0";
  const watch = (watcherId: number, path: string, isStream: boolean, isRecursive = false) =>
    store.hub.add(
      { watcherId, path, isRecursive, isStream, sinceIndex: store.index + 1 },
      store.index,
    );
  const set = () => {
    store.apply(command(CommandOp.set, watched, VALUE));
    return store.hub.takeDeliveries();
  };
  perOperation("set, nobody watches", set);
  perOperation("open and close a watch", (n) => {
    watch(n, `/1/elsewhere/${n % KEYS_PER_DIRECTORY}`, false);
    store.hub.remove(n);
  });
  for (let id = 0; id < WATCHERS; id++) watch(id, `/1/elsewhere/${id}`, false);
  perOperation(`set, ${WATCHERS} watch other keys`, set);
  for (const id of store.hub.clear()) store.hub.remove(id);
  for (let id = 0; id < WATCHERS; id++) watch(id, watched, true);
  perOperation(`set, ${WATCHERS} streams on the key`, set, "one delivery");
  store.hub.clear();
  for (let id = 0; id < WATCHERS; id++) watch(id, "/1/bench", true, true);
  perOperation(`set, ${WATCHERS} streams on a parent`, set, "one delivery");
  store.hub.clear();
  perOperation(
    `${WATCHERS} long polls: open, set, told`,
    () => {
      for (let id = 0; id < WATCHERS; id++) watch(id, watched, false);
      set();
    },
    "all three",
  );
}

function quantile(ascending: readonly number[], q: number): number {
  return ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * q))] ?? 0;
}

function raise(message: string): never {
  throw new Error(message);
}

async function main(): Promise<void> {
  const store = filled();
  measureKeys(store);
  measureListing(store);
  measureSnapshot(store);
  measureWatches();
  process.stdout.write(`${keys} keys of ${VALUE.length} bytes, Node ${process.versions.node}\n\n`);
  process.stdout.write(`${table(["store", "figure", "unit", ""], rows)}\n`);
}

await run(main);
