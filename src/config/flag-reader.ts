import { parseGoBool } from "../go/bool.js";
import { parseGoDuration } from "../go/duration.js";
import { ConfigError, cannotVerify } from "./config-error.js";
import { FLAGS, type FlagKind, IGNORED } from "./flags.js";
import type { Given } from "./sources.js";
import { type ListenUrl, parseUrls } from "./urls.js";

function kindOf(name: string): FlagKind | undefined {
  return FLAGS[name]?.kind ?? IGNORED.get(name);
}

/** Typed access to the given texts and defaults. A text that does not parse is a ConfigError. */
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

  durationMs(name: string): number {
    const value = parseGoDuration(this.string(name));
    if (value === undefined) throw this.invalid(name, "parse error");
    return Number(value) / 1e6;
  }

  #number(name: string, form: RegExp): number {
    const text = this.string(name);
    const value = Number(text);
    if (!form.test(text) || !Number.isSafeInteger(value)) {
      throw this.invalid(name, "parse error");
    }
    return value;
  }

  /** As in etcd, an empty text means no URLs: nothing is listened on. */
  urls(name: string): ListenUrl[] {
    if (this.string(name) === "" && name.startsWith("listen-")) return [];
    return parseUrls(this.string(name), (why) => this.invalid(name, why));
  }

  oneOf<T extends string>(name: string, choices: readonly T[]): T {
    const text = this.string(name);
    const found = choices.find((choice) => choice === text);
    if (found === undefined) throw this.invalid(name, `it is one of ${choices.join(", ")}`);
    return found;
  }

  /** Parses all flags, even those without effect, so that a typo in any is reported. */
  checkAll(): void {
    for (const name of this.#given.texts.keys()) {
      const kind = kindOf(name);
      if (kind === "bool") this.bool(name);
      else if (kind === "uint") this.uint(name);
      else if (kind === "duration" && parseGoDuration(this.string(name)) === undefined) {
        throw this.invalid(name, "parse error");
      }
    }
  }

  /** Given flags that have no effect, without bools that are false. */
  withoutEffect(): string[] {
    return [...this.#given.texts.keys()].filter((name) => {
      if (!IGNORED.has(name)) return false;
      return kindOf(name) !== "bool" || this.bool(name);
    });
  }

  /** The error for a text that does not parse, with its source (flag, variable, file). */
  invalid(name: string, why: string): ConfigError {
    const text = this.string(name);
    const { variables, file } = this.#given;
    const place = variables.get(name) ?? (file === "" ? "" : `${name} in ${file}`);
    if (place !== "") return cannotVerify(`invalid value "${text}" for ${place}: ${why}`);
    const kind = kindOf(name) === "bool" ? "boolean value" : "value";
    return new ConfigError(`invalid ${kind} "${text}" for flag -${name}: ${why}`, 2);
  }
}
