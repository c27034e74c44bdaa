import assert from "node:assert/strict";
import { test } from "node:test";
import { Bell } from "#ringd/ring/bell.js";

/**
 * The park and ring protocol as atomic steps of two threads. Each step of the model is one Atomics
 * operation of bell.ts or ring.ts; every interleaving is explored.
 */
interface State {
  tail: number; // published records
  bell: "awake" | "parked";
  asleep: boolean;
  woken: boolean;
  head: number;
  producer: number; // program counters
  consumer: number;
  left: number; // records still to publish
}

type Step = (s: State) => State | undefined;

/** Producer: store TAIL; load bell; compare and exchange the bell; notify. */
const producerSteps: readonly Step[] = [
  (s) => (s.left === 0 ? undefined : { ...s, tail: s.tail + 1, left: s.left - 1, producer: 1 }),
  (s) => ({ ...s, producer: s.bell === "awake" ? 0 : 2 }),
  (s) => (s.bell === "parked" ? { ...s, bell: "awake", producer: 3 } : { ...s, producer: 0 }),
  (s) => ({ ...s, woken: s.asleep ? true : s.woken, producer: 0 }),
];

/** Consumer: drain; store PARKED; look; wait (sleeps only if still PARKED); store AWAKE. */
function consumerSteps(looksAfterParking: boolean): readonly Step[] {
  return [
    (s) => ({ ...s, head: s.tail, consumer: looksAfterParking ? 1 : 2 }),
    (s) => ({ ...s, bell: "parked", consumer: 2 }),
    (s) => ({ ...s, consumer: s.tail !== s.head ? 5 : looksAfterParking ? 3 : 6 }),
    (s) => (s.bell === "parked" ? { ...s, asleep: true, consumer: 4 } : { ...s, consumer: 5 }),
    (s) => (s.woken ? { ...s, asleep: false, woken: false, consumer: 5 } : undefined),
    (s) => ({ ...s, bell: "awake", consumer: 0 }),
    (s) => ({ ...s, bell: "parked", consumer: 3 }),
  ];
}

/** @returns the number of states in which both threads are stuck although a record waits */
function lostWakeUps(consumer: readonly Step[]): { lost: number; states: number } {
  const start: State = {
    tail: 0,
    bell: "awake",
    asleep: false,
    woken: false,
    head: 0,
    producer: 0,
    consumer: 0,
    left: 3,
  };
  const seen = new Set<string>();
  const stack = [start];
  let lost = 0;
  for (let s = stack.pop(); s !== undefined; s = stack.pop()) {
    const key = JSON.stringify(s);
    if (seen.has(key)) continue;
    seen.add(key);
    const next = [producerSteps[s.producer]?.(s), consumer[s.consumer]?.(s)];
    const moves = next.filter((n) => n !== undefined);
    if (moves.length === 0 && s.tail !== s.head) lost++;
    stack.push(...moves);
  }
  return { lost, states: seen.size };
}

test("no interleaving of publish, park and ring loses a wake-up", () => {
  const { lost, states } = lostWakeUps(consumerSteps(true));
  assert.equal(lost, 0);
  assert.ok(states > 50, `the model walks ${states} states`);
});

test("the model finds the lost wake-up of a consumer that looks first and parks second", () => {
  assert.ok(lostWakeUps(consumerSteps(false)).lost > 0);
});

test("a promise that was pending through disarm() and rearm() resolves when rung", async () => {
  const memory = Bell.create();
  const owner = new Bell(memory);
  const producer = new Bell(memory);
  let work = 0;
  const hasWork = () => work > 0;
  const rung = owner.parkAsync(hasWork);
  assert.ok(rung !== undefined);
  owner.disarm();
  assert.equal(producer.ring(), false, "an owner that is awake is not rung");
  work = 1;
  assert.equal(owner.rearm(hasWork), false, "work that arrived meanwhile is seen");
  work = 0;
  assert.equal(owner.rearm(hasWork), true);
  assert.equal(producer.ring(), true);
  await rung;
});

test("an owner may arm its bell again while its promise is pending; a ring ends both", async () => {
  const bell = new Bell(Bell.create());
  const first = bell.parkAsync(() => false);
  const second = bell.parkAsync(() => false);
  assert.ok(first !== undefined && second !== undefined);
  bell.ring();
  await Promise.all([first, second]);
});
