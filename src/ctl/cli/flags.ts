import { parseGoBool } from "../../go/bool.js";
import { parseGoDuration } from "../../go/duration.js";
import { goQuote } from "../../go/text.js";
import { type FlagSpec, FlagValues, type ValueKind } from "./spec.js";

/**
 * Flags by the rules of Go's flag package, and with its messages: one dash or two, `-flag=value` or
 * `-flag value`, booleans without a value. No parser of npm knows long flags with a single dash.
 */

export type FlagScan =
  | { readonly kind: "flags"; readonly given: readonly GivenFlag[]; readonly rest: string[] }
  | { readonly kind: "misuse"; readonly text: string };

export interface GivenFlag {
  readonly spec: FlagSpec;
  /** The alias that was written. */
  readonly name: string;
  readonly text: string;
}

/** Parses flags up to the first argument or `--`, which is dropped. */
export function scanFlags(specs: readonly FlagSpec[], words: readonly string[]): FlagScan {
  const given: GivenFlag[] = [];
  let at = 0;
  while (at < words.length) {
    const word = words[at] as string;
    if (!word.startsWith("-") || word === "-") break;
    at++;
    if (word === "--") break;
    const body = word.slice(word.startsWith("--") ? 2 : 1);
    if (/^(?:-|=|$)/.test(body)) return misuse(`bad flag syntax: ${word}`);
    const equals = body.indexOf("=");
    const name = equals < 0 ? body : body.slice(0, equals);
    const spec = specs.find(({ names }) => names.includes(name));
    if (spec === undefined) return misuse(`flag provided but not defined: -${name}`);
    let text = equals < 0 ? undefined : body.slice(equals + 1);
    if (text === undefined) {
      if (spec.kind === "bool") text = "true";
      else if (at < words.length) text = words[at++] as string;
      else return misuse(`flag needs an argument: -${name}`);
    }
    const problem = invalidity(spec.kind, text);
    if (problem !== undefined) {
      const quoted = goQuote(text);
      return misuse(
        spec.kind === "bool"
          ? `invalid boolean value ${quoted} for -${name}: ${problem}`
          : `invalid value ${quoted} for flag -${name}: ${problem}`,
      );
    }
    given.push({ spec, name, text });
  }
  return { kind: "flags", given, rest: words.slice(at) };
}

/** Given or default values of all flags. A boolean that is set to false once is false. */
export function flagValues(specs: readonly FlagSpec[], given: readonly GivenFlag[]): FlagValues {
  const values = new Map<string, unknown>();
  for (const spec of specs) {
    const texts = given.filter((flag) => flag.spec === spec).map(({ text }) => text);
    const [name] = spec.names;
    const text = texts.at(-1) ?? spec.initial;
    if (spec.kind === "bool") {
      values.set(name, texts.length > 0 && texts.every((each) => parseGoBool(each) === true));
    } else if (spec.kind === "strings") {
      values.set(name, texts);
    } else if (text !== undefined) {
      values.set(name, readValue(spec.kind, text));
    }
  }
  return new FlagValues(values);
}

function readValue(kind: "int" | "duration" | "string", text: string): unknown {
  switch (kind) {
    case "int":
      return readInt(text);
    case "duration":
      return parseGoDuration(text);
    case "string":
      return text;
  }
}

/** A flag may be given twice, but not under two names. @returns the error message */
export function twoForms(given: readonly GivenFlag[]): string | undefined {
  for (const { spec } of given) {
    const [first, second] = spec.names.filter((name) => given.some((flag) => flag.name === name));
    if (second !== undefined) return `Cannot use two forms of the same flag: ${second} ${first}`;
  }
  return undefined;
}

/**
 * Moves a command's flags before its arguments, up to `--`. The word after a flag moves with it,
 * whether the flag takes a value or not: after a boolean it becomes the first argument, as in
 * etcdctl.
 *
 * @param keepsSeparator leaves `--` between the arguments; else it moves before them, where it is
 * dropped
 */
export function flagsFirst(
  specs: readonly FlagSpec[],
  words: readonly string[],
  keepsSeparator = false,
): string[] {
  const flags: string[] = [];
  const others: string[] = [];
  let mayBeValue = false;
  for (const [i, word] of words.entries()) {
    if (mayBeValue && !isFlag(specs, word)) {
      mayBeValue = false;
      flags.push(word);
    } else if (word === "--") {
      const rest = words.slice(i + 1);
      return keepsSeparator
        ? [...flags, ...others, word, ...rest]
        : [...flags, word, ...others, ...rest];
    } else if (isFlag(specs, word)) {
      flags.push(word);
      mayBeValue = !word.includes("=");
    } else {
      others.push(word);
    }
  }
  return [...flags, ...others];
}

function isFlag(specs: readonly FlagSpec[], word: string): boolean {
  const name = /^--?-?([^=]*)/.exec(word)?.[1];
  return name !== undefined && specs.some(({ names }) => names.includes(name));
}

const PARSE_ERROR = "parse error";

function invalidity(kind: ValueKind, text: string): string | undefined {
  switch (kind) {
    case "bool":
      return parseGoBool(text) === undefined ? PARSE_ERROR : undefined;
    case "int": {
      const value = readInt(text);
      if (value === undefined) return PARSE_ERROR;
      return BigInt.asIntN(64, value) === value ? undefined : "value out of range";
    }
    case "duration":
      return parseGoDuration(text) === undefined ? PARSE_ERROR : undefined;
    case "string":
    case "strings":
      return undefined;
  }
}

/** Decimal, or with the prefix `0x`, `0o`, `0` or `0b`; underscores may separate digits. */
export function readInt(text: string): bigint | undefined {
  const parts =
    /^([+-]?)(0[xX](?:_?[0-9a-fA-F])+|0[oO]?(?:_?[0-7])+|0[bB](?:_?[01])+|0|[1-9](?:_?[0-9])*)$/.exec(
      text,
    );
  if (parts === null) return undefined;
  const digits = (parts[2] ?? "").replaceAll("_", "").replace(/^0(?=[0-7])/, "0o");
  return parts[1] === "-" ? -BigInt(digits) : BigInt(digits);
}

function misuse(text: string): FlagScan {
  return { kind: "misuse", text };
}

/** `--recursive`, or `-p` for a flag that has only a letter. */
export function longForm(spec: FlagSpec): string {
  const [name] = spec.names;
  return name.length === 1 ? `-${name}` : `--${name}`;
}
