import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readSources } from "#ringd/config/sources.js";
import { createLogCells, createLogger } from "#ringd/log/logger.js";

const dir = mkdtempSync(join(tmpdir(), "ringd-logger-"));
after(() => rmSync(dir, { recursive: true }));

/** Whether a package was loaded in this process. */
function isLoaded(name: string): boolean {
  const files = Object.keys(createRequire(import.meta.url).cache);
  return files.some((file) => file.includes(`/node_modules/${name}/`));
}

test("packages that only some starts need are loaded on demand", () => {
  const line = (format: "json" | "pretty") => {
    const output = join(dir, `${format}.log`);
    const level = createLogCells("info");
    createLogger({ level: "info", format, outputs: [output] }, "core", level).info("elected");
    return readFileSync(output, "utf8");
  };
  assert.match(
    line("json"),
    /^\{"level":"info","time":"[^"]+","thread":"core","msg":"elected"\}\n$/,
  );
  assert.equal(isLoaded("pino"), true, "the cache shows what is loaded");
  assert.equal(isLoaded("pino-pretty"), false);
  assert.match(line("pretty"), /INFO.*: elected\n/);
  assert.equal(isLoaded("pino-pretty"), true);

  assert.equal(readSources(["--name", "a"], {}).texts.get("name"), "a");
  assert.equal(isLoaded("yaml"), false);
  const file = join(dir, "conf.yml");
  writeFileSync(file, "name: b\n");
  assert.equal(readSources(["--config-file", file], {}).texts.get("name"), "b");
  assert.equal(isLoaded("yaml"), true);
});
