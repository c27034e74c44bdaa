/**
 * Preloaded into members (`--import`), all their threads: shifts their wall clock by what the file
 * named by TEST_WALL_CLOCK says, milliseconds, read anew now and then. The monotonic clock stays.
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
    return 0; // Nobody has set the clock.
  }
}
