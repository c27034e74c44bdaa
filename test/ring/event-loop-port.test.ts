import assert from "node:assert/strict";
import { test } from "node:test";
import { Bell } from "#ringd/ring/bell.js";
import { EventLoopPort } from "#ringd/ring/event-loop-port.js";
import { Inlet, Outlet } from "#ringd/ring/fragments.js";
import { createRing, RingReader, RingWriter } from "#ringd/ring/ring.js";

const RING_BYTES = 4096;

/** A port whose event loop the test advances by hand, and the other thread's ends of its rings. */
class Fixture {
  readonly #ownBell = Bell.create();
  readonly #there = createRing(RING_BYTES);
  readonly #back = createRing(RING_BYTES);
  readonly #outlet = new Outlet(new RingWriter(this.#there, new Bell(Bell.create())));
  readonly #inlet = Inlet.withCursor(
    new RingReader(this.#back, new Bell(Bell.create())),
    ({ type }) => this.taken.push(type),
  );
  readonly #otherOutlet = new Outlet(new RingWriter(this.#back, new Bell(this.#ownBell)));
  readonly #otherInlet = Inlet.withCursor(
    new RingReader(this.#there, new Bell(this.#ownBell)),
    () => undefined,
  );
  readonly taken: number[] = [];
  readonly #later: (() => void)[] = [];
  turns = 0;
  woken = 0;
  ringFull = 0;
  eagerTurns = 0;
  #onWoken: () => void = () => undefined;
  /** Of the pause after the next batch; 0 for none. */
  pauseMs = 0;
  endPause: (() => void) | undefined;
  readonly port = new EventLoopPort({
    outlet: this.#outlet,
    inlet: this.#inlet,
    bell: new Bell(this.#ownBell),
    later: (turn) => this.#later.push(turn),
    onTurn: () => {
      this.turns++;
      return this.eagerTurns-- > 0;
    },
    pauses: {
      nowMs: () => 0,
      lengthMs: (batchMs) => {
        assert.equal(batchMs, 0);
        return this.pauseMs;
      },
      start: (ms, onEnd) => {
        assert.equal(ms, this.pauseMs);
        this.endPause = onEnd;
        return () => undefined;
      },
    },
    figures: {
      woken: () => {
        this.woken++;
        this.#onWoken();
      },
      ringFull: () => this.ringFull++,
    },
  });

  send(bytes: number): void {
    this.#outlet.open(bytes);
    this.#outlet.close(1, bytes);
    this.port.sent();
  }

  /** Whether the other thread would ring the bell. */
  get isArmed(): boolean {
    return Atomics.load(new Int32Array(this.#ownBell), 0) !== 0;
  }

  /** The other thread sends a message. */
  receive(type: number): void {
    this.#otherOutlet.open(4);
    this.#otherOutlet.close(type, 4);
    this.#otherOutlet.publish();
  }

  /** @returns records that the other thread can see */
  drainOther(): number {
    return this.#otherInlet.drain(Number.POSITIVE_INFINITY);
  }

  /** The immediates of one turn of the event loop. */
  turnLoop(): number {
    const due = this.#later.splice(0);
    for (const turn of due) turn();
    return due.length;
  }

  untilWoken(): Promise<void> {
    return new Promise((resolve) => {
      this.#onWoken = resolve;
    });
  }
}

test("it sleeps until the bell rings, drains its inlet, and sleeps again", async () => {
  const fixture = new Fixture();
  fixture.port.start();
  assert.equal(fixture.isArmed, true);
  const woken = fixture.untilWoken();
  fixture.receive(7);
  assert.equal(fixture.isArmed, false, "the bell is rung once");
  fixture.receive(8);
  assert.deepEqual(fixture.taken, [], "only its own event loop drains");
  await woken;
  assert.deepEqual(fixture.taken, [7, 8]);
  assert.equal(fixture.isArmed, true);
  assert.equal(fixture.turns, 2);
});

test("the messages of one turn are published together, or as soon as there are 64", () => {
  const fixture = new Fixture();
  fixture.port.start();
  for (let n = 0; n < 63; n++) fixture.send(4);
  assert.equal(fixture.drainOther(), 0);
  fixture.send(4);
  assert.equal(fixture.drainOther(), 64);
  fixture.send(4);
  assert.equal(fixture.drainOther(), 0);
  assert.equal(fixture.turnLoop(), 1, "one turn for all of them");
  assert.equal(fixture.drainOther(), 1);
  assert.equal(fixture.turns, 2);
});

test("the bell is not rung while a turn is due; it drains its inlet before it sleeps again", async () => {
  const fixture = new Fixture();
  fixture.port.start();
  fixture.send(4);
  assert.equal(fixture.isArmed, false);
  fixture.receive(7);
  fixture.turnLoop();
  assert.deepEqual(fixture.taken, [7]);
  assert.equal(fixture.isArmed, true, "armed again, with the promise that is still pending");
  const woken = fixture.untilWoken();
  fixture.receive(8);
  await woken;
  assert.deepEqual(fixture.taken, [7, 8]);
  assert.equal(fixture.woken, 1);
});

test("a full ring is counted once, and its queue is sent as soon as there is room", async () => {
  const fixture = new Fixture();
  fixture.port.start();
  const records = 3 * (RING_BYTES / 512);
  for (let n = 0; n < records; n++) fixture.send(500);
  fixture.turnLoop();
  assert.equal(fixture.ringFull, 1);
  assert.equal(fixture.isArmed, true);
  let seen = 0;
  while (seen < records) {
    const woken = fixture.untilWoken();
    const taken = fixture.drainOther();
    assert.ok(taken > 0, "the bell is rung for room");
    seen += taken;
    if (seen < records) await woken;
  }
  assert.equal(fixture.ringFull, 1);
});

test("an eager owner gets one turn after the other, and sleeps afterwards", () => {
  const fixture = new Fixture();
  fixture.eagerTurns = 2;
  fixture.port.start();
  assert.equal(fixture.isArmed, false);
  assert.equal(fixture.turnLoop(), 1);
  assert.equal(fixture.turnLoop(), 1);
  assert.equal(fixture.isArmed, true);
  assert.equal(fixture.turnLoop(), 0);
  assert.equal(fixture.turns, 3);
});

test("a closed port has published its messages, and takes no more turns", () => {
  const fixture = new Fixture();
  fixture.port.start();
  fixture.port.close();
  fixture.send(4);
  assert.equal(fixture.turnLoop(), 0);
  fixture.port.close();
  assert.equal(fixture.drainOther(), 1);
  assert.equal(fixture.turns, 1);
});

test("a pause leaves the inlet alone, but sends; its end takes the next turn", async () => {
  const fixture = new Fixture();
  fixture.port.start();
  fixture.pauseMs = 5;
  const woken = fixture.untilWoken();
  fixture.receive(7);
  await woken;
  assert.deepEqual(fixture.taken, [7]);
  assert.equal(fixture.isArmed, false);
  fixture.receive(8);
  fixture.send(4);
  fixture.turnLoop();
  assert.equal(fixture.drainOther(), 1);
  assert.deepEqual(fixture.taken, [7]);
  fixture.pauseMs = 0;
  fixture.endPause?.();
  fixture.turnLoop();
  assert.deepEqual(fixture.taken, [7, 8]);
  assert.equal(fixture.isArmed, true);
});
