/**
 * Preloaded (`--import`) into all threads of members: shifts their wall clock by the milliseconds
 * in the file named by TEST_WALL_CLOCK, which is reread regularly. The monotonic clock is
 * unchanged.
 */
import { readFileSync } from "node:fs";

const REREAD_MS = 50;
const file = process.env.TEST_WALL_CLOCK ?? "";
const { now } = Date;
let offsetMs = 0;
let readMs = Number.NEGATIVE_INFINITY;

Date.now = () => {
  const monoMs = performance.now();
  if (monoMs - readMs > REREAD_MS) {
    readMs = monoMs;
    offsetMs = readOffset();
  }
  return now() + offsetMs;
};

function readOffset(): number {
  try {
    return Number(readFileSync(file, "utf8")) || 0;
  } catch {
    return 0; // The clock is not shifted.
  }
}
