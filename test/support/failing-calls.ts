import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

/**
 * Loaded into a process under test with `--import`, into each of its threads: lets calls on files fail
 * that a sound disk would carry out. While the file named by FAILING_CALLS exists it says which:
 *
 *   <call> <part of the path> <errno>      "fdatasyncSync .wal EIO"
 */
const orders = process.env.FAILING_CALLS ?? "";

function refuse(call: string, descriptor: number): void {
  let order: string;
  try {
    order = fs.readFileSync(orders, "utf8");
  } catch {
    return; // Nothing is to fail now.
  }
  const [failing, part = "", errno = ""] = order.trim().split(" ");
  if (failing !== call || !fs.readlinkSync(`/proc/self/fd/${descriptor}`).includes(part)) return;
  throw Object.assign(new Error(`${errno}: made to fail, ${call}`), { code: errno });
}

const { fdatasyncSync, writeSync, writevSync } = fs;
fs.fdatasyncSync = (descriptor) => {
  refuse("fdatasyncSync", descriptor);
  fdatasyncSync(descriptor);
};
fs.writeSync = ((...args: Parameters<typeof writeSync>) => {
  refuse("writeSync", args[0]);
  return writeSync(...args);
}) as typeof writeSync;
fs.writevSync = (descriptor, ...rest) => {
  refuse("writeSync", descriptor);
  return writevSync(descriptor, ...rest);
};
syncBuiltinESMExports();
