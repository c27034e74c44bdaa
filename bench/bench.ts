import { readdirSync } from "node:fs";
import { basename } from "node:path";

/**
 * `npm run bench -- [name] [options]` runs a benchmark of this folder; each answers one question
 * and has its own options. Default: end-to-end, or cluster with --members, profile with --profile.
 */
const DIRECTORY = new URL(".", import.meta.url);
const SELF = basename(import.meta.url);

const names = readdirSync(DIRECTORY)
  .filter((file) => file.endsWith(".js") && file !== SELF)
  .map((file) => basename(file, ".js"))
  .sort();
const [first = ""] = process.argv.slice(2);
const isOption = first === "" || first.startsWith("-");
const name = isOption ? nameOf(process.argv) : first;
if (!names.includes(name)) {
  process.stderr.write(`There is no benchmark "${name}", but ${names.join(", ")}\n`);
  process.exit(2);
}
if (!isOption) process.argv.splice(2, 1);
await import(`./${name}.js`);

function nameOf(args: readonly string[]): string {
  if (args.includes("--profile")) return "profile";
  return args.includes("--members") ? "cluster" : "end-to-end";
}
