import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A limit's file in a unified hierarchy (v2) and in one of its own (v1). */
export interface LimitFiles {
  readonly controller: string;
  readonly unified: string;
  readonly own: string;
}

/**
 * The contents of a limit's files: of this process's control group, of the group's ancestors, and
 * of the root of the mount, which in a container is the container's own group.
 *
 * @param root parent of /proc and /sys
 */
export function controlGroupLimits(root: string, files: LimitFiles): string[] {
  const groups = read(join(root, "proc/self/cgroup")).split("\n");
  return groups.flatMap((line) => {
    const [, controllers = "", ...path] = line.split(":");
    const isUnified = line.startsWith("0::");
    if (!isUnified && !controllers.split(",").includes(files.controller)) return [];
    const names = path.join(":").split("/").filter(Boolean);
    const above = ["", ...names.map((_, i) => names.slice(0, i + 1).join("/"))];
    const [mount, file] = isUnified ? ["", files.unified] : [files.controller, files.own];
    return above.map((group) => read(join(root, "sys/fs/cgroup", mount, group, file)));
  });
}

/** "" if the file is missing or unreadable. */
function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
