import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { SendQueue } from "#ringd/peer/send-queue.js";

const MIB = 1024 * 1024;

/** A TLS socket of a slow peer: takes a piece when told to. */
class SlowSocket {
  readonly encrypted = true;
  readonly destroyed = false;
  readonly writableLength = 0;
  sentBytes = 0;
  #taken: (() => void) | undefined;

  cork(): void {}
  uncork(): void {}

  write(frame: Buffer, taken?: () => void): boolean {
    this.sentBytes += frame.length;
    if (taken !== undefined) this.#taken = taken;
    return true;
  }

  take(): void {
    this.#taken?.();
  }
}

test("a queue that is never empty does not keep what it has sent", () => {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as () => void;
  const socket = new SlowSocket();
  const queue = new SendQueue(socket as unknown as Socket);
  const frame = () => [Buffer.alloc(MIB)];
  gc();
  const before = process.memoryUsage().arrayBuffers;
  queue.write(frame());
  for (let n = 0; n < 64; n++) {
    queue.write(frame());
    socket.take();
    socket.take();
    assert.ok(queue.bytes > 0);
  }
  gc();
  const keptBytes = process.memoryUsage().arrayBuffers - before;
  assert.ok(keptBytes < 8 * MIB, `${keptBytes} bytes are kept`);
  while (queue.bytes > 0) socket.take();
  assert.equal(socket.sentBytes, 65 * MIB);
});

test("frames leave whole and in order, also many short ones", () => {
  const parts: Buffer[] = [];
  const socket = new SlowSocket();
  socket.write = (frame, taken) => {
    parts.push(frame);
    return SlowSocket.prototype.write.call(socket, frame, taken);
  };
  const queue = new SendQueue(socket as unknown as Socket);
  const text = Array.from({ length: 5000 }, (_, n) => `${n} `.repeat(100));
  for (const one of text) queue.write([Buffer.from(one)]);
  while (queue.bytes > 0) socket.take();
  assert.equal(Buffer.concat(parts).toString(), text.join(""));
});
