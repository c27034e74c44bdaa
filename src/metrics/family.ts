/** One metric family of `/metrics`. */
export interface Family {
  readonly kind: "counter" | "gauge" | "histogram";
  readonly name: string;
  /** etcd 2.x's names for the same metric, for old dashboards. */
  readonly aliases?: readonly string[];
  readonly help: string;
  /** All possible values of each label, as cells are laid out up front. */
  readonly labels?: Readonly<Record<string, readonly string[]>>;
  /** A histogram's upper bounds, ascending, without +Inf. */
  readonly bounds?: readonly number[];
  /** Only with `--metrics extensive`. */
  readonly isExtensive?: true;
  /** One series per peer in this table, labelled with the peer's id. */
  readonly peer?: { readonly table: PeerTableName; readonly label: "To" | "From" | "Remote" };
}

/**
 * links: traffic per peer, written by the peer thread. progress: raft progress per peer, written by
 * the core while it leads.
 */
export const PEER_TABLES = ["links", "progress"] as const;
export type PeerTableName = (typeof PEER_TABLES)[number];

/** Upper bounds: `from`, then each twice the one before. */
export const doubling = (from: number, count: number): readonly number[] =>
  Array.from({ length: count }, (_, i) => Number((from * 2 ** i).toPrecision(12)));
