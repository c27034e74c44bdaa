import assert from "node:assert/strict";
import { test } from "node:test";
import {
  checkLinearizable,
  describeViolation,
  type Operation,
  type Value,
} from "./linearizable.js";
import { Prng } from "./prng.js";
import { SEED } from "./seed.js";

type Effect = Pick<Operation, "requires" | "forbids" | "leaves">;
const read = (value: Value): Effect => ({ requires: value });
const write = (value: Value): Effect => ({ leaves: value });
const swap = (found: Value, value: Value): Effect => ({ requires: found, leaves: value });
const notEqual = (...values: Value[]): Effect => ({ forbids: values });

/**
 * A history drawn as lines, one client each: `(` calls and `)` returns the next operation of its
 * list, so that what stands above each other overlaps. An operation without its `)` has an unknown
 * outcome.
 */
function draw(...lines: [drawing: string, ...effects: Effect[]][]): Operation[] {
  const history: Operation[] = [];
  for (const [client, [drawing, ...effects]] of lines.entries()) {
    const at = (column: number) => column * lines.length + client;
    for (const span of drawing.matchAll(/\([^()]*(\))?/g)) {
      const effect = effects.shift();
      assert.ok(effect !== undefined, "an operation for every span");
      const returned = span[1] === undefined ? Infinity : at(span.index + span[0].length - 1);
      const text = `client ${client} ${JSON.stringify(effect)}`;
      history.push({ key: "k", call: at(span.index), returned, text, ...effect });
    }
    assert.equal(effects.length, 0, "a span for every operation");
  }
  return history;
}

const LINEARIZABLE: Record<string, Operation[]> = {
  "nothing happened": [],
  "reads see the last write": draw(["(--)(--)(--)", write("a"), read("a"), read("a")]),
  "an overlapping read sees the old value": draw(
    ["(--)(----)", write("a"), write("b")],
    ["     (--)", read("a")],
  ),
  "an overlapping read sees the new value": draw(
    ["(--)(------)", write("a"), write("b")],
    ["     (-)(-)", read("b"), read("b")],
  ),
  "two overlapping writes in either order": draw(
    ["(------)", write("a")],
    ["  (----)", write("b")],
    ["         (--)(--)", read("a"), read("a")],
  ),
  "of two overlapping swaps one finds what the other left": draw(
    ["(-)(-----)", write("a"), swap("a", "b")],
    ["    (---) ", swap("b", "c")],
    ["          (-)", read("c")],
  ),
  "an unknown write that happened": draw(
    ["(-)(", write("a"), write("b")],
    ["      (-)", read("b")],
  ),
  "an unknown write that never happened": draw(
    ["(-)(", write("a"), write("b")],
    ["      (-)(-)", read("a"), read("a")],
  ),
  "an unknown write that happened late": draw(
    ["(-)(", write("a"), write("b")],
    ["      (-)(-)(-)", read("a"), swap("a", "c"), read("b")],
  ),
  "a chain of unknown swaps, seen at its end": draw(
    ["(-)(", write("a"), swap("a", "b")],
    ["    (", swap("b", "c")],
    ["      (", swap("c", "d")],
    ["         (-)", read("d")],
  ),
  "an unknown delete that happened": draw(
    ["(-)(", write("a"), swap("a", null)],
    ["     (-)", read(null)],
  ),
  "an unknown delete that did not": draw(
    ["(-)(", write("a"), swap("a", null)],
    ["     (-)(-)", read("a"), write("b")],
    ["                 (-)", read("b")],
  ),
  "a vague refusal explained by an unseen write": draw(
    ["(-)(", write("a"), write("b")],
    ["     (-)", notEqual("a")],
  ),
  "a failed swap that names what it found": draw(["(-)(-)(-)", write("a"), read("a"), read("a")]),
};

const NOT_LINEARIZABLE: Record<string, Operation[]> = {
  "a stale read": draw(["(--)(--)", write("a"), write("b")], ["           (--)", read("a")]),
  "a lost write": draw(["(--)", write("a")], ["     (--)", read(null)]),
  "a value from nowhere": draw(["(--)(--)", write("a"), read("z")]),
  "a value seen before it was written": draw(["(--)(--)", read("a"), write("a")]),
  "an unknown write seen before it was called": draw(["(--)(", read("a"), write("a")]),
  "two reads that disagree about the order": draw(
    ["(-----------)", write("a")],
    ["(-----------)", write("b")],
    ["             (-)(-)", read("a"), read("b")],
  ),
  "new, then old, both during the write": draw(
    ["(-)(-----------)", write("a"), write("b")],
    ["     (-)(-)", read("b"), read("a")],
  ),
  "both of two swaps from one value won": draw(
    ["(-)(----)", write("a"), swap("a", "b")],
    ["   (----)", swap("a", "c")],
  ),
  "a write that happened twice": draw(
    ["(-)(", write("a"), write("b")],
    ["      (-)(-)(-)", read("b"), write("c"), read("b")],
  ),
  "an unknown write that came and went": draw(
    ["(-)(", write("a"), write("b")],
    ["      (-)(-)", read("b"), read("a")],
  ),
  "a deleted key that came back": draw(
    ["(-)(-)", write("a"), swap("a", null)],
    ["       (-)(-)", read(null), read("a")],
  ),
  "a refusal that nothing explains": draw(["(-)(-)", write("a"), notEqual("a")]),
};

for (const [name, history] of Object.entries(LINEARIZABLE)) {
  test(`accepted: ${name}`, () => {
    const violations = checkLinearizable(history);
    assert.deepEqual(violations.map(describeViolation), []);
    assert.equal(tryAllOrders(history), true, "the slow twin agrees");
  });
}
for (const [name, history] of Object.entries(NOT_LINEARIZABLE)) {
  test(`rejected: ${name}`, () => {
    assert.equal(checkLinearizable(history).length, 1);
    assert.equal(tryAllOrders(history), false, "the slow twin agrees");
  });
}

test("a violation names the key, the response and the possible values", () => {
  const [violation] = checkLinearizable(NOT_LINEARIZABLE["a stale read"] ?? []);
  assert.ok(violation !== undefined);
  const text = describeViolation(violation);
  assert.match(text, /^k is not linearizable: .*"requires":"a".*may have been b\n/);
  assert.match(text, /\n {2}> \[/);
});

test("many unknown writes beside vague responses stay cheap", () => {
  const history: Operation[] = [];
  let position = 0;
  for (let n = 0; n < 300; n++) {
    const call = position++;
    history.push({ ...{ key: "k", call, returned: Infinity, text: `u${n}` }, leaves: `u${n}` });
    const found = history.findLast(({ requires }) => requires !== undefined)?.leaves ?? null;
    for (const effect of [notEqual("z"), swap(found, `v${n}`)]) {
      const begun = position++;
      history.push({ key: "k", call: begun, returned: position++, text: `${n}`, ...effect });
    }
  }
  assert.deepEqual(checkLinearizable(history), []);
  const last = history.length - 1;
  const planted = history.map((o, n) => (n === last ? { ...o, requires: "v1" } : o));
  assert.equal(checkLinearizable(planted).length, 1);
});

test("each key is checked by itself", () => {
  const stale = (NOT_LINEARIZABLE["a stale read"] ?? []).map((o) => ({ ...o, key: "bad" }));
  const fine = (LINEARIZABLE["an overlapping read sees the old value"] ?? []).map((o) => ({
    ...o,
    key: "good",
  }));
  assert.deepEqual(
    checkLinearizable([...stale, ...fine]).map(({ key }) => key),
    ["bad"],
  );
});

test(`small random histories: the same verdict as trying all orders, SEED=${SEED}`, () => {
  const prng = new Prng(SEED);
  const verdicts = { accepted: 0, refused: 0 };
  for (let run = 0; run < 3000; run++) {
    const history = randomHistory(prng);
    const isAccepted = checkLinearizable(history).length === 0;
    assert.equal(isAccepted, tryAllOrders(history), `run ${run}: ${JSON.stringify(history)}`);
    verdicts[isAccepted ? "accepted" : "refused"]++;
  }
  assert.ok(verdicts.accepted > 300 && verdicts.refused > 300, JSON.stringify(verdicts));
});

test(`20,000 operations with timeouts are accepted, and rejected with one response changed, SEED=${SEED}`, () => {
  const prng = new Prng(SEED);
  const history = simulate(prng, 20_000, 12);
  assert.ok(history.filter(({ returned }) => returned === Infinity).length > 100);
  assert.deepEqual(checkLinearizable(history).map(describeViolation), []);

  const reads = history.filter(
    ({ leaves, returned }) => leaves === undefined && returned < Infinity,
  );
  for (let run = 0; run < 20; run++) {
    const victim = prng.pick(reads);
    // A value that had certainly been overwritten when the read began.
    const stale = history.findLast(
      ({ key, returned, leaves }) =>
        key === victim.key && leaves !== undefined && returned < victim.call - 2000,
    );
    if (stale === undefined) continue;
    const planted = history.map((o) => (o === victim ? { ...o, requires: stale.leaves } : o));
    assert.equal(checkLinearizable(planted).length, 1, `${victim.text} reads ${stale.leaves}`);
  }
});

/**
 * The slow model: every order that respects real time, with and without operations of unknown
 * outcome.
 */
function tryAllOrders(history: readonly Operation[]): boolean {
  const search = (left: readonly Operation[], value: Value): boolean => {
    if (left.every(({ returned }) => returned === Infinity)) return true;
    const firstReturn = Math.min(...left.map(({ returned }) => returned));
    return left.some((next) => {
      if (next.call > firstReturn) return false;
      if (next.requires !== undefined && next.requires !== value) return false;
      if (next.forbids?.includes(value)) return false;
      const after = next.leaves === undefined ? value : next.leaves;
      return search(
        left.filter((operation) => operation !== next),
        after,
      );
    });
  };
  return search(history, null);
}

/** Up to seven operations of up to three clients, with random responses. */
function randomHistory(prng: Prng): Operation[] {
  const history: Operation[] = [];
  const values: Value[] = [null, "a", "b", "c"];
  let position = 0;
  const busy = new Map<number, number>();
  const count = 2 + prng.below(6);
  let written = 0;
  while (history.length < count) {
    const client = prng.below(3);
    const open = busy.get(client);
    if (open !== undefined) {
      const operation = history[open] as Operation;
      history[open] = { ...operation, returned: prng.oneIn(6) ? Infinity : position++ };
      busy.delete(client);
      continue;
    }
    const isUnique = !prng.oneIn(3);
    const value = isUnique ? (values[1 + (written++ % 3)] as Value) : prng.pick(values);
    const effect = prng.pick([
      read(prng.pick(values)),
      write(value),
      swap(prng.pick(values), value),
      notEqual(prng.pick(values)),
    ]);
    busy.set(client, history.length);
    const text = JSON.stringify(effect);
    history.push({ key: "k", call: position++, returned: Infinity, text, ...effect });
  }
  return history;
}

/**
 * A correct register service on three keys; some responses get lost, some requests are late or
 * lost.
 */
function simulate(prng: Prng, count: number, clients: number): Operation[] {
  const state = new Map<string, Value>();
  const history: Operation[] = [];
  interface Running {
    operation: Operation;
    kind: string;
    happensAt: number;
    returnsAt: number;
  }
  let running: Running[] = [];
  const late: Running[] = [];
  let position = 0;
  const happen = ({ operation, kind }: Running) => {
    const found = state.get(operation.key) ?? null;
    const guess = operation.requires;
    const isDone = kind === "write" || (kind === "swap" && guess === found);
    if (isDone) state.set(operation.key, operation.leaves ?? null);
    const at = history.indexOf(operation, Math.max(0, history.length - 500));
    const { leaves: _, ...rest } = operation;
    const answer = isDone ? { ...operation, requires: found } : { ...rest, requires: found };
    if (at >= 0 && operation.returned !== Infinity) history[at] = answer;
  };
  let value = 0;
  while (history.length < count || running.length > 0) {
    position++;
    for (const run of running.filter(({ happensAt }) => happensAt === position)) happen(run);
    for (const run of late.filter(({ happensAt }) => happensAt === position)) happen(run);
    running = running.filter(({ returnsAt }) => returnsAt > position);
    if (running.length >= clients || history.length >= count) continue;
    const kind = prng.pick(["read", "write", "swap"]);
    const key = `k${prng.below(3)}`;
    const call = position * 2;
    const isUnknown = prng.oneIn(50);
    const span = 1 + prng.below(60);
    const happensAt = position + 1 + prng.below(span);
    const returnsAt = happensAt + 1 + prng.below(20);
    const base = { key, call, text: `${kind} ${key} at ${call}` };
    const returned = isUnknown ? Infinity : returnsAt * 2 + 1;
    const requires = state.get(key) ?? null;
    const operation: Operation =
      kind === "read"
        ? { ...base, returned }
        : kind === "write"
          ? { ...base, returned, leaves: `v${value++}` }
          : { ...base, returned, requires, leaves: `v${value++}` };
    history.push(operation);
    const run = { operation, kind, happensAt, returnsAt };
    if (!isUnknown) running.push(run);
    else if (!prng.oneIn(3)) late.push({ ...run, happensAt: happensAt + prng.below(300) });
  }
  return history;
}
