/** A member as the cluster's other members list it, or as --initial-cluster names it. */
export interface StartMember {
  readonly id: bigint;
  /** "" where it is not known yet. */
  readonly name: string;
  readonly peerUrls: readonly string[];
}

/**
 * How a member begins. Made before the threads start; what the data directory holds comes first, so of
 * a plan only `forceNewCluster` has a meaning once there is a log.
 */
export interface StartPlan {
  /** `found`: `members` are the first of a new cluster. `join`: they run already, and expect this one. */
  readonly kind: "found" | "join";
  readonly memberId: bigint;
  readonly clusterId: bigint;
  /** This member included. */
  readonly members: readonly StartMember[];
}
