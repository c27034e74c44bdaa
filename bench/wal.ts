/**
 * How fast is the log? Batches a second, MiB of values a second, and CPU microseconds per entry,
 * for batches of 1, 16 and 256 entries of 300 bytes, each batch one write and one fdatasync.
 *
 *   node dist/bench/wal.js [directory] [--sweep]
 *
 * The directory must be on the disk in question, not on tmpfs; the default is the system's for
 * temporary files. `floor` is a bare 4 KiB overwrite and fdatasync of a file that is already there.
 * `--sweep` also compares lengths of the zeros written ahead.
 */
import { fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FileDisk } from "#ringd/storage/disk.js";
import { ZERO_AHEAD_BYTES } from "#ringd/wal/open-log.js";
import { Wal } from "#ringd/wal/wal.js";

const ENTRY_BYTES = 300;
const RUN_MS = 1500;
const KIB = 1024;

const args = process.argv.slice(2);
const root = mkdtempSync(
  join(args.find((arg) => !arg.startsWith("--")) ?? tmpdir(), "ringd-bench-"),
);
const print = (line: string) => process.stdout.write(`${line}\n`);

interface Figures {
  readonly batchesPerSecond: number;
  readonly cpuMicrosPerBatch: number;
  readonly p50Micros: number;
  readonly p99Micros: number;
}

function measure(batch: () => void): Figures {
  for (let i = 0; i < 50; i++) batch();
  const latencies: number[] = [];
  const cpu = process.cpuUsage();
  const began = performance.now();
  let now = began;
  while (now - began < RUN_MS) {
    batch();
    const then = now;
    now = performance.now();
    latencies.push((now - then) * 1000);
  }
  const { user, system } = process.cpuUsage(cpu);
  latencies.sort((a, b) => a - b);
  const at = (part: number) => latencies[Math.floor(latencies.length * part)] ?? 0;
  return {
    batchesPerSecond: (latencies.length / (now - began)) * 1000,
    cpuMicrosPerBatch: (user + system) / latencies.length,
    p50Micros: at(0.5),
    p99Micros: at(0.99),
  };
}

function row(name: string, entries: number, figures: Figures): void {
  const { batchesPerSecond, cpuMicrosPerBatch, p50Micros, p99Micros } = figures;
  const mib = (batchesPerSecond * entries * ENTRY_BYTES) / 2 ** 20;
  const cells = [
    batchesPerSecond.toFixed(0),
    (batchesPerSecond * entries).toFixed(0),
    mib.toFixed(2),
    (cpuMicrosPerBatch / entries).toFixed(2),
    p50Micros.toFixed(0),
    p99Micros.toFixed(0),
  ];
  print(name.padEnd(24) + cells.map((cell) => cell.padStart(12)).join(""));
}

function log(entries: number, zeroAheadBytes: number): Figures {
  const disk = new FileDisk(root);
  const { wal } = Wal.open({
    disk,
    metadataIfNew: { memberId: 1n, clusterId: 1n },
    zeroAheadBytes,
  });
  // Entries come from shared memory, as they do from the append ring.
  const value = new Uint8Array(new SharedArrayBuffer(ENTRY_BYTES)).fill(0x61);
  let index = wal.last.index;
  const figures = measure(() => {
    for (let i = 0; i < entries; i++) {
      const at = wal.reserve(++index, 1, 0, ENTRY_BYTES);
      wal.buffer.set(value, at);
    }
    wal.setHardState({ term: 1, vote: 1n, commit: index - entries });
    wal.sync();
  });
  wal.close();
  for (const file of disk.list()) rmSync(join(root, file));
  return figures;
}

function floor(): Figures {
  const path = join(root, "floor");
  const block = new Uint8Array(4 * KIB).fill(1);
  const descriptor = openSync(path, "w");
  for (let at = 0; at < 4 * 2 ** 20; at += block.length) writeSync(descriptor, block);
  fdatasyncSync(descriptor);
  let at = 0;
  const figures = measure(() => {
    writeSync(descriptor, block, 0, block.length, at);
    at = (at + block.length) % (4 * 2 ** 20);
    fdatasyncSync(descriptor);
  });
  rmSync(path);
  return figures;
}

const columns = ["batches/s", "entries/s", "MiB/s", "CPU us/entry", "p50 us", "p99 us"];
print("".padEnd(24) + columns.map((column) => column.padStart(12)).join(""));
row("floor", 1, floor());
for (const entries of [1, 16, 256])
  row(`batch of ${entries}`, entries, log(entries, ZERO_AHEAD_BYTES));
if (args.includes("--sweep")) {
  for (const kib of [0, 64, 256, 1024, 4096]) {
    for (const entries of [1, 16, 256]) {
      row(`${kib} KiB ahead, ${entries}`, entries, log(entries, kib * KIB));
    }
  }
}
rmSync(root, { recursive: true });
