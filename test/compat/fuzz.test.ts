import assert from "node:assert/strict";
import { test } from "node:test";
import { everyOddPiece } from "./fuzz/every-odd.js";
import { generate } from "./fuzz/generate.js";
import { type Mismatch, Pair } from "./fuzz/pair.js";
import { shrink } from "./fuzz/shrink.js";
import { describeStep, forNodeHttp, type Step } from "./fuzz/step.js";

/**
 * SEED=n replays one sequence; ROUNDS=n runs that many, from SEED on; STEPS=n makes them longer.
 * FRONTEND=node has ringd serve through node:http.
 */
const first = Number(process.env.SEED ?? 1);
const rounds = Number(process.env.ROUNDS ?? (process.env.SEED === undefined ? 3 : 1));
const args = process.env.FRONTEND === undefined ? [] : ["--frontend", process.env.FRONTEND];
const count = Number(process.env.STEPS ?? 100);

/** Every sequence starts on new servers. */
async function firstMismatch(steps: readonly Step[]): Promise<Mismatch | undefined> {
  const pair = await Pair.create(args);
  try {
    return await pair.run(steps);
  } finally {
    await pair.destroy();
  }
}

/** The shrunk sequence, and how the responses differ. */
async function explain(steps: readonly Step[], mismatch: Mismatch): Promise<string> {
  const fails = async (some: readonly Step[]) => (await firstMismatch(some)) !== undefined;
  const cut = steps.slice(0, mismatch.step + 1);
  const kept = await shrink(cut, fails);
  const last = (await firstMismatch(kept)) ?? mismatch;
  return `${kept.map(describeStep).join("\n")}\n${last.text}`;
}

async function expectAlike(name: string, all: readonly Step[]): Promise<void> {
  const steps = process.env.FRONTEND === "node" ? all.map(forNodeHttp) : all;
  const mismatch = await firstMismatch(steps);
  if (mismatch === undefined) return;
  assert.fail(`${name}:\n${await explain(steps, mismatch)}`);
}

for (let seed = first; seed < first + rounds; seed++) {
  const name = `SEED=${seed} STEPS=${count}`;
  test(`ringd and etcd answer alike, ${name}`, () => expectAlike(name, generate(seed, count)));
}

test("ringd and etcd answer alike, whatever is odd", () => expectAlike("odd", everyOddPiece()));
