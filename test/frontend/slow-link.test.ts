import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { PLAIN_KINDS } from "./harness.js";

const child = new URL("slow-link-child.js", import.meta.url).pathname;

/** A separate network in which a socket accepts little at a time, or all and then nothing. */
const SETUP = [
  "ip link set lo mtu 1500",
  "ip link set lo up",
  "echo '4096 16384 65536' > /proc/sys/net/ipv4/tcp_wmem",
  "echo '4096 65536 65536' > /proc/sys/net/ipv4/tcp_rmem",
].join(" && ");

const canHave = spawnSync("unshare", ["-n", "sh", "-c", SETUP]).status === 0;

for (const kind of PLAIN_KINDS) {
  test(`${kind}: responses of all sizes arrive whole at a client that reads with pauses`, {
    skip: canHave ? false : "needs root, unshare and ip",
  }, () => {
    const command = `${SETUP} && exec "$0" "$@"`;
    const args = ["-n", "sh", "-c", command, process.execPath, child, kind];
    const run = spawnSync("unshare", args, { encoding: "utf8" });
    assert.equal(run.status, 0, run.stderr);
    assert.equal(run.stdout, `${kind}: 200 answers\n`);
  });
}
