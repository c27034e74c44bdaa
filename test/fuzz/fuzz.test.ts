import assert from "node:assert/strict";
import { test } from "node:test";
import { fuzz } from "./engine.js";
import { readCorpus, TARGETS } from "./targets.js";

/** The short form of `npm run fuzz`, with a fixed seed: SEED=n, INPUTS=n. */
const SEED = Number(process.env.SEED ?? 1);
const INPUTS = Number(process.env.INPUTS ?? 2000);
/** More than any planted bug needs. */
const PLANTED_INPUTS = 20_000;

for (const { name, run, planted } of TARGETS) {
  const corpus = readCorpus(name);

  test(`${name}: kept inputs, and ${INPUTS} others, SEED=${SEED}`, () => {
    for (const input of corpus) run(Buffer.from(input));
    const options = { seed: SEED, inputsMax: INPUTS, corpus, hasCoverage: false };
    const { inputs, failure } = fuzz(run, options);
    assert.ok(inputs >= INPUTS || failure !== undefined);
    if (failure === undefined) return;
    const { input, error } = failure;
    throw new Error(`found by ${JSON.stringify(input.toString("latin1"))}`, { cause: error });
  });

  test(`${name}: a planted bug is found`, () => {
    const options = { seed: SEED, inputsMax: PLANTED_INPUTS, corpus, hasCoverage: false };
    assert.ok(fuzz(planted, options).failure !== undefined);
  });
}

test("with coverage, the fuzzer reaches what a chain of inputs leads to", () => {
  // How many join depends on what V8 has compiled and inlined meanwhile; blind, none does.
  const path = TARGETS.find(({ name }) => name === "json")?.run;
  assert.ok(path !== undefined);
  const options = { seed: SEED, inputsMax: 4000, corpus: [Buffer.from("0")], hasCoverage: true };
  const { found } = fuzz(path, options);
  assert.ok(found.length > 1, `${found.length} inputs joined the corpus`);
});
