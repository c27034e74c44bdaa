import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { STREAM_BACKLOG_BYTES_MAX } from "#ringd/frontend/frontend.js";
import { answerHead, chunkOf, KINDS, type SeenRequest, type Served, serve } from "./harness.js";
import { head, RawConnection } from "./raw.js";

const EVENT_BYTES = 16 * 1024;
/** No other byte of a response is a bar. */
const BAR = 0x7c;
/** As long as an event with its framing; uWebSockets.js puts a blank after the colon. */
const EVENT = `{"value":"${"e".repeat(EVENT_BYTES - 34)}","createdIndex":12}|\n`;
/** Upper bound of the kernel's buffers for both ends of a loopback connection. */
const KERNEL_BYTES_MAX = 16 * 1024 * 1024;

/** A client of a stream that counts events. */
class StreamClient {
  readonly connection: RawConnection;
  readonly request: SeenRequest;
  events = 0;
  #wake: () => void = () => undefined;

  static async open(served: Served): Promise<StreamClient> {
    const connection = await RawConnection.open(
      served.port,
      head("GET", "/v2/keys/?wait=true&stream=true"),
    );
    const request = await served.gateway.next();
    request.exchange.open(answerHead(), Buffer.alloc(0));
    await connection.until("\r\n\r\n");
    return new StreamClient(connection, request);
  }

  private constructor(connection: RawConnection, request: SeenRequest) {
    this.connection = connection;
    this.request = request;
    connection.socket.removeAllListeners("data");
    connection.socket.on("data", (bytes) => {
      for (let at = bytes.indexOf(BAR); at >= 0; at = bytes.indexOf(BAR, at + 1)) this.events++;
      this.#wake();
    });
  }

  async untilEvents(count: number): Promise<void> {
    const signal = AbortSignal.timeout(30_000);
    while (this.events < count) {
      assert.ok(!signal.aborted, `${this.events} of ${count} events came`);
      await new Promise<void>((resolve) => {
        const timer = globalThis.setTimeout(resolve, 1000);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

/**
 * Longer than the ten seconds, in steps of four, after which uWebSockets.js closes; the node
 * frontend is not slower.
 */
const CLOSE_MS = 40_000;
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

test("a client that reads nothing of a large response is closed in time", async () => {
  const bytes = 32 * 1024 * 1024;
  await Promise.all(
    KINDS.map(async (kind) => {
      const { frontend, gateway, port, connections } = await serve(kind);
      const connection = await RawConnection.open(port, head("GET", "/large"));
      connection.socket.pause();
      (await gateway.next()).exchange.answer(answerHead(), Buffer.alloc(bytes));
      await gateway.until(() => connections.open === 0, "the close", CLOSE_MS);
      let received = 0;
      connection.socket.removeAllListeners("data");
      connection.socket.on("data", (part) => {
        received += part.length;
      });
      connection.socket.resume();
      await connection.untilClosed();
      assert.ok(received < bytes, kind);
      frontend.stopListening();
      frontend.close();
    }),
  );
});

test("a stalled stream is disconnected with a log line, a client's disconnect without one", async () => {
  await Promise.all(
    KINDS.map(async (kind) => {
      const served = await serve(kind);
      const [stalls, leaves] = [await StreamClient.open(served), await StreamClient.open(served)];
      for (const { connection, request } of [stalls, leaves]) {
        connection.socket.pause();
        for (let sent = 0; sent < 12 * 1024 * 1024; sent += EVENT_BYTES) {
          request.exchange.chunk(chunkOf(EVENT), false);
        }
      }
      for (let turn = 0; turn < 10; turn++) await nextTurn();
      leaves.connection.reset();
      const { aborted } = served.gateway;
      await served.gateway.until(() => aborted.has(leaves.request.id), "the abort");
      assert.deepEqual(served.slow, [], kind);
      await served.gateway.until(() => aborted.has(stalls.request.id), "the cut", 30_000);
      assert.equal(served.slow.length, 1, kind);
      served.frontend.stopListening();
      served.frontend.close();
    }),
  );
});

for (const kind of KINDS) {
  test(`${kind}: many unread streams are bounded together`, async () => {
    const served = await serve(kind);
    const { backlogs } = served.gateway;
    const streams = await Promise.all(Array.from({ length: 40 }, () => StreamClient.open(served)));
    for (const { connection } of streams) connection.socket.pause();
    // Twelve MiB unread each are below one stream's limit and above that of all.
    const mib = chunkOf(`{"value":"${"e".repeat(1024 * 1024)}","createdIndex":12}\n`);
    for (let round = 0; round < 20 && served.slow.length === 0; round++) {
      for (const { request } of streams) request.exchange.chunk(mib, false);
      if (kind === "uws") for (let turn = 0; turn < 4; turn++) await nextTurn();
      else await setTimeout(200); // It gives clients a second to read.
    }
    assert.ok(served.slow.length > 0, "some were cut off");
    assert.ok(served.slow.length < streams.length, "as many as it took");
    assert.ok((served.slow[0] as number) < STREAM_BACKLOG_BYTES_MAX);
    for (const { connection } of streams) connection.close();
    const { aborted } = served.gateway;
    await served.gateway.until(() => aborted.size === streams.length, "the ends");
    assert.equal(backlogs.bytes, 0);
    served.frontend.stopListening();
    served.frontend.close();
  });
}

for (const kind of KINDS) {
  test(`${kind}: an unread stream is disconnected, others get every event`, async () => {
    const served = await serve(kind);
    const { gateway, slow } = served;
    const stuck = await StreamClient.open(served);
    stuck.connection.socket.pause();
    const reader = await StreamClient.open(served);
    let sent = 0;
    for (; !gateway.aborted.has(stuck.request.id); sent++) {
      const bytes = sent * EVENT_BYTES;
      assert.ok(bytes < KERNEL_BYTES_MAX + 4 * STREAM_BACKLOG_BYTES_MAX, "the backlog has a limit");
      const event = chunkOf(EVENT);
      stuck.request.exchange.chunk(event, false);
      reader.request.exchange.chunk(event, false);
      await nextTurn();
    }
    assert.equal(slow.length, 1);
    assert.ok((slow[0] as number) > STREAM_BACKLOG_BYTES_MAX / 2);
    // A single burst must not disconnect a client that reads.
    for (let i = 0; i < 1000; i++, sent++) reader.request.exchange.chunk(chunkOf(EVENT), false);
    await reader.untilEvents(sent);
    assert.equal(reader.events, sent);
    assert.equal(slow.length, 1);
    assert.equal(gateway.aborted.has(reader.request.id), false);
    reader.connection.close();
    stuck.connection.close();
    served.frontend.stopListening();
    served.frontend.close();
  });

  test(`${kind}: a stream that lagged and caught up stays open`, async () => {
    const served = await serve(kind);
    const { gateway, slow } = served;
    const client = await StreamClient.open(served);
    let sent = 0;
    for (let round = 0; round < 5; round++) {
      client.connection.socket.pause();
      for (let bytes = 0; bytes < 12 * 1024 * 1024; bytes += EVENT_BYTES, sent++) {
        client.request.exchange.chunk(chunkOf(EVENT), false);
        if (sent % 10 === 0) await nextTurn();
      }
      client.connection.socket.resume();
      await client.untilEvents(sent);
    }
    // uWebSockets.js closes connections that it last saw lagging after ten seconds, as it does an
    // idle one opened now.
    if (kind === "uws") await (await RawConnection.open(served.port, "")).untilClosed(CLOSE_MS);
    client.request.exchange.chunk(chunkOf(`{"createdIndex":1}|\n`), false);
    await client.untilEvents(sent + 1);
    client.connection.close();
    await gateway.until(() => gateway.aborted.has(client.request.id), "the abort");
    assert.deepEqual(slow, []);
    served.frontend.stopListening();
    served.frontend.close();
  });
}
