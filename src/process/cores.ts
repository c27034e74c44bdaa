import { availableParallelism } from "node:os";
import { controlGroupLimits } from "./control-group.js";

const FILES = { controller: "cpu", unified: "cpu.max", own: "cpu.cfs_quota_us" };
/** Of a quota in v1, which almost nobody changes; v2 names it beside the quota. */
const PERIOD_US = 100_000;

/**
 * Cores that this process may use, at least 1: those of its affinity, or the lowest quota of its
 * control group and the group's ancestors, rounded up.
 *
 * @param root parent of /proc and /sys
 */
export function coreCount(root = "/", cores = availableParallelism()): number {
  // "max", or -1, is no quota.
  const quotas = controlGroupLimits(root, FILES).map((text) => {
    const [quota = "", period = PERIOD_US] = text.trim().split(" ");
    return Math.ceil(Number(quota) / Number(period));
  });
  return Math.max(1, Math.min(cores, ...quotas.filter((quota) => quota > 0)));
}
