import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { coreCount } from "#ringd/process/cores.js";

function coresWith(files: Readonly<Record<string, string>>): number {
  const root = mkdtempSync(join(tmpdir(), "ringd-cores-"));
  try {
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, file)), { recursive: true });
      writeFileSync(join(root, file), text);
    }
    return coreCount(root, 16);
  } finally {
    rmSync(root, { recursive: true });
  }
}

test("the cores are the affinity's, or the lowest quota of the control group and its ancestors", () => {
  assert.equal(coresWith({}), 16);
  const two = { "proc/self/cgroup": "0::/a/b\n" };
  assert.equal(coresWith({ ...two, "sys/fs/cgroup/a/b/cpu.max": "max 100000\n" }), 16);
  assert.equal(coresWith({ ...two, "sys/fs/cgroup/a/b/cpu.max": "150000 100000\n" }), 2);
  assert.equal(coresWith({ ...two, "sys/fs/cgroup/a/cpu.max": "200000 50000\n" }), 4);
  assert.equal(coresWith({ ...two, "sys/fs/cgroup/cpu.max": "1000 100000\n" }), 1);
  const one = { "proc/self/cgroup": "4:cpu,cpuacct:/docker/ab\n0::/\n" };
  assert.equal(coresWith({ ...one, "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n" }), 16);
  assert.equal(
    coresWith({ ...one, "sys/fs/cgroup/cpu/docker/ab/cpu.cfs_quota_us": "300000\n" }),
    3,
  );
});
