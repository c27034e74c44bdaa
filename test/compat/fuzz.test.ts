import assert from "node:assert/strict";
import { test } from "node:test";
import { generate } from "./fuzz/generate.js";
import { type Mismatch, Pair } from "./fuzz/pair.js";
import { shrink } from "./fuzz/shrink.js";
import { describeStep, type Step } from "./fuzz/step.js";

/** SEED=n replays one sequence; ROUNDS=n runs that many, from SEED on; STEPS=n makes them longer. */
const first = Number(process.env.SEED ?? 1);
const rounds = Number(process.env.ROUNDS ?? (process.env.SEED === undefined ? 4 : 1));
const count = Number(process.env.STEPS ?? 100);

/** Every sequence begins with fresh servers. */
async function firstMismatch(steps: readonly Step[]): Promise<Mismatch | undefined> {
  const pair = await Pair.create();
  try {
    return await pair.run(steps);
  } finally {
    await pair.destroy();
  }
}

/** What is left of a sequence, and how its answers differ. */
async function explain(steps: readonly Step[], mismatch: Mismatch): Promise<string> {
  const fails = async (some: readonly Step[]) => (await firstMismatch(some)) !== undefined;
  const cut = steps.slice(0, mismatch.step + 1);
  const kept = await shrink(cut, fails);
  const last = (await firstMismatch(kept)) ?? mismatch;
  return `${kept.map(describeStep).join("\n")}\n${last.text}`;
}

for (let seed = first; seed < first + rounds; seed++) {
  test(`ringd and etcd answer alike, SEED=${seed} STEPS=${count}`, async () => {
    const steps = generate(seed, count);
    const mismatch = await firstMismatch(steps);
    if (mismatch === undefined) return;
    assert.fail(`SEED=${seed} STEPS=${count}:\n${await explain(steps, mismatch)}`);
  });
}
