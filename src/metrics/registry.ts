import { collectDefaultMetrics, type Metric, Registry } from "prom-client";
import { MetricCells } from "./cells.js";
import {
  CELLS_PER_PART,
  FAMILIES,
  type FamilyKey,
  idCellOfSlot,
  PEER_SLOTS,
  type PeerFamilyKey,
  seriesOf,
  slotCellOf,
} from "./families.js";
import type { Family } from "./family.js";

/** Fill of one ring at the time of a scrape. */
export interface RingSample {
  readonly ring: string;
  readonly usedBytes: number;
  readonly capacityBytes: number;
}

/** Values read only during a scrape. */
export interface MetricsSample {
  /** As text; "" before it is known. */
  readonly memberId: string;
  /** "3.4.23" */
  readonly serverVersion: string;
  /** ringd's own, "0.4.0" */
  readonly ringdVersion: string;
  /** "3.4.0"; "" before the leader has set it. */
  readonly clusterVersion: string;
  readonly rings: readonly RingSample[];
  /** Of the process; -1 if the platform does not report it. */
  readonly openFiles: number;
  readonly openFilesMax: number;
}

interface Value {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  readonly metricName?: string;
}

/**
 * prom-client's gauges with a counter's name, which format checkers reject. Each only sums another,
 * by-type family.
 */
const MISNAMED = ["handles", "requests", "resources"].map((what) => `nodejs_active_${what}_total`);

/** prom-client writes "nan", which Prometheus rejects, for values not measured yet. */
const UNKNOWN = /^[^#].* nan\n/gim;

/**
 * Sampling interval of prom-client's event-loop delay; its default, 10 ms, keeps waking an idle
 * thread.
 */
const EVENT_LOOP_PRECISION_MS = 100;

/**
 * Renders all threads' metrics in Prometheus's text format, with prom-client's process_* and
 * nodejs_* families. One per process, on the main thread.
 */
export class MetricsRegistry {
  readonly #registry = new Registry();
  readonly #cells: Float64Array;
  readonly #parts: readonly MetricCells[];
  readonly #sample: () => MetricsSample;

  /**
   * @param memory of `createMetricsMemory`, shared with the threads
   * @param sample called on each scrape, once per family it feeds
   * @param isExtensive show families that only `--metrics extensive` fills
   */
  constructor(memory: SharedArrayBuffer, sample: () => MetricsSample, isExtensive = false) {
    this.#cells = new Float64Array(memory);
    const parts = this.#cells.length / CELLS_PER_PART;
    this.#parts = Array.from({ length: parts }, (_, part) => new MetricCells(memory, part));
    this.#sample = sample;
    collectDefaultMetrics({
      register: this.#registry,
      eventLoopMonitoringPrecision: EVENT_LOOP_PRECISION_MS,
    });
    for (const name of MISNAMED) this.#registry.removeSingleMetric(name);
    for (const key of Object.keys(FAMILIES) as FamilyKey[]) {
      if (isExtensive || !(FAMILIES[key] as Family).isExtensive) this.#registerFamily(key);
    }
    this.#registerSamples(sample);
  }

  /** The whole page, with a final newline. Values not known yet are left out. */
  async render(): Promise<string> {
    return (await this.#registry.metrics()).replaceAll(UNKNOWN, "");
  }

  #registerFamily(key: FamilyKey): void {
    const family: Family = FAMILIES[key];
    for (const name of [family.name, ...(family.aliases ?? [])]) {
      this.#register(name, family.help, family.kind, () => {
        if (family.peer !== undefined) return this.#peerValues(key as PeerFamilyKey, name, family);
        return family.bounds === undefined
          ? this.#plainValues(key, family)
          : this.#histogramValues(key, name, family.bounds);
      });
    }
  }

  /** As in Go's client, a series with labels appears once it was counted. */
  #plainValues(key: FamilyKey, family: Family): readonly Value[] {
    return seriesOf(key)
      .map(({ labels, cell }) => ({ labels, value: this.#sum(cell) }))
      .filter(({ value }) => family.labels === undefined || value !== 0);
  }

  #histogramValues(key: FamilyKey, name: string, bounds: readonly number[]): readonly Value[] {
    const isLabelled = (FAMILIES[key] as Family).labels !== undefined;
    return seriesOf(key).flatMap(({ labels, cell }) => {
      const values = histogram(name, labels, bounds, (offset) => this.#sum(cell + offset));
      return isLabelled && values.at(-1)?.value === 0 ? [] : values;
    });
  }

  /** One series per peer of the table, zeros included. */
  #peerValues(key: PeerFamilyKey, name: string, family: Family): readonly Value[] {
    const { table, label } = FAMILIES[key].peer;
    const values: Value[] = [];
    for (const part of this.#parts) {
      for (let slot = 0; slot < PEER_SLOTS; slot++) {
        const id = part.getId(idCellOfSlot(table, slot));
        if (id === 0n) continue;
        const cell = slotCellOf(key, slot);
        const labels: Record<string, string> = { [label]: id.toString(16) };
        if (label === "Remote") labels.Local = this.#sample().memberId;
        const { bounds } = family;
        if (bounds === undefined) values.push({ labels, value: part.get(cell) });
        else values.push(...histogram(name, labels, bounds, (offset) => part.get(cell + offset)));
      }
    }
    return values;
  }

  #registerSamples(sample: () => MetricsSample): void {
    const info = (name: string, label: string, help: string, read: () => string) =>
      this.#register(name, help, "gauge", () => {
        const text = read();
        return text === "" ? [] : [{ labels: { [label]: text }, value: 1 }];
      });
    info(
      "etcd_server_id",
      "server_id",
      "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
      () => sample().memberId,
    );
    info(
      "etcd_server_version",
      "server_version",
      "Which version is running. 1 for 'server_version' label with current version.",
      () => sample().serverVersion,
    );
    info(
      "etcd_cluster_version",
      "cluster_version",
      "Which version is running. 1 for 'cluster_version' label with current cluster version",
      // Rendered as major.minor: "3.4".
      () => sample().clusterVersion.split(".").slice(0, 2).join("."),
    );
    info("ringd_version", "ringd_version", "Which ringd is running. 1 for its version.", () => {
      return sample().ringdVersion;
    });
    const rings = (name: string, help: string, read: (ring: RingSample) => number) =>
      this.#register(name, help, "gauge", () =>
        sample().rings.map((ring) => ({ labels: { ring: ring.ring }, value: read(ring) })),
      );
    rings("ringd_ring_used_bytes", "Bytes written to a ring and not yet released.", (ring) => {
      return ring.usedBytes;
    });
    const files = (name: string, help: string, read: () => number) =>
      this.#register(name, help, "gauge", () => {
        const value = read();
        return value < 0 ? [] : [{ labels: {}, value }];
      });
    files("os_fd_used", "The number of used file descriptors.", () => sample().openFiles);
    files("os_fd_limit", "The file descriptor limit.", () => sample().openFilesMax);
    rings("ringd_ring_capacity_bytes", "Size of a ring.", (ring) => ring.capacityBytes);
  }

  /**
   * prom-client renders any object with a name and `get()`. Its own counters would copy every
   * value, and its histograms cannot be set.
   */
  #register(name: string, help: string, type: string, read: () => readonly Value[]): void {
    const metric = { name, get: () => Promise.resolve({ name, help, type, values: read() }) };
    this.#registry.registerMetric(metric as unknown as Metric<string>);
  }

  /** Summed over all threads. */
  #sum(cell: number): number {
    let sum = 0;
    for (let at = cell; at < this.#cells.length; at += CELLS_PER_PART) sum += this.#cells[at] ?? 0;
    return sum;
  }
}

/** @param read reads a cell, by its offset from the histogram's first */
function histogram(
  name: string,
  labels: Value["labels"],
  bounds: readonly number[],
  read: (offset: number) => number,
): Value[] {
  const values: Value[] = [];
  let count = 0;
  for (const [i, le] of [...bounds, "+Inf"].entries()) {
    count += read(1 + i);
    values.push({ metricName: `${name}_bucket`, labels: { ...labels, le }, value: count });
  }
  values.push({ metricName: `${name}_sum`, labels, value: read(0) });
  values.push({ metricName: `${name}_count`, labels, value: count });
  return values;
}
