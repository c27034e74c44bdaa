import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { runScript } from "./script.js";

// The scripts are in the source tree; the compiled test runs from dist/test/raft/.
const folder = new URL("../../../test/raft/testdata/", import.meta.url);

for (const name of readdirSync(folder).filter((file) => file.endsWith(".txt"))) {
  test(`the script ${name} prints its recorded output`, () => {
    const file = new URL(name, folder);
    const text = readFileSync(file, "utf8");
    const output = runScript(text);
    if (process.env.REWRITE !== undefined) writeFileSync(file, output);
    else assert.equal(output, text);
  });
}
