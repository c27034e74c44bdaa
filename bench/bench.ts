import { readdirSync } from "node:fs";
import { basename } from "node:path";

/**
 * `npm run bench -- [name] [options]` runs one of the benchmarks beside this file, each of which
 * answers one question and has options of its own. Without a name it is end-to-end, and with
 * --members cluster.
 */
const DIRECTORY = new URL(".", import.meta.url);
const SELF = basename(import.meta.url);

const names = readdirSync(DIRECTORY)
  .filter((file) => file.endsWith(".js") && file !== SELF)
  .map((file) => basename(file, ".js"))
  .sort();
const [first = ""] = process.argv.slice(2);
const isOption = first === "" || first.startsWith("-");
const name = isOption ? (process.argv.includes("--members") ? "cluster" : "end-to-end") : first;
if (!names.includes(name)) {
  process.stderr.write(`There is no benchmark "${name}", but ${names.join(", ")}\n`);
  process.exit(2);
}
if (!isOption) process.argv.splice(2, 1);
await import(`./${name}.js`);
