import { readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { join } from "node:path";

/**
 * Memory that this process may take: the machine's, or less where a control group (version 1 or 2)
 * has a limit. Those above the process's own count too, and what stands at the root of the mount,
 * which inside of a container is the container's own. `process.constrainedMemory()` knows some of
 * them, depending on the version of Node.
 *
 * @param root where /proc and /sys are
 */
export function memoryBytes(root = "/", machineBytes = totalmem()): number {
  const told = root === "/" ? (process.constrainedMemory?.() ?? 0) : 0;
  const limits = [told, ...controlGroupLimits(root)];
  // No limit is 0, "max", or a number near 2^63 or 2^64.
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

/** "" where there is no such file, or it is not for us to read. */
function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
