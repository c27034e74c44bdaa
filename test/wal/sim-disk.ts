import { unreachable } from "#ringd/lib/assert.js";
import type { Disk } from "#ringd/storage/disk.js";
import type { DiskOp } from "#ringd/storage/disk-op.js";
import { DiskError } from "#ringd/storage/errors.js";
import type { Prng } from "../support/prng.js";

const SECTOR_BYTES = 512;
const PAGE_BYTES = 4096;

/** A power failure, thrown in the middle of a log operation. */
export class PowerLost extends Error {}

/**
 * A file: its current content, and which of it is durable.
 *
 * After a failed sync the page cache is as in Linux: data stays readable and is marked clean, so a
 * later sync skips it and succeeds. Only rewritten data is synced again.
 */
class SimFile {
  bytes = new Uint8Array(0);
  size = 0;
  durableSize = 0;
  /** Dirty sectors, written since the last sync: their content on disk. */
  readonly before = new Map<number, Uint8Array>();
  /** Sectors lost by a failed sync: their content on disk. */
  readonly lost = new Map<number, Uint8Array>();

  write(chunk: Uint8Array, at: number): void {
    const end = at + chunk.length;
    if (end > this.bytes.length) {
      const grown = new Uint8Array(Math.max(2 * this.bytes.length, end + SECTOR_BYTES));
      grown.set(this.bytes);
      this.bytes = grown;
    }
    for (let s = Math.floor(at / SECTOR_BYTES); s * SECTOR_BYTES < end; s++) {
      if (this.before.has(s)) continue;
      const onDisk = this.lost.get(s);
      this.lost.delete(s);
      this.before.set(s, onDisk ?? this.bytes.slice(s * SECTOR_BYTES, (s + 1) * SECTOR_BYTES));
    }
    this.bytes.set(chunk, at);
    this.size = Math.max(this.size, end);
  }

  get isDurable(): boolean {
    return this.before.size === 0 && this.lost.size === 0 && this.durableSize === this.size;
  }

  datasync(): void {
    const end = Math.max(0, ...[...this.before.keys()].map((s) => (s + 1) * SECTOR_BYTES));
    this.before.clear();
    const isWhole = this.lost.size === 0;
    this.durableSize = isWhole ? this.size : Math.max(this.durableSize, Math.min(end, this.size));
  }

  failSync(): void {
    for (const [s, onDisk] of this.before) this.lost.set(s, onDisk);
    this.before.clear();
  }

  /** @param keepOneIn one unsynced sector in so many survives; 0: none */
  powerCut(prng: Prng, keepOneIn: number): void {
    for (const [s, old] of [...this.before, ...this.lost]) {
      // Some of the lost sectors had reached the disk before the failure.
      if (keepOneIn > 0 && prng.oneIn(keepOneIn)) continue;
      this.bytes.fill(0, s * SECTOR_BYTES, (s + 1) * SECTOR_BYTES);
      this.bytes.set(old, s * SECTOR_BYTES);
    }
    if (prng.oneIn(2)) {
      this.size = this.durableSize;
      this.bytes.fill(0, this.size);
    }
    this.lost.clear();
    this.datasync();
  }
}

type Pending =
  | { kind: "set"; name: string; file: SimFile }
  | { kind: "rename"; from: string; to: string; file: SimFile }
  | { kind: "delete"; name: string };

/**
 * A disk that distinguishes written from durable data, by sectors of 512 bytes, and fails on
 * demand. All randomness is drawn from the caller's generator.
 */
export class SimDisk implements Disk {
  readonly dir = "/sim";
  /**
   * Limit of all files' bytes; a write beyond it writes pages until the disk is full, then fails
   * with ENOSPC.
   */
  capacityBytes = Number.POSITIVE_INFINITY;
  /** Called before each step; throw (a DiskError, PowerLost) to make it fail. */
  before: (op: DiskOp) => void = () => {};
  /** Executed steps, for assertions on costs. */
  readonly steps: DiskOp["op"][] = [];
  #names = new Map<string, SimFile>();
  #durableNames = new Map<string, SimFile>();
  #pending: Pending[] = [];
  /**
   * A sync of the directory failed: the next one has no effect, unless a name has changed since.
   */
  #isDirectoryClean = false;

  get usedBytes(): number {
    let used = 0;
    for (const { size } of this.#names.values()) used += size;
    return used;
  }

  /** A power cut now would change nothing. */
  get isDurable(): boolean {
    if (this.#pending.length > 0) return false;
    for (const file of this.#names.values()) if (!file.isDurable) return false;
    return true;
  }

  list(): string[] {
    return [...this.#names.keys()];
  }

  /** A Buffer, like the real disk's, as it behaves differently from other arrays. */
  read(file: string): Uint8Array {
    const { bytes, size } = this.#file(file);
    return Buffer.from(bytes.subarray(0, size)); // A copy, and a Buffer, like the real disk's.
  }

  run(op: DiskOp): void {
    try {
      this.before(op);
    } catch (error) {
      if (error instanceof DiskError) this.#failSync(op);
      throw error;
    }
    this.steps.push(op.op);
    switch (op.op) {
      case "create":
        this.#change({ kind: "set", name: op.file, file: new SimFile() });
        break;
      case "write":
        this.#write(this.#file(op.file), op.chunks, op.atBytes, op.file);
        break;
      case "datasync":
        this.#file(op.file).datasync();
        break;
      case "rename":
        this.#change({
          kind: "rename",
          from: op.from,
          to: op.to,
          file: this.#file(op.from),
        });
        break;
      case "unlink":
        this.#file(op.file);
        this.#change({ kind: "delete", name: op.file });
        break;
      case "close":
        break;
      case "syncDirectory":
        if (this.#isDirectoryClean) break;
        this.#durableNames = new Map(this.#names);
        this.#pending = [];
        break;
      default:
        unreachable(op);
    }
  }

  close(): void {}

  /** Unsynced sectors survive or not, in any order; unsynced names, renames and removals too. */
  powerCut(prng: Prng): void {
    const keepOneIn = prng.pick([0, 1, 2, 2, 5]);
    const files = new Set([...this.#names.values(), ...this.#durableNames.values()]);
    for (const file of files) file.powerCut(prng, keepOneIn);
    this.#names = new Map(this.#durableNames);
    for (const change of this.#pending) if (prng.oneIn(2)) apply(this.#names, change);
    this.#durableNames = new Map(this.#names);
    this.#pending = [];
    this.#isDirectoryClean = false;
    this.before = () => {};
  }

  /** Adds a durable file with this content. */
  plant(name: string, bytes: Uint8Array): void {
    const file = new SimFile();
    file.write(bytes, 0);
    file.datasync();
    this.#names.set(name, file);
    this.#durableNames.set(name, file);
  }

  remove(name: string): void {
    this.#names.delete(name);
    this.#durableNames.delete(name);
  }

  truncate(name: string, bytes: number): void {
    this.plant(name, this.read(name).slice(0, bytes));
  }

  flipBit(name: string, atBytes: number, bit: number): void {
    const bytes = this.read(name);
    bytes[atBytes] = (bytes[atBytes] as number) ^ (1 << bit);
    this.plant(name, bytes);
  }

  #write(file: SimFile, chunks: readonly Uint8Array[], atBytes: number, name: string): void {
    const room = this.capacityBytes - this.usedBytes + file.size - atBytes;
    const all = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    const end = Math.floor((atBytes + room) / PAGE_BYTES) * PAGE_BYTES;
    let left = all <= room ? all : Math.max(0, end - atBytes);
    let at = atBytes;
    for (const chunk of chunks) {
      const part = chunk.subarray(0, left);
      file.write(part, at);
      at += part.length;
      left -= part.length;
    }
    if (all > room) throw new DiskError("write", name, "ENOSPC");
  }

  #failSync(op: DiskOp): void {
    if (op.op === "datasync") this.#names.get(op.file)?.failSync();
    else if (op.op === "syncDirectory") this.#isDirectoryClean = true;
  }

  #change(change: Pending): void {
    this.#isDirectoryClean = false;
    this.#pending.push(change);
    apply(this.#names, change);
  }

  #file(name: string): SimFile {
    const file = this.#names.get(name);
    if (file === undefined) throw new DiskError("open", name, "ENOENT");
    return file;
  }
}

function apply(names: Map<string, SimFile>, change: Pending): void {
  switch (change.kind) {
    case "set":
      names.set(change.name, change.file);
      break;
    case "rename":
      names.delete(change.from);
      names.set(change.to, change.file);
      break;
    case "delete":
      names.delete(change.name);
      break;
    default:
      unreachable(change);
  }
}
