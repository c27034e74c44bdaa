import { assert } from "../lib/assert.js";
import { ETCD_FAMILIES, HTTP_CODES, HTTP_METHODS } from "./etcd-families.js";
import { type Family, PEER_TABLES, type PeerTableName } from "./family.js";
import { HTTP_REQUEST_CODES, HTTP_REQUEST_ROUTES, RINGD_FAMILIES } from "./ringd-families.js";

export { HTTP_REQUEST_CODES, HTTP_REQUEST_ROUTES };

/**
 * Every family whose cells threads write. A family may be written by several threads: the sum of
 * their cells is shown, so a gauge has either one writer or a sum that means something.
 */
export const FAMILIES = { ...ETCD_FAMILIES, ...RINGD_FAMILIES };

export type FamilyKey = keyof typeof FAMILIES;
export type HttpMethod = (typeof HTTP_METHODS)[number];
/** Why a connection ended without a request, where that is known. */
export const UNSERVED_REASONS = FAMILIES.frontendUnserved.labels.reason;
/** Other members with metrics of their own; those of any more are not shown. */
export const PEER_SLOTS = 31;

type Families = typeof FAMILIES;
/** Families with a series for each other member. */
export type PeerFamilyKey = {
  [K in FamilyKey]: Families[K] extends { readonly peer: unknown } ? K : never;
}[FamilyKey];
/**
 * Numbers of 64 bits that a thread publishes beside its metrics; not shown on `/metrics`. The
 * cluster's version is packed into one by version-id.ts.
 */
const IDS = ["lead", "vote", "clusterVersion"] as const;
export type IdName = (typeof IDS)[number];

/** One series: a family with one value for each of its labels. */
export interface Series {
  readonly labels: Readonly<Record<string, string>>;
  /** First of its cells. */
  readonly cell: number;
}

/**
 * Where each series lies in a part of Float64 cells. A counter or gauge is one cell. A histogram is
 * its sum, then one count for each bound, not cumulative, and one for values above all bounds:
 *
 *   | sum | <= bounds[0] | <= bounds[1] | ... | above |
 *
 * A family with a series for each other member has such cells for each slot, and for one slot after
 * the last, which counts for members without a slot and is not shown. An id is two cells: its upper
 * and its lower 32 bits.
 */
const LAYOUT = layOut();

export const CELLS_PER_PART = LAYOUT.cells;

/** Bounds by the first cell of a histogram. */
export const BOUNDS_OF_CELL: readonly (Float64Array | undefined)[] = LAYOUT.bounds;

export function seriesOf(key: FamilyKey): readonly Series[] {
  return LAYOUT.series.get(key) ?? [];
}

/**
 * The cell of one series, for `MetricCells`. Look it up once, when a module loads.
 *
 * @param labels one value for each label, in the order of the table
 */
export function cellOf(key: FamilyKey, ...labels: readonly string[]): number {
  const wanted = labels.join("\n");
  const found = seriesOf(key).find((series) => Object.values(series.labels).join("\n") === wanted);
  assert(found !== undefined, `the labels of ${key} are in its table`);
  return found.cell;
}

/** The first cell of a peer's metric. @param slot 0 .. PEER_SLOTS */
export function slotCellOf(key: PeerFamilyKey, slot: number): number {
  assert(slot >= 0 && slot <= PEER_SLOTS, "there is such a slot");
  const base = LAYOUT.slotted.get(key);
  assert(base !== undefined, "the family has a table of peers");
  return base + slot * cellsOf(FAMILIES[key]);
}

/** The cells of the id of a slot's peer; 0 without one. @param slot 0 .. PEER_SLOTS - 1 */
export function idCellOfSlot(table: PeerTableName, slot: number): number {
  assert(slot >= 0 && slot < PEER_SLOTS, "there is such a slot for a peer");
  return LAYOUT.slotIds + (PEER_TABLES.indexOf(table) * PEER_SLOTS + slot) * 2;
}

export function idCellOf(name: IdName): number {
  return LAYOUT.ids + IDS.indexOf(name) * 2;
}

/** First cells and lengths of all metrics of a slot. */
export function slotRanges(table: PeerTableName, slot: number): { cell: number; cells: number }[] {
  return [...LAYOUT.slotted.keys()]
    .filter((key) => FAMILIES[key].peer.table === table)
    .map((key) => ({ cell: slotCellOf(key, slot), cells: cellsOf(FAMILIES[key]) }));
}

function cellsOf(family: Family): number {
  return family.bounds === undefined ? 1 : family.bounds.length + 2;
}

const FAILED_CELLS = new Map<string, number>(
  HTTP_METHODS.flatMap((method) =>
    HTTP_CODES.map((code) => [`${method} ${code}`, cellOf("httpFailed", method, code)] as const),
  ),
);

/** The cell of `etcd_http_failed_total`; a status that is not in the table counts as 500. */
export function httpFailedCell(method: HttpMethod, status: number): number {
  const cell = FAILED_CELLS.get(`${method} ${status}`) ?? FAILED_CELLS.get(`${method} 500`);
  assert(cell !== undefined, "status 500 has a cell for every method");
  return cell;
}

function layOut() {
  const series = new Map<FamilyKey, Series[]>();
  const bounds: (Float64Array | undefined)[] = [];
  const slotted = new Map<PeerFamilyKey, number>();
  let cells = 0;
  const place = (family: Family) => {
    const cell = cells;
    if (family.bounds !== undefined) bounds[cell] = Float64Array.from(family.bounds);
    cells += cellsOf(family);
    return cell;
  };
  for (const key of Object.keys(FAMILIES) as FamilyKey[]) {
    const family: Family = FAMILIES[key];
    if (family.peer !== undefined) {
      slotted.set(key as PeerFamilyKey, cells);
      for (let slot = 0; slot <= PEER_SLOTS; slot++) place(family);
      continue;
    }
    const combined = combinations(Object.entries(family.labels ?? {}));
    series.set(
      key,
      combined.map((labels) => ({ labels, cell: place(family) })),
    );
  }
  const slotIds = cells;
  cells += PEER_TABLES.length * PEER_SLOTS * 2;
  const ids = cells;
  cells += IDS.length * 2;
  for (let cell = 0; cell < cells; cell++) bounds[cell] ??= undefined;
  // A part fills whole cache lines of 64 bytes, so that no two threads write to one.
  return { series, bounds, slotted, slotIds, ids, cells: Math.ceil(cells / 8) * 8 };
}

function combinations(
  labels: readonly (readonly [string, readonly string[]])[],
): Readonly<Record<string, string>>[] {
  let all: Record<string, string>[] = [{}];
  for (const [name, values] of labels) {
    all = all.flatMap((before) => values.map((value) => ({ ...before, [name]: value })));
  }
  return all;
}
