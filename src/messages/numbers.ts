import type { Outlet } from "../ring/fragments.js";
import type { RecordCursor } from "../ring/record-cursor.js";

/** A record of little-endian f64s; without any for a type that needs no payload. */
export function writeNumbers(outlet: Outlet, type: number, ...numbers: readonly number[]): void {
  outlet.open(numbers.length * 8);
  for (const [i, value] of numbers.entries()) {
    outlet.view.setFloat64(outlet.at + i * 8, value, true);
  }
  outlet.close(type, numbers.length * 8);
}

/** @param i which of the record's numbers */
export function readNumber(record: RecordCursor, i: number): number {
  return record.f64(i * 8);
}
