import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { type LostRange, lostFile, readLost, withoutWritten, writeLost } from "./lost-pages.js";

/**
 * Preloaded with `--import` into each thread of a process under test: makes file calls fail. While
 * the file named by FAILING_CALLS exists, it says which:
 *
 *   <call> <part of the path> <errno>      "fdatasyncSync .wal EIO"
 *   <call> <part of the path> STALL        the call waits until the order is withdrawn
 *
 * Data written before a failed fdatasync stays readable, as in Linux's page cache, and counts as
 * lost until rewritten: see lost-pages.ts.
 */
const STALL_LOOK_MS = 20;
const orders = process.env.FAILING_CALLS ?? "";
/** By path: the disk's content of ranges written since the last fdatasync. */
const unsynced = new Map<string, LostRange[]>();

function pathOf(descriptor: number): string {
  return fs.readlinkSync(`/proc/self/fd/${descriptor}`);
}

function refuse(call: string, descriptor: number): void {
  let order: string;
  try {
    order = fs.readFileSync(orders, "utf8");
  } catch {
    return; // No failures ordered.
  }
  const [failing, part = "", errno = ""] = order.trim().split(" ");
  if (failing !== call || !pathOf(descriptor).includes(part)) return;
  if (errno === "STALL") {
    const cell = new Int32Array(new SharedArrayBuffer(4));
    while (fs.existsSync(orders)) Atomics.wait(cell, 0, 0, STALL_LOOK_MS);
    return;
  }
  if (call === "fdatasyncSync") {
    const path = pathOf(descriptor);
    writeLost(orders, [...readLost(orders), ...(unsynced.get(path) ?? [])]);
    unsynced.delete(path);
  }
  throw Object.assign(new Error(`${errno}: made to fail, ${call}`), { code: errno });
}

/** Call before a write. Keeps the overwritten bytes only while a failure is ordered. */
function note(descriptor: number, at: number, bytes: number): void {
  const isArmed = fs.existsSync(orders);
  if (!isArmed && !fs.existsSync(lostFile(orders))) return;
  const path = pathOf(descriptor);
  if (!path.endsWith(".wal")) return;
  writeLost(orders, withoutWritten(readLost(orders), path, at, bytes));
  if (!isArmed) return;
  const before = Buffer.alloc(bytes);
  fs.readSync(descriptor, before, 0, bytes, at);
  const range = { path, at, bytes: before.toString("base64") };
  unsynced.set(path, [...(unsynced.get(path) ?? []), range]);
}

const { fdatasyncSync, writeSync, writevSync } = fs;
fs.fdatasyncSync = (descriptor) => {
  refuse("fdatasyncSync", descriptor);
  fdatasyncSync(descriptor);
  if (unsynced.size > 0) unsynced.delete(pathOf(descriptor));
};
fs.writeSync = ((...args: Parameters<typeof writeSync>) => {
  const [descriptor, chunk, , length, at] = args as readonly unknown[] as [number, ...unknown[]];
  refuse("writeSync", descriptor);
  if (typeof at === "number" && ArrayBuffer.isView(chunk)) {
    note(descriptor, at, typeof length === "number" ? length : chunk.byteLength);
  }
  return writeSync(...args);
}) as typeof writeSync;
fs.writevSync = (descriptor, chunks, at) => {
  refuse("writeSync", descriptor);
  if (typeof at === "number") {
    const bytes = chunks.reduce((sum, { byteLength }) => sum + byteLength, 0);
    note(descriptor, at, bytes);
  }
  return writevSync(descriptor, chunks, at);
};
syncBuiltinESMExports();
