/** One metric family as `/metrics` shows it. */
export interface Family {
  readonly kind: "counter" | "gauge" | "histogram";
  readonly name: string;
  /** etcd 2.x's names for the same metric, which old dashboards query. */
  readonly aliases?: readonly string[];
  readonly help: string;
  /** All values each label can take: the cells are laid out before anything is counted. */
  readonly labels?: Readonly<Record<string, readonly string[]>>;
  /** Of a histogram: upper bounds, ascending, without +Inf. */
  readonly bounds?: readonly number[];
  /** One series for each other member in this table; the label is that member's id. */
  readonly peer?: { readonly table: PeerTableName; readonly label: "To" | "From" | "Remote" };
}

/**
 * links: metrics of sending and receiving, written by the peer thread. progress: how far each other
 * member is known to be, written by the core while it leads.
 */
export const PEER_TABLES = ["links", "progress"] as const;
export type PeerTableName = (typeof PEER_TABLES)[number];

/** Upper bounds: `from`, and each the double of the one before. */
export const doubling = (from: number, count: number): readonly number[] =>
  Array.from({ length: count }, (_, i) => Number((from * 2 ** i).toPrecision(12)));
