import { workerData } from "node:worker_threads";
import { Bell } from "#ringd/ring/bell.js";
import { Inlet, Outlet } from "#ringd/ring/fragments.js";
import { RingReader, RingWriter } from "#ringd/ring/ring.js";
import { Prng } from "../support/prng.js";

/** Echoes every message, through rings that are often full. */
const { there, back, ownBell, otherBell, seed } = workerData as Record<
  string,
  SharedArrayBuffer
> & {
  seed: number;
};
const prng = new Prng(seed);
const own = new Bell(ownBell as SharedArrayBuffer);
const other = new Bell(otherBell as SharedArrayBuffer);
const outlet = new Outlet(new RingWriter(back as SharedArrayBuffer, other));
let isDone = false;
const inlet = Inlet.withCursor(new RingReader(there as SharedArrayBuffer, other), (record) => {
  const { type, length } = record;
  isDone = type === 255;
  outlet.open(length);
  record.copy(outlet.bytes, outlet.at, 0);
  outlet.close(type, length);
});
for (;;) {
  const taken = outlet.queuedBytes > 100_000 ? 0 : inlet.drain(1 + prng.below(100));
  outlet.publish();
  // The other side sends nothing more once it has everything, so it would not wake us.
  if (isDone && outlet.queuedBytes === 0) break;
  if (taken > 0) continue;
  own.park(
    () => outlet.canMove() || (inlet.hasWork() && outlet.queuedBytes <= 100_000),
    Number.POSITIVE_INFINITY,
  );
}
