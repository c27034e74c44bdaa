import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { heapLimitsOf, storeLimits } from "#ringd/process/heap.js";
import { memoryBytes } from "#ringd/process/memory.js";

const MIB = 2 ** 20;
const MACHINE = 64 * 1024 * MIB;

function memoryWith(files: Readonly<Record<string, string>>): number {
  const root = mkdtempSync(join(tmpdir(), "ringd-memory-"));
  try {
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, file)), { recursive: true });
      writeFileSync(join(root, file), text);
    }
    return memoryBytes(root, MACHINE);
  } finally {
    rmSync(root, { recursive: true });
  }
}

test("the memory is the machine's, or the lowest limit of the control group and its ancestors", () => {
  assert.equal(memoryWith({}), MACHINE);
  const two = { "proc/self/cgroup": "0::/system.slice/ringd.service\n" };
  const dir = "sys/fs/cgroup/system.slice";
  assert.equal(memoryWith({ ...two, [`${dir}/ringd.service/memory.max`]: "max\n" }), MACHINE);
  assert.equal(
    memoryWith({ ...two, [`${dir}/ringd.service/memory.max`]: "536870912\n" }),
    512 * MIB,
  );
  const both = {
    [`${dir}/memory.max`]: "268435456\n",
    [`${dir}/ringd.service/memory.max`]: "max\n",
  };
  assert.equal(memoryWith({ ...two, ...both }), 256 * MIB);
  const inside = { "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1073741824\n" };
  assert.equal(memoryWith(inside), 1024 * MIB);

  const one = { "proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/docker/ab:c\n0::/\n" };
  const file = "memory.limit_in_bytes";
  const unlimited = { [`sys/fs/cgroup/memory/docker/ab:c/${file}`]: "9223372036854771712\n" };
  assert.equal(memoryWith({ ...one, ...unlimited }), MACHINE);
  assert.equal(memoryWith({ ...one, [`sys/fs/cgroup/memory/${file}`]: "536870912\n" }), 512 * MIB);
  assert.equal(
    memoryWith({ ...one, [`sys/fs/cgroup/memory/docker/ab:c/${file}`]: "0\n" }),
    MACHINE,
  );
});

test("the heaps of the threads fit in the memory", () => {
  for (const mb of [256, 512, 1024, 8192, 65_536]) {
    const core = heapLimitsOf("core", mb * MIB).maxOldGenerationSizeMb ?? 0;
    assert.ok(core >= 64 && core <= Math.max(mb - 256, 64), `${core} of ${mb} MB`);
    const wal = heapLimitsOf("wal", mb * MIB).maxOldGenerationSizeMb ?? 0;
    assert.ok(wal >= 64 && wal <= Math.max(64, mb / 16));
  }
});

test("--quota-backend-bytes: 0 is 70 % of the heap, a positive one as given, a negative one none", () => {
  const heap = (1000 + 24) * MIB; // As V8 reports it: with the young generation.
  const share = storeLimits(0, heap);
  assert.equal(share.quotaBytes, 700 * MIB);
  assert.equal(share.historyBytes, 87.5 * MIB);
  const given = storeLimits(10 * MIB, heap);
  assert.equal(given.quotaBytes, 10 * MIB);
  assert.equal(given.heapBytes, 900 * MIB);
  assert.equal(given.historyBytes, 1.25 * MIB);
  assert.ok(storeLimits(5000 * MIB, heap).heapBytes > 5000 * MIB);
  const none = storeLimits(-1, heap);
  assert.equal(none.quotaBytes, Number.POSITIVE_INFINITY);
  assert.equal(none.historyBytes, share.historyBytes);
});
