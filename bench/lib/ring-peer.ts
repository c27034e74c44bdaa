import { workerData } from "node:worker_threads";
import { Bell } from "#ringd/ring/bell.js";
import { RingReader, RingWriter } from "#ringd/ring/ring.js";
import { PeerMessage, type RingPeerInput } from "./ring-peer-input.js";

/** The second thread of the ring benchmark: echoes messages of type echo, sleeps when idle. */
const BATCH_RECORDS = 1024;

const { there, back, ownBell, otherBell } = workerData as RingPeerInput;
const bell = new Bell(ownBell);
const other = new Bell(otherBell);
const reader = new RingReader(there, other);
const writer = new RingWriter(back, other);
const hasWork = () => reader.hasWork();
let isEnd = false;
/** Sum of the words read, so that no read is optimized away. */
let seen = 0;

function onRecord(type: number, at: number, payloadBytes: number): void {
  if (type === PeerMessage.end) isEnd = true;
  seen = (seen + reader.view.getUint32(at, true)) | 0;
  if (type !== PeerMessage.echo) return;
  const into = writer.reserve(payloadBytes);
  if (into < 0) throw new Error("the benchmark never has more in flight than the ring holds");
  reader.bytes.copy(writer.bytes, into, at, at + payloadBytes);
  writer.commit(type, payloadBytes);
}

while (!isEnd) {
  const taken = reader.drain(onRecord, BATCH_RECORDS);
  writer.publish();
  if (taken === 0) bell.park(hasWork, Number.POSITIVE_INFINITY);
}
