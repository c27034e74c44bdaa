import { readFileSync } from "node:fs";
import { RingdError } from "../lib/errors.js";

/**
 * Reserved for log, snapshots, peers and Node itself, as in etcd (embed/etcd.go,
 * reservedInternalFDNum).
 */
const RESERVED_DESCRIPTORS = 150;

export class DescriptorLimitError extends RingdError {
  override readonly name = "DescriptorLimitError";
  readonly code = "DESCRIPTOR_LIMIT";

  constructor(limit: number) {
    super(
      `file descriptor limit[${limit}] of ringd process is too low, ` +
        `and should be set higher than ${RESERVED_DESCRIPTORS} to ensure internal usage`,
    );
  }
}

/** @throws DescriptorLimitError if none would be left for clients */
export function checkFileDescriptorLimit(): void {
  const limit = fileDescriptorLimit();
  if (limit > 0 && limit <= RESERVED_DESCRIPTORS) throw new DescriptorLimitError(limit);
}

/** Limit of client connections for each of `frontends` threads. */
export function connectionsMax(frontends: number): number {
  const limit = fileDescriptorLimit();
  if (limit === 0) return Number.POSITIVE_INFINITY;
  return Math.max(1, Math.floor((limit - RESERVED_DESCRIPTORS) / frontends));
}

/** Soft limit of open files, which Node raises to the hard limit at start; 0 if unknown. */
export function fileDescriptorLimit(): number {
  try {
    const limits = readFileSync("/proc/self/limits", "utf8");
    return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? 0);
  } catch {
    return 0;
  }
}
