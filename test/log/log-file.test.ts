import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { createLogCells, createLogger, reopenLogFiles } from "#ringd/log/logger.js";

const dir = mkdtempSync(join(tmpdir(), "ringd-log-file-"));
after(() => rmSync(dir, { recursive: true }));

for (const format of ["json", "pretty"] as const) {
  test(`${format}: a rotated file is left with the next line after the order to reopen`, () => {
    const file = join(dir, `${format}.log`);
    const cells = createLogCells("info");
    const loggers = ["core", "wal"].map((thread) =>
      createLogger({ level: "info", format, outputs: [file] }, thread, cells),
    );
    const all = (text: string) => {
      for (const logger of loggers) logger.info(text);
    };
    const texts = (path: string) => readFileSync(path, "utf8").match(/before|between|after/g);
    all("before");
    renameSync(file, `${file}.1`);
    all("between");
    assert.deepEqual(texts(`${file}.1`), ["before", "before", "between", "between"]);
    reopenLogFiles(cells);
    all("after");
    assert.deepEqual(texts(file), ["after", "after"]);
    assert.equal(texts(`${file}.1`)?.length, 4);
  });
}

test("a file that cannot be opened again is written on", () => {
  const file = join(dir, "kept.log");
  const cells = createLogCells("info");
  const logger = createLogger({ level: "info", format: "json", outputs: [file] }, "core", cells);
  renameSync(file, `${file}.1`);
  mkdirSync(file);
  reopenLogFiles(cells);
  logger.info("lost by nobody");
  assert.match(readFileSync(`${file}.1`, "utf8"), /lost by nobody/);
});
