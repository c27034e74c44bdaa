import { connect } from "node:net";
import { parentPort, workerData } from "node:worker_threads";
import { renderGet } from "./client.js";

/** What this worker opens: streams of one directory, on a connection each. */
export interface StreamsInput {
  readonly url: string;
  readonly path: string;
  readonly count: number;
}

/** Asks for a report once this many events have come to all streams since the start. */
export interface StreamsOrder {
  readonly events: number;
}

/** Once all streams are open, and for each order. */
export interface StreamsReport {
  readonly events: number;
  /** Of the last event: `process.hrtime.bigint()`, which all threads share. */
  readonly atNs: bigint;
}

const OPENING_AT_ONCE = 100;
const EVENT = Buffer.from('"action"');

const { url, path, count } = workerData as StreamsInput;
const { hostname, port } = new URL(url);
let heads = 0;
let opened = 0;
let events = 0;
let atNs = 0n;
let order: StreamsOrder | undefined;

function report(): void {
  order = undefined;
  parentPort?.postMessage({ events, atNs } satisfies StreamsReport);
}

function onData(bytes: Buffer): void {
  for (let at = bytes.indexOf(EVENT); at >= 0; at = bytes.indexOf(EVENT, at + EVENT.length)) {
    events++;
  }
  atNs = process.hrtime.bigint();
  if (order !== undefined && events >= order.events) report();
}

/** Opens the next stream when one has its head. */
function openNext(): void {
  if (opened === count) return;
  opened++;
  const socket = connect(Number(port), hostname, () => {
    socket.write(renderGet(`${path}?wait=true&stream=true&recursive=true`));
  });
  socket.once("data", (head: Buffer) => {
    socket.on("data", onData);
    onData(head);
    heads++;
    if (heads === count) report();
    else openNext();
  });
  socket.on("close", () => {
    throw new Error(`The server closed a stream after ${events} events of ${count} streams`);
  });
}

parentPort?.on("message", (next: StreamsOrder) => {
  order = next;
  if (events >= next.events) report();
});
for (let i = 0; i < OPENING_AT_ONCE; i++) openNext();
