import { parseGoBool } from "../lib/go-bool.js";
import { ConfigError } from "./config-error.js";
import { FLAGS } from "./flags.js";
import { type ListenUrl, parseUrls } from "./urls.js";

/** Typed access to given texts and defaults. What cannot be read is a ConfigError with exit code 2. */
export class FlagReader {
  readonly #texts: ReadonlyMap<string, string>;

  constructor(texts: ReadonlyMap<string, string>) {
    this.#texts = texts;
  }

  isGiven(name: string): boolean {
    return this.#texts.has(name);
  }

  string(name: string): string {
    return this.#texts.get(name) ?? FLAGS[name]?.value ?? "";
  }

  bool(name: string): boolean {
    const value = parseGoBool(this.string(name));
    if (value === undefined) throw this.#invalid(name, "parse error");
    return value;
  }

  uint(name: string): number {
    const text = this.string(name);
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
      throw this.#invalid(name, "parse error");
    }
    return value;
  }

  urls(name: string): ListenUrl[] {
    return parseUrls(name, this.string(name));
  }

  oneOf<T extends string>(name: string, choices: readonly T[]): T {
    const text = this.string(name);
    const found = choices.find((choice) => choice === text);
    if (found === undefined) throw this.#invalid(name, `it is one of ${choices.join(", ")}`);
    return found;
  }

  #invalid(name: string, why: string): ConfigError {
    const text = this.string(name);
    const kind = FLAGS[name]?.kind === "bool" ? "boolean value" : "value";
    return new ConfigError(`invalid ${kind} "${text}" for flag -${name}: ${why}`, 2);
  }
}
