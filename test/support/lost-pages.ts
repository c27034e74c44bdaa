import fs from "node:fs";

/**
 * Data that reads back but is not on disk: its fdatasync failed, and it was not rewritten. Stored
 * in a file beside the orders of failing-calls.ts, as the page cache, too, outlives a process.
 */
export interface LostRange {
  readonly path: string;
  readonly at: number;
  /** The disk's content of the range, base64. */
  readonly bytes: string;
}

export function lostFile(orders: string): string {
  return `${orders}.lost`;
}

export function readLost(orders: string): LostRange[] {
  const file = lostFile(orders);
  return fs.existsSync(file) ? (JSON.parse(fs.readFileSync(file, "utf8")) as LostRange[]) : [];
}

export function writeLost(orders: string, ranges: readonly LostRange[]): void {
  if (ranges.length > 0) fs.writeFileSync(lostFile(orders), JSON.stringify(ranges));
  else fs.rmSync(lostFile(orders), { force: true });
}

/**
 * The lost ranges after a write: rewritten pages are dirty again, and the next sync stores them.
 */
export function withoutWritten(
  ranges: readonly LostRange[],
  path: string,
  from: number,
  bytes: number,
): LostRange[] {
  return ranges.flatMap((range) => {
    const old = Buffer.from(range.bytes, "base64");
    const end = range.at + old.length;
    if (range.path !== path || from >= end || from + bytes <= range.at) return [range];
    const part = (at: number, to: number) =>
      at < to
        ? [{ path, at, bytes: old.subarray(at - range.at, to - range.at).toString("base64") }]
        : [];
    return [...part(range.at, from), ...part(from + bytes, end)];
  });
}

/** Simulates a power cut while no process has the files open. @returns the number of bytes lost */
export function losePages(orders: string): number {
  let lost = 0;
  for (const { path, at, bytes } of readLost(orders)) {
    if (!fs.existsSync(path)) continue;
    const old = Buffer.from(bytes, "base64");
    const descriptor = fs.openSync(path, "r+");
    fs.writeSync(descriptor, old, 0, old.length, at);
    fs.closeSync(descriptor);
    lost += old.length;
  }
  writeLost(orders, []);
  return lost;
}
