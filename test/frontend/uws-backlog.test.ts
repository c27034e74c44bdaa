import type { HttpResponse } from "uWebSockets.js";
import assert from "node:assert/strict";
import { test } from "node:test";
import { Backlogs } from "#ringd/frontend/backlogs.js";
import { StreamBacklog } from "#ringd/frontend/uws-backlog.js";

const EVENT_BYTES = 512 * 1024;

/**
 * A response as StreamBacklog uses it: bytes not accepted by the kernel stay until a drain finds
 * room; with bytes left `resume` ends the polling for writability, without any it starts it.
 */
class FakeResponse {
  left = EVENT_BYTES;
  hasRoom = false;
  isPolled = true;
  #onWritable: () => boolean = () => true;

  onWritable(handler: () => boolean): void {
    this.#onWritable = handler;
  }

  resume(): void {
    this.isPolled = this.left === 0;
    this.#poll();
  }

  cork(): void {
    if (this.left === 0) return;
    if (this.hasRoom) this.left = 0;
    else this.isPolled = true;
  }

  /** In the next turn, as in the library. */
  #poll(): void {
    setImmediate(() => {
      if (!this.isPolled || (this.left > 0 && !this.hasRoom)) return;
      this.isPolled = false;
      this.#onWritable();
    });
  }
}

const TURNS = 4;

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
}

test("a stream is proven to have caught up if a drain outside of an event sent the rest", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const res = new FakeResponse();
  const all = new Backlogs();
  const stream = new StreamBacklog(res as unknown as HttpResponse, all);
  assert.ok(stream.wrote(EVENT_BYTES));
  await turns(1);
  // Between the probe, which found bytes left, and the drain after it.
  res.hasRoom = true;
  await turns(TURNS);
  assert.equal(res.left, 0);
  assert.equal(stream.bytes, EVENT_BYTES, "nothing has told so far");
  t.mock.timers.tick(100);
  await turns(TURNS);
  assert.equal(stream.bytes, 0, "nothing is unproven");
  assert.equal(all.bytes, 0);
  stream.close();
});

test("an unread stream is probed a few times, and then left to the timeout", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const res = new FakeResponse();
  const stream = new StreamBacklog(res as unknown as HttpResponse, new Backlogs());
  let probes = 0;
  const resume = res.resume.bind(res);
  res.resume = () => {
    probes++;
    resume();
  };
  assert.ok(stream.wrote(EVENT_BYTES));
  for (let second = 0; second < 20; second++) {
    await turns(TURNS);
    t.mock.timers.tick(1000);
  }
  assert.equal(probes, 6, "after the write, and five times later");
  assert.equal(stream.bytes, EVENT_BYTES);
  stream.close();
});
