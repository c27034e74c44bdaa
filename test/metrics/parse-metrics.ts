import assert from "node:assert/strict";

export interface Page {
  /** By name and labels as printed: `a_total{method="GET"}`. */
  readonly values: ReadonlyMap<string, number>;
  readonly types: ReadonlyMap<string, string>;
  readonly helps: ReadonlyMap<string, string>;
}

/** Parses Prometheus's text format strictly: unknown input throws. */
export function parseMetrics(text: string): Page {
  const values = new Map<string, number>();
  const types = new Map<string, string>();
  const helps = new Map<string, string>();
  assert.ok(text.endsWith("\n"), "the page ends in a newline");
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const comment = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/.exec(line);
    if (comment !== null) {
      const [, word, name = "", rest = ""] = comment;
      const map = word === "HELP" ? helps : types;
      assert.ok(!map.has(name), `one ${word} for ${name}`);
      map.set(name, rest);
      continue;
    }
    const sample =
      /^([a-zA-Z_:][a-zA-Z0-9_:]*(?:\{[a-zA-Z_]+="[^"\n]*"(?:,[a-zA-Z_]+="[^"\n]*")*\})?) (\S+)$/.exec(
        line,
      );
    assert.ok(sample !== null, `a line of the format: ${line}`);
    const [, key = "", value = ""] = sample;
    assert.ok(!values.has(key), `one sample for ${key}`);
    values.set(key, Number(value));
  }
  return { values, types, helps };
}
