// Runs every compiled test file (or those whose path contains one of the arguments). Given a folder,
// Node 20's own runner would run the helpers too.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";

const root = new URL("../dist/test/", import.meta.url).pathname;
const wanted = process.argv.slice(2);
const files = readdirSync(root, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".test.js"))
  .filter((name) => wanted.length === 0 || wanted.some((part) => name.includes(part)))
  .sort()
  .map((name) => join(root, name));
if (files.length === 0) {
  process.stderr.write(`No test file matches ${wanted.join(" ")}\n`);
  process.exit(1);
}
// The timeout, of a test or a file, is for those that would never end.
const options = ["--test", "--test-concurrency=2", "--test-timeout=300000"];
const run = spawnSync(process.execPath, [...options, ...files], { stdio: "inherit" });
process.exit(run.status ?? 1);
