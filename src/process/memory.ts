import { totalmem } from "node:os";
import { controlGroupLimits } from "./control-group.js";

const FILES = { controller: "memory", unified: "memory.max", own: "memory.limit_in_bytes" };

/**
 * Memory available to this process: the machine's, or the lowest limit of its control group (v1 or
 * v2), the group's ancestors, and the root of the mount, which in a container is the container's
 * own group. `process.constrainedMemory()` misses some of them, depending on Node's version.
 *
 * @param root parent of /proc and /sys
 */
export function memoryBytes(root = "/", machineBytes = totalmem()): number {
  const told = root === "/" ? (process.constrainedMemory?.() ?? 0) : 0;
  const found = controlGroupLimits(root, FILES).map((text) => Number.parseInt(text, 10));
  const limits = [told, ...found.filter(Number.isFinite)];
  // "No limit" reads as 0, "max", or a number near 2^63 or 2^64.
  return limits.reduce(
    (least, bytes) => (bytes > 0 && bytes < least ? bytes : least),
    machineBytes,
  );
}
