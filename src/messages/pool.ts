/**
 * Records of the snapshot ring, from the core to the pool: the blocks of one snapshot, then its
 * end.
 */
export const SnapshotType = {
  /** The payload is a block. */
  block: 1,
  /** The snapshot is complete. No payload. */
  end: 2,
} as const;
export type SnapshotType = (typeof SnapshotType)[keyof typeof SnapshotType];
