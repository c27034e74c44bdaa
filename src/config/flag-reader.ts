import { parseGoBool } from "../lib/go-bool.js";
import { ConfigError, cannotVerify } from "./config-error.js";
import { FLAGS } from "./flags.js";
import type { Given } from "./sources.js";
import { type ListenUrl, parseUrls } from "./urls.js";

/** Typed access to given texts and defaults. What cannot be read is a ConfigError. */
export class FlagReader {
  readonly #given: Given;

  constructor(given: Given) {
    this.#given = given;
  }

  get isFromFile(): boolean {
    return this.#given.file !== "";
  }

  isGiven(name: string): boolean {
    return this.#given.texts.has(name);
  }

  string(name: string): string {
    return this.#given.texts.get(name) ?? FLAGS[name]?.value ?? "";
  }

  bool(name: string): boolean {
    const value = parseGoBool(this.string(name));
    if (value === undefined) throw this.invalid(name, "parse error");
    return value;
  }

  uint(name: string): number {
    return this.#number(name, /^\d+$/);
  }

  int(name: string): number {
    return this.#number(name, /^[+-]?\d+$/);
  }

  #number(name: string, form: RegExp): number {
    const text = this.string(name);
    const value = Number(text);
    if (!form.test(text) || !Number.isSafeInteger(value)) {
      throw this.invalid(name, "parse error");
    }
    return value;
  }

  urls(name: string): ListenUrl[] {
    return parseUrls(this.string(name), (why) => this.invalid(name, why));
  }

  oneOf<T extends string>(name: string, choices: readonly T[]): T {
    const text = this.string(name);
    const found = choices.find((choice) => choice === text);
    if (found === undefined) throw this.invalid(name, `it is one of ${choices.join(", ")}`);
    return found;
  }

  /** A text that cannot be read, and where it stands. */
  invalid(name: string, why: string): ConfigError {
    const text = this.string(name);
    const { variables, file } = this.#given;
    const place = variables.get(name) ?? (file === "" ? "" : `${name} in ${file}`);
    if (place !== "") return cannotVerify(`invalid value "${text}" for ${place}: ${why}`);
    const kind = FLAGS[name]?.kind === "bool" ? "boolean value" : "value";
    return new ConfigError(`invalid ${kind} "${text}" for flag -${name}: ${why}`, 2);
  }
}
