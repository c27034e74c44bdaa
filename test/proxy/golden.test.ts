import assert from "node:assert/strict";
import { test } from "node:test";
import { readScenarios, replay, warmUp } from "../compat/golden/replay.js";
import { destroyProxied, makeProxied } from "./proxied.js";

/** With statistics, a proxy's look for members would count. */
const AREAS = ["keys", "params", "cas", "cad", "ttl", "watch", "misc"];

/** What node:http answers itself, and a target that etcd's proxy does not get to see. */
const KNOWN: readonly RegExp[] = [/^methods, step 2: BREW /, /^paths, step 18: GET .*%zz\n/];

for (const area of AREAS) {
  test(`through a proxy the answers are as recorded: ${area}`, async () => {
    const proxied = await makeProxied(1);
    try {
      const { port } = proxied.proxy;
      await warmUp(port);
      const differences: string[] = [];
      for (const scenario of readScenarios(area)) {
        const found = await replay(port, scenario);
        differences.push(...found.filter((text) => !KNOWN.some((known) => known.test(text))));
      }
      const shown = differences.slice(0, 20).join("\n");
      assert.equal(differences.length, 0, `${differences.length} answers differ:\n${shown}`);
    } finally {
      await destroyProxied(proxied);
    }
  });
}
