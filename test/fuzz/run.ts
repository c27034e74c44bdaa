import { parseArgs } from "node:util";
import { fuzz } from "./engine.js";
import { keepInputs, readCorpus, TARGETS } from "./targets.js";

/** `npm run fuzz -- [--minutes 10] [--seed N] [--keep] [TARGET...]` */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string", default: String(Date.now() % 2 ** 31) },
    keep: { type: "boolean", default: false },
  },
});
const known = TARGETS.map(({ name }) => name);
const unknown = positionals.find((name) => !known.includes(name));
if (unknown !== undefined) {
  process.stderr.write(`no target ${unknown}; there are: ${known.join(", ")}\n`);
  process.exit(1);
}

for (const { name, run } of TARGETS) {
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  const seed = Number(values.seed);
  const untilMs = performance.now() + Number(values.minutes) * 60_000;
  const corpus = readCorpus(name);
  const { inputs, found, failure } = fuzz(run, { seed, untilMs, corpus, hasCoverage: true });
  const kept = values.keep ? keepInputs(name, found) : 0;
  process.stdout.write(
    `${name}: ${inputs} inputs, ${found.length} of them reached new code, ${kept} kept, seed ${seed}\n`,
  );
  if (failure === undefined) continue;
  const { input, error } = failure;
  process.stdout.write(`${name}: ${JSON.stringify(input.toString("latin1"))}\n`);
  process.stdout.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  process.exitCode = 1;
}
