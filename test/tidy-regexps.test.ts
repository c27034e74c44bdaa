import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

/**
 * Regular expressions that take quadratic time or more on some input (ReDoS) are found by trying:
 * each of the sources' on long runs of the characters it names, alone and in pairs.
 */

const SRC = new URL("../../src", import.meta.url).pathname;
const LONG = 20_000;
/** A linear one takes less than a millisecond, a quadratic one a second. */
const SLOW_MS = 150;

/** Of numbers, which are short; the operator's own command line. */
const SHORT_INPUT: ReadonlySet<string> = new Set(["0+$"]);
const isOperators = (file: string) => file.startsWith("ctl/");

const LITERAL =
  /(?<=[(,=:[!&|?{;]\s*|return\s+|^\s*)\/((?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])*)\/([dgimsuvy]*)(?=[\s,;.):])/gm;

function literalsOf(text: string): RegExp[] {
  const code = text.replace(/^\s*(?:\*|\/\/|\/\*).*$/gm, "");
  return [...code.matchAll(LITERAL)].flatMap(([, source = "", flags = ""]) => {
    try {
      return [new RegExp(source, flags)];
    } catch {
      return []; // Not a regular expression, but two divisions.
    }
  });
}

/** Characters of each kind that the expression may tell apart. */
function charactersOf({ source }: RegExp): string[] {
  const named = [...source.replace(/\\[a-zA-Z]/g, "")].filter((char) =>
    /[^\w()[\]{}|?+^]/.test(char),
  );
  return [...new Set(["a", "0", "f", " ", "\t", "\n", "%", "/", ...named])];
}

function attacksOf(regexp: RegExp): string[] {
  const characters = charactersOf(regexp);
  const runs = characters.flatMap((one) => [one, ...characters.map((other) => one + other)]);
  return [...new Set(runs)].flatMap((run) => {
    const long = run.repeat(LONG / run.length);
    return [`${long}\0`, `a${long}\0`];
  });
}

function slowest(regexp: RegExp): { ms: number; attack: string } {
  let worst = { ms: 0, attack: "" };
  for (const attack of attacksOf(regexp)) {
    let ms = Number.POSITIVE_INFINITY;
    // The least of three: other programs only add.
    for (let n = 0; n < 3 && ms > SLOW_MS; n++) {
      regexp.lastIndex = 0;
      const startMs = performance.now();
      attack.replace(regexp, "");
      ms = Math.min(ms, performance.now() - startMs);
    }
    if (ms > SLOW_MS) return { ms, attack: JSON.stringify(attack.slice(0, 8)) };
    if (ms > worst.ms) worst = { ms, attack: JSON.stringify(attack.slice(0, 8)) };
  }
  return worst;
}

test("the search for slow expressions finds those that are known to be", () => {
  for (const slow of [/\s+$/, /[ \t]+$/, /0+$/, /([\d.]+)([a-z]+)/g]) {
    assert.ok(slowest(slow).ms > SLOW_MS, String(slow));
  }
  assert.ok(slowest(/^[a-z]+:\d+$/).ms < SLOW_MS);
  assert.equal(literalsOf('const A = /^a"\\/[/]$/g;\nx.replace(/b+/, "")').length, 2);
});

test("no regular expression of the server takes quadratic time", () => {
  const files = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(".ts") && !isOperators(file),
  );
  let count = 0;
  for (const file of files) {
    for (const regexp of literalsOf(readFileSync(join(SRC, file), "utf8"))) {
      count++;
      if (SHORT_INPUT.has(regexp.source)) continue;
      const { ms, attack } = slowest(regexp);
      assert.ok(ms < SLOW_MS, `${file}: ${regexp} takes ${Math.round(ms)} ms with ${attack}...`);
    }
  }
  assert.ok(count > 70, `${count} expressions found`);
});
