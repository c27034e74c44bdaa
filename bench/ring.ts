import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { Latencies } from "#ringd/ctl/output/latencies.js";
import { Bell } from "#ringd/ring/bell.js";
import { Inlet, Outlet } from "#ringd/ring/fragments.js";
import { createRing, type OnRecord, RingReader, RingWriter } from "#ringd/ring/ring.js";
import { run } from "./lib/lifetime.js";
import { PeerMessage, type RingPeerInput } from "./lib/ring-peer-input.js";
import { figure, table } from "./lib/table.js";

/**
 * What does it cost to pass a message from one thread to another? Nanoseconds per message one way,
 * and microseconds for a round trip, with two real threads.
 *
 *   node dist/bench/ring.js [seconds per figure, default 1] [reading: only the last table]
 *
 * The sender copies the whole payload in; the receiver reads its first word, and copies it to the
 * other ring for a round trip. `wake-ups` is the share of messages that needed a system call to
 * wake a thread, which batches save. CPU is of both threads. An "asleep" round trip waits in
 * Atomics.wait at both ends, like core and wal; "event loop" returns to an event loop by
 * Atomics.waitAsync, as in a frontend.
 *
 * Reading is measured in one thread: the drain of a full ring of requests by a bare reader, which
 * gives its callback offsets, and by an inlet, which gives it a cursor, in alternating rounds. Heap is what the drain allocates for each
 * message.
 */
const RING_BYTES = 8 * 2 ** 20;
const WARMUP_SHARE = 0.2;
/** Longest sleep of a producer on a full ring before it checks again. */
const FULL_MS = 1;
const PAYLOAD = Buffer.alloc(4096, "v");

const secondsPerFigure = Number(process.argv[2] ?? 1);

class CountedBell extends Bell {
  /** Number of wake-ups of the owner. */
  wakeUps = 0;

  override ring(): boolean {
    const hasWoken = super.ring();
    if (hasWoken) this.wakeUps++;
    return hasWoken;
  }
}

/** This thread's ends of both rings and both bells; the other ends are in lib/ring-peer.ts. */
class Ends {
  readonly writer: RingWriter;
  readonly reader: RingReader;
  readonly bell: Bell;
  readonly #peerBell: CountedBell;
  readonly #worker: Worker;

  constructor() {
    const input: RingPeerInput = {
      there: createRing(RING_BYTES),
      back: createRing(RING_BYTES),
      ownBell: Bell.create(),
      otherBell: Bell.create(),
    };
    this.bell = new Bell(input.otherBell);
    this.#peerBell = new CountedBell(input.ownBell);
    this.writer = new RingWriter(input.there, this.#peerBell);
    this.reader = new RingReader(input.back, this.#peerBell);
    this.#worker = new Worker(new URL("lib/ring-peer.js", import.meta.url), { workerData: input });
  }

  get wakeUps(): number {
    return this.#peerBell.wakeUps;
  }

  /**
   * Copies one message of `bytes` into the ring, with `n` as its first word; false if it is full.
   */
  send(type: number, bytes: number, n: number): boolean {
    const at = this.writer.reserve(bytes);
    if (at < 0) return false;
    PAYLOAD.copy(this.writer.bytes, at, 0, bytes);
    this.writer.view.setUint32(at, n, true);
    this.writer.commit(type, bytes);
    return true;
  }

  async end(): Promise<void> {
    const ended = once(this.#worker, "exit");
    this.send(PeerMessage.end, 8, 0);
    this.writer.publish();
    await ended;
  }
}

interface Figures {
  readonly messages: number;
  readonly ns: number;
  readonly cpuNs: number;
  readonly wakeUps: number;
}

/** Calls `batch` for the duration of a measurement; it returns the number of messages moved. */
async function measure(ends: Ends, batch: () => number | Promise<number>): Promise<Figures> {
  const until = async (seconds: number) => {
    const endMs = performance.now() + seconds * 1000;
    let messages = 0;
    while (performance.now() < endMs) {
      const moved = batch();
      messages += typeof moved === "number" ? moved : await moved;
    }
    return messages;
  };
  await until(secondsPerFigure * WARMUP_SHARE);
  const cpu = process.cpuUsage();
  const wakeUps = ends.wakeUps;
  const startedMs = performance.now();
  const messages = await until(secondsPerFigure);
  const elapsedMs = performance.now() - startedMs;
  const { user, system } = process.cpuUsage(cpu);
  return {
    messages,
    ns: (elapsedMs * 1e6) / messages,
    cpuNs: ((user + system) * 1000) / messages,
    wakeUps: (ends.wakeUps - wakeUps) / messages,
  };
}

/** One way: as fast as the other thread reads, `perPublish` messages published at once. */
async function oneWay(bytes: number, perPublish: number): Promise<Figures> {
  const ends = new Ends();
  let n = 0;
  const figures = await measure(ends, () => {
    for (let i = 0; i < perPublish; i++) {
      while (!ends.send(PeerMessage.drop, bytes, n)) {
        ends.writer.publish();
        ends.writer.wantSpace();
        ends.bell.park(() => ends.writer.hasRoom(bytes), FULL_MS);
      }
      n++;
    }
    ends.writer.publish();
    return perPublish;
  });
  await ends.end();
  return figures;
}

interface RoundTrips extends Figures {
  readonly latencies: Latencies;
}

/** Round trips of `inFlight` messages at a time. */
async function roundTrip(
  bytes: number,
  inFlight: number,
  isEventLoop: boolean,
): Promise<RoundTrips> {
  const ends = new Ends();
  const { reader, bell } = ends;
  const latencies = new Latencies();
  let answered = 0;
  const onAnswer = () => {
    answered++;
  };
  const hasWork = () => reader.hasWork();
  const start = () => {
    answered = 0;
    for (let i = 0; i < inFlight; i++) ends.send(PeerMessage.echo, bytes, i);
    ends.writer.publish();
  };
  const record = (startedMs: number) => {
    latencies.record(performance.now() - startedMs);
    return inFlight;
  };
  const asleep = () => {
    const startedMs = performance.now();
    start();
    while (answered < inFlight) {
      if (reader.drain(onAnswer, inFlight) === 0) bell.park(hasWork, Number.POSITIVE_INFINITY);
    }
    return record(startedMs);
  };
  const inEventLoop = async () => {
    const startedMs = performance.now();
    start();
    while (answered < inFlight) {
      if (reader.drain(onAnswer, inFlight) === 0) await bell.parkAsync(hasWork);
    }
    return record(startedMs);
  };
  const figures = await measure(ends, isEventLoop ? inEventLoop : asleep);
  await ends.end();
  return { ...figures, latencies };
}

/** A request's record: id, method, lengths of type, path, query and body; then path and body. */
const PATH_BYTES = 24;
const HEAD_BYTES = 20;
/** A small integer needs no heap. */
const SUM_MASK = 0xff_ffff;

/**
 * An inlet whose callback reads every field of a request, except its text, and a check of the
 * result.
 */
interface Reading {
  readonly drain: (recordsMax: number) => number;
  readonly sum: () => number;
}

function readingByOffsets(ring: RingReader): Reading {
  let sum = 0;
  const { bytes, view } = ring;
  const drain = (max: number) => ring.drain(onRecord, max);
  const onRecord: OnRecord = (type, at, length) => {
    const pathEnd = at + HEAD_BYTES + view.getUint32(at + 8, true);
    const heads = view.getUint32(at, true) + view.getUint8(at + 4) + view.getUint16(at + 6, true);
    const sizes = view.getUint32(at + 12, true) + view.getUint32(at + 16, true) + length;
    sum = (sum + heads + sizes + type + (bytes[pathEnd] as number)) & SUM_MASK;
  };
  return { drain, sum: () => sum };
}

function readingByCursor(ring: RingReader): Reading {
  let sum = 0;
  const inlet = Inlet.withCursor(ring, (record) => {
    const pathEnd = HEAD_BYTES + record.u32(8);
    const heads = record.u32(0) + record.u8(4) + record.u16(6);
    const sizes = record.u32(12) + record.u32(16) + record.length;
    sum = (sum + heads + sizes + record.type + record.u8(pathEnd)) & SUM_MASK;
  });
  return { drain: (max) => inlet.drain(max), sum: () => sum };
}

/** An inlet with its own ring; nanoseconds and bytes of heap per message. */
class ReadingRounds {
  readonly #outlet: Outlet;
  readonly #reading: Reading;
  readonly #ns: number[] = [];
  readonly #heapBytes: number[] = [];

  constructor(make: (ring: RingReader) => Reading) {
    const memory = createRing(RING_BYTES);
    const bell = new Bell(Bell.create());
    this.#outlet = new Outlet(new RingWriter(memory, bell));
    this.#reading = make(new RingReader(memory, bell));
  }

  round(): void {
    const bytes = 320;
    const messages = RING_BYTES / 512;
    for (let n = 0; n < messages; n++) {
      this.#outlet.open(bytes);
      const { view, at } = this.#outlet;
      PAYLOAD.copy(this.#outlet.bytes, at, 0, bytes);
      view.setUint32(at, n, true);
      view.setUint32(at + 8, PATH_BYTES, true);
      this.#outlet.close(PeerMessage.drop, bytes);
    }
    this.#outlet.publish();
    const heapBytes = process.memoryUsage().heapUsed;
    const startedMs = performance.now();
    const taken = this.#reading.drain(messages);
    this.#ns.push(((performance.now() - startedMs) * 1e6) / taken);
    this.#heapBytes.push((process.memoryUsage().heapUsed - heapBytes) / taken);
  }

  row(title: string): string[] {
    const median = (values: readonly number[]) =>
      values.toSorted((a, b) => a - b)[values.length >>> 1] as number;
    const isRead = this.#reading.sum() !== 0;
    return [
      title,
      figure(median(this.#ns)),
      figure(Math.min(...this.#ns)),
      isRead ? figure(median(this.#heapBytes)) : "-",
    ];
  }
}

function readingRows(): string[][] {
  const offsets = new ReadingRounds(readingByOffsets);
  const cursor = new ReadingRounds(readingByCursor);
  const endMs = performance.now() + secondsPerFigure * 2000;
  while (performance.now() < endMs) {
    offsets.round();
    cursor.round();
  }
  return [offsets.row("offsets"), cursor.row("cursor")];
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function passing(): Promise<void> {
  const oneWayRows: string[][] = [];
  for (const bytes of [32, 320, 4096]) {
    for (const perPublish of [1, 32, 256]) {
      const { ns, cpuNs, wakeUps } = await oneWay(bytes, perPublish);
      const gibPerSecond = (bytes * 1e9) / ns / 2 ** 30;
      oneWayRows.push(
        [`${bytes} bytes, published by ${perPublish}`].concat(
          [ns, cpuNs, 1e3 / ns, gibPerSecond].map(figure),
          `${(wakeUps * 100).toFixed(2)}%`,
        ),
      );
    }
  }
  say(table(["one way", "ns/msg", "CPU ns", "M msg/s", "GiB/s", "wake-ups"], oneWayRows));
  const roundTripRows: string[][] = [];
  for (const isEventLoop of [false, true]) {
    for (const inFlight of [1, 16, 256]) {
      const { ns, cpuNs, wakeUps, latencies } = await roundTrip(320, inFlight, isEventLoop);
      roundTripRows.push(
        [`${isEventLoop ? "event loop" : "asleep"}, ${inFlight} at once`].concat(
          [latencies.quantileMs(0.5) * 1e3, latencies.quantileMs(0.99) * 1e3, ns, cpuNs].map(
            figure,
          ),
          `${(wakeUps * 100).toFixed(2)}%`,
        ),
      );
    }
  }
  say("");
  say(
    table(
      ["round trip, 320 bytes", "p50 us", "p99 us", "ns/msg", "CPU ns", "wake-ups"],
      roundTripRows,
    ),
  );
  say("");
}

async function main(): Promise<void> {
  if (process.argv[3] !== "reading") await passing();
  say(table(["reading, 320 bytes", "ns/msg", "least ns", "heap bytes"], readingRows()));
}

await run(main);
