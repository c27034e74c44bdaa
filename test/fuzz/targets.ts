import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { CLIENT_TARGETS } from "./client-targets.js";
import type { FuzzTarget } from "./engine.js";
import { INNER_TARGETS } from "./inner-targets.js";

export const TARGETS: readonly FuzzTarget[] = [...CLIENT_TARGETS, ...INNER_TARGETS];

/** Kept inputs beyond this are not worth their time at each start. */
const KEPT_MAX = 300;

/** In the sources: a corpus is kept with them. */
const fileOf = (name: string) =>
  new URL(`../../../test/fuzz/corpus/${name}.json`, import.meta.url).pathname;

/** The kept inputs of a target: a JSON array of texts, one character per byte. */
export function readCorpus(name: string): Buffer[] {
  const file = fileOf(name);
  if (!existsSync(file)) return [Buffer.alloc(0)];
  const texts = JSON.parse(readFileSync(file, "utf8")) as string[];
  return texts.map((text) => Buffer.from(text, "latin1"));
}

/** Adds inputs to a target's corpus, the shortest first. */
export function keepInputs(name: string, found: readonly Buffer[]): number {
  const texts = readCorpus(name).map((input) => input.toString("latin1"));
  const more = found.map((input) => input.toString("latin1")).filter((text) => text.length < 2000);
  const kept = [...new Set([...texts, ...more.sort((a, b) => a.length - b.length)])];
  const all = kept.slice(0, KEPT_MAX);
  writeFileSync(fileOf(name), `${JSON.stringify(all, null, 2)}\n`);
  return all.length - texts.length;
}
