import assert from "node:assert/strict";
import {
  answerHead,
  chunkOf,
  type FakeGateway,
  type FrontendKind,
  type SeenRequest,
  serve,
} from "./harness.js";
import { head } from "./raw.js";
import { StrictReader } from "./strict-reader.js";

/**
 * In a network whose sockets accept a few thousand bytes at a time: sends responses of 100 bytes to
 * 8 MB to a client that reads with pauses, and compares every byte. Stops at the first difference.
 */

const ANSWERS = Number(process.argv[3] ?? 200);
const LISTING_PIECE_BYTES = 40_000;
const PAUSE_TURNS = 40;

/** A text without nearby repetitions. */
function textOf(bytes: number): string {
  let text = "";
  for (let n = 0; text.length < bytes; n++) text += `${n.toString(36)}.`;
  return text.slice(0, bytes);
}

/** From 100 bytes to 8 MB, small ones more often. */
function sizeOf(n: number): number {
  return Math.round(100 * 80_000 ** ((((n * 37) % 100) / 99) ** 1.6));
}

const kinds = ["answer", "listing", "watch", "stream"] as const;
const EVENTS = 4;

function events(bytes: number): Buffer[] {
  return Array.from({ length: EVENTS }, (_, i) =>
    Buffer.from(`{"value":"${i}${textOf(Math.ceil(bytes / EVENTS))}","createdIndex":${i + 7}}\n`),
  );
}

/** As in the core: nothing more while the client lags. */
async function list(gateway: FakeGateway, request: SeenRequest, body: Buffer): Promise<void> {
  const { exchange, id } = request;
  const { held, resumed } = gateway;
  exchange.open(answerHead(), body.subarray(0, LISTING_PIECE_BYTES));
  let at = LISTING_PIECE_BYTES;
  for (; at < body.length; at += LISTING_PIECE_BYTES) {
    if (held.delete(id)) await gateway.until(() => resumed.delete(id), "the wish for more");
    exchange.chunk(chunkOf(body.subarray(at, at + LISTING_PIECE_BYTES)), false);
  }
  exchange.chunk(chunkOf(Buffer.alloc(0)), true);
}

function play(
  kind: (typeof kinds)[number],
  gateway: FakeGateway,
  request: SeenRequest,
  bytes: number,
): Buffer[] {
  const { exchange } = request;
  if (kind === "answer") {
    const body = Buffer.from(textOf(bytes));
    exchange.answer(answerHead(), body);
    return [body];
  }
  if (kind === "watch") {
    const event = Buffer.from(`{"value":"${textOf(bytes)}","createdIndex":7}\n`);
    exchange.open(answerHead(), Buffer.alloc(0));
    exchange.chunk(chunkOf(event), true);
    return [event];
  }
  if (kind === "stream") {
    const all = events(bytes);
    exchange.open(answerHead(), Buffer.alloc(0));
    for (const [i, event] of all.entries()) exchange.chunk(chunkOf(event), i === EVENTS - 1);
    return all;
  }
  const body = Buffer.from(textOf(bytes));
  void list(gateway, request, body);
  return [body];
}

async function run(frontendKind: FrontendKind): Promise<void> {
  const { gateway, port, frontend } = await serve(frontendKind);
  let reader = await StrictReader.open(port, PAUSE_TURNS);
  for (let n = 0; n < ANSWERS; n++) {
    const kind = kinds[n % kinds.length] as (typeof kinds)[number];
    const bytes = sizeOf(n);
    const isLast = n % 40 === 39;
    const lines = isLast ? ["Connection: close"] : [];
    const query = {
      answer: "",
      listing: "",
      watch: "?wait=true",
      stream: "?wait=true&stream=true",
    };
    const target = `/v2/keys/a${query[kind]}`;
    reader.send(head("GET", target, ...lines));
    const wanted = play(kind, gateway, await gateway.next(), bytes);
    const answer = await reader.answer();
    const what = `${kind} of ${bytes} bytes, answer ${n}`;
    if (kind === "stream" || kind === "watch") {
      const blank = isLast ? / (?=\d+\}\n$)/ : /$^/; // ClosingWatch
      const texts = answer.chunks.map((part) => `${part}`.replace(blank, ""));
      assert.deepEqual(texts, wanted.map(String), what);
    } else assert.ok(Buffer.concat(answer.chunks).equals(Buffer.concat(wanted)), what);
    if (!isLast) continue;
    await reader.untilClosed();
    reader = await StrictReader.open(port, PAUSE_TURNS);
  }
  reader.close();
  frontend.stopListening();
  frontend.close();
  process.stdout.write(`${frontendKind}: ${ANSWERS} answers\n`);
}

await run(process.argv[2] as FrontendKind);
