import { createRequire } from "node:module";
import { systemReason } from "../lib/errors.js";
import { readTextFile } from "../process/text-file.js";
import { ConfigError, cannotVerify } from "./config-error.js";
import { FLAGS, GONE, IGNORED, IGNORED_LEGACY, IGNORED_VARIABLES } from "./flags.js";

const FILE_BYTES_MAX = 2 ** 20;

/** The flags that were given, and each one's source. */
export interface Given {
  readonly texts: ReadonlyMap<string, string>;
  /** The variable a flag was set by; no entry for the command line and the file. */
  readonly variables: ReadonlyMap<string, string>;
  /** The --config-file that replaces all other sources; "" without one. */
  readonly file: string;
  /** Logged once the logger exists. */
  readonly warnings: readonly string[];
}

/** Nested maps of the file, and the prefix of their keys' flags. */
const TLS_SECTIONS: ReadonlyMap<string, string> = new Map([
  ["client-transport-security", ""],
  ["peer-transport-security", "peer-"],
]);

export type Environment = Readonly<Record<string, string | undefined>>;

/** Not from variables: container images set ETCD_VERSION to the version they hold. */
const ONLY_ARGUMENTS: ReadonlySet<string> = new Set(["version", "help"]);

/**
 * Reads command line and environment as etcd does: the command line overrides variables, RINGD_
 * overrides ETCD_, empty variables are ignored. --config-file replaces them all.
 *
 * @throws ConfigError
 */
export function readSources(argv: readonly string[], environment: Environment): Given {
  const texts = new Map<string, string>();
  const warnings: string[] = [];
  readArguments(argv, texts, warnings);
  const variables = readEnvironment(environment, texts, warnings);
  const file = texts.get("config-file") ?? "";
  if (file === "") return { texts, variables, file, warnings };
  return { texts: readFile(file, warnings), variables: new Map(), file, warnings };
}

function readArguments(
  argv: readonly string[],
  texts: Map<string, string>,
  warnings: string[],
): void {
  for (let i = 0; i < argv.length; i++) {
    const argument = argv[i] as string;
    const match = /^--?([^=-][^=]*)(=([\s\S]*))?$/.exec(argument);
    if (argument === "--") {
      if (i + 1 < argv.length) throw strayArgument(argv[i + 1] as string);
      return;
    }
    if (match === null && /^-./.test(argument)) {
      throw new ConfigError(`bad flag syntax: ${argument}`, 2);
    }
    if (match === null) throw strayArgument(argument);
    const name = match[1] as string;
    let text = match[2] === undefined ? undefined : (match[3] as string);
    if (GONE.has(name)) throw new ConfigError(`flag "-${name}" is no longer supported.`, 1);
    if (IGNORED_LEGACY.has(name)) {
      warnings.push(`ignoring deprecated flag --${name}`);
      continue;
    }
    const kind = FLAGS[name]?.kind ?? IGNORED.get(name);
    if (kind === undefined && name !== "h") {
      throw new ConfigError(`flag provided but not defined: -${name}`, 2);
    }
    if (kind === "bool" || name === "h") text ??= "true";
    if (text === undefined) {
      if (i + 1 >= argv.length) throw new ConfigError(`flag needs an argument: -${name}`, 2);
      text = argv[++i] as string;
    }
    texts.set(name === "h" ? "help" : name, text);
  }
}

/** Loaded only with a file: its 70 modules are a fifth of all that the main thread loads. */
function yaml(): typeof import("yaml") {
  return createRequire(import.meta.url)("yaml") as typeof import("yaml");
}

function strayArgument(argument: string): ConfigError {
  return cannotVerify(`'${argument}' is not a valid flag`);
}

/** @returns the variable that set each flag */
function readEnvironment(
  environment: Environment,
  texts: Map<string, string>,
  warnings: string[],
): Map<string, string> {
  const variables = new Map<string, string>();
  const known = new Map<string, string>();
  for (const name of [...Object.keys(FLAGS), ...IGNORED.keys(), ...IGNORED_LEGACY]) {
    known.set(name.toUpperCase().replaceAll("-", "_"), name);
  }
  for (const prefix of ["RINGD_", "ETCD_"]) {
    for (const [variable, text] of Object.entries(environment)) {
      if (!variable.startsWith(prefix) || text === undefined || text === "") continue;
      if (IGNORED_VARIABLES.has(variable)) continue;
      const name = known.get(variable.slice(prefix.length));
      if (name === undefined)
        warnings.push(`unrecognized environment variable ${variable}=${text}`);
      else if (!IGNORED_LEGACY.has(name) && !ONLY_ARGUMENTS.has(name) && !texts.has(name)) {
        texts.set(name, text);
        variables.set(name, variable);
      }
    }
  }
  return variables;
}

/**
 * Keys are flag names; two maps hold the TLS settings (etcd.conf.yml.sample). Warns about others.
 */
function readFile(file: string, warnings: string[]): Map<string, string> {
  let content: unknown;
  try {
    content = yaml().parse(readTextFile(file, FILE_BYTES_MAX));
  } catch (error) {
    // For a YAML syntax error the first line also has the position.
    const [why = ""] = systemReason(error).split("\n", 1);
    throw cannotVerify(`cannot read --config-file ${file}: ${why.replace(/:$/, "")}`);
  }
  const texts = new Map<string, string>();
  if (content === null || content === undefined) return texts;
  if (typeof content !== "object" || Array.isArray(content)) {
    throw cannotVerify(`--config-file ${file} does not hold a map of flag names to values`);
  }
  const unknown: string[] = [];
  const take = (section: string, prefix: string, map: object) => {
    for (const [key, value] of Object.entries(map)) {
      const name = `${prefix}${key}`;
      if (section === "" && TLS_SECTIONS.has(key)) continue;
      if (!Object.hasOwn(FLAGS, name) && !IGNORED.has(name)) unknown.push(`${section}${key}`);
      else if (Array.isArray(value)) texts.set(name, value.join(","));
      else if (value !== null && typeof value !== "object") texts.set(name, String(value));
    }
  };
  take("", "", content);
  for (const [section, prefix] of TLS_SECTIONS) {
    const map = (content as Record<string, unknown>)[section];
    if (typeof map === "object" && map !== null) take(`${section}.`, prefix, map);
  }
  if (unknown.length > 0) warnings.push(`unrecognized keys in ${file}: ${unknown.join(", ")}`);
  return texts;
}
