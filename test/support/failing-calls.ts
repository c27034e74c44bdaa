import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { type LostRange, lostFile, readLost, withoutWritten, writeLost } from "./lost-pages.js";

/**
 * Loaded into a process under test with `--import`, into each of its threads: lets calls on files
 * fail that a sound disk would carry out. While the file named by FAILING_CALLS exists it says
 * which:
 *
 *   <call> <part of the path> <errno>      "fdatasyncSync .wal EIO"
 *
 * What was written before an fdatasync that fails stays readable, as in the page cache of Linux,
 * and is noted as lost until it is written again: see lost-pages.ts.
 */
const orders = process.env.FAILING_CALLS ?? "";
/** By path: what the disk holds where something was written since the last fdatasync. */
const unsynced = new Map<string, LostRange[]>();

function pathOf(descriptor: number): string {
  return fs.readlinkSync(`/proc/self/fd/${descriptor}`);
}

function refuse(call: string, descriptor: number): void {
  let order: string;
  try {
    order = fs.readFileSync(orders, "utf8");
  } catch {
    return; // Nothing is to fail now.
  }
  const [failing, part = "", errno = ""] = order.trim().split(" ");
  if (failing !== call || !pathOf(descriptor).includes(part)) return;
  if (call === "fdatasyncSync") {
    const path = pathOf(descriptor);
    writeLost(orders, [...readLost(orders), ...(unsynced.get(path) ?? [])]);
    unsynced.delete(path);
  }
  throw Object.assign(new Error(`${errno}: made to fail, ${call}`), { code: errno });
}

/** Before a write. What it is written over is kept only while a failure is ordered. */
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
