import { readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { join } from "node:path";

/**
 * Memory available to this process: the machine's, or the lowest limit of its control group (v1 or
 * v2), the group's ancestors, and the root of the mount, which in a container is the container's
 * own group. `process.constrainedMemory()` misses some of them, depending on Node's version.
 *
 * @param root parent of /proc and /sys
 */
export function memoryBytes(root = "/", machineBytes = totalmem()): number {
  const told = root === "/" ? (process.constrainedMemory?.() ?? 0) : 0;
  const limits = [told, ...controlGroupLimits(root)];
  // "No limit" reads as 0, "max", or a number near 2^63 or 2^64.
  return limits.reduce(
    (least, bytes) => (bytes > 0 && bytes < least ? bytes : least),
    machineBytes,
  );
}

function controlGroupLimits(root: string): number[] {
  const groups = read(join(root, "proc/self/cgroup")).split("\n");
  const files = groups.flatMap((line) => {
    const [, controllers = "", ...path] = line.split(":");
    const isUnified = line.startsWith("0::");
    if (!isUnified && !controllers.split(",").includes("memory")) return [];
    const names = path.join(":").split("/").filter(Boolean);
    const above = ["", ...names.map((_, i) => names.slice(0, i + 1).join("/"))];
    return above.flatMap((group) =>
      isUnified
        ? [join("sys/fs/cgroup", group, "memory.max")]
        : [join("sys/fs/cgroup/memory", group, "memory.limit_in_bytes")],
    );
  });
  return files.map((file) => Number.parseInt(read(join(root, file)), 10)).filter(Number.isFinite);
}

/** "" if the file is missing or unreadable. */
function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
