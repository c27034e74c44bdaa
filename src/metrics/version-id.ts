const PART_BITS = 16n;
const PART_MASK = (1n << PART_BITS) - 1n;

/**
 * Packs "3.4.0" into a number, so a metrics cell can carry the cluster version from the core to the
 * main thread.
 *
 * @returns 0 for "" and for texts that are not a version
 */
export function packVersion(version: string): bigint {
  const parts = /^(\d{1,4})\.(\d{1,4})\.(\d{1,4})$/.exec(version)?.slice(1) ?? [];
  return parts.reduce((packed, part) => (packed << PART_BITS) | BigInt(part), 0n);
}

/** @returns "" for 0 */
export function unpackVersion(packed: bigint): string {
  if (packed === 0n) return "";
  const part = (shift: bigint) => (packed >> shift) & PART_MASK;
  return `${part(2n * PART_BITS)}.${part(PART_BITS)}.${part(0n)}`;
}
