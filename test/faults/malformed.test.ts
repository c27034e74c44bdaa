import { test } from "node:test";
import { runMalformed } from "./malformed.js";

/** The short form of `npm run malformed`. */
const SEED = Number(process.env.SEED ?? 1);
const REQUESTS = 2000;

for (const kind of ["uws", "node"] as const) {
  test(`${kind}: ${REQUESTS} malformed requests, SEED=${SEED}`, async (t) => {
    await runMalformed({
      ...{ kind, requests: REQUESTS, seed: SEED },
      tell: (line) => t.diagnostic(line),
    });
  });
}
