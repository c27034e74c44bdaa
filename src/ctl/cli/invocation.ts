import { parseGoBool } from "../../go/bool.js";
import { COMMANDS, GLOBAL_FLAGS, HELP_FLAG, VERSION_FLAG } from "./commands.js";
import { flagsFirst, flagValues, type GivenFlag, scanFlags, twoForms } from "./flags.js";
import type { CommandSpec, FlagSpec, FlagValues } from "./spec.js";

/** A parsed command line. `path`: the words that name a command, its group (if any) and itself. */
export type Invocation =
  | {
      readonly kind: "run";
      readonly path: readonly string[];
      readonly globals: FlagValues;
      readonly flags: FlagValues;
      readonly args: readonly string[];
    }
  | { readonly kind: "version" }
  | {
      readonly kind: "help";
      readonly path: readonly string[];
      /** Undefined for the program itself. */
      readonly command: CommandSpec | undefined;
      /** `help member` is briefer than `member --help`, and `member help` fuller. */
      readonly extent?: "brief" | "full";
      /** `text` goes to standard error, `intro` before the help. */
      readonly misuse?: { readonly text: string; readonly intro: string };
    }
  | { readonly kind: "unknown-command"; readonly name: string };

/**
 * Parses a command line by etcdctl's rules: global flags precede the command, a command's flags may
 * appear anywhere before `--`, and `--help` wins over missing arguments, but not over invalid
 * flags.
 */
export function readInvocation(words: readonly string[]): Invocation {
  const scan = scanFlags([...GLOBAL_FLAGS, HELP_FLAG, VERSION_FLAG], words);
  if (scan.kind === "misuse") return groupMisuse([], undefined, scan.text);
  const collision = twoForms(scan.given);
  if (collision !== undefined) {
    return {
      kind: "help",
      path: [],
      command: undefined,
      misuse: { text: collision, intro: `${collision}\n` },
    };
  }
  if (isGiven(scan.given, HELP_FLAG)) return { kind: "help", path: [], command: undefined };
  if (isGiven(scan.given, VERSION_FLAG)) return { kind: "version" };
  const [name, ...rest] = scan.rest;
  const globals = flagValues(GLOBAL_FLAGS, scan.given);
  if (name === undefined) return { kind: "help", path: [], command: undefined };
  if (name === "help" || name === "h") return helpOn(COMMANDS, [], undefined, rest[0]);
  const command = COMMANDS.find((spec) => spec.name === name);
  if (command === undefined) return { kind: "unknown-command", name };
  return command.subcommands === undefined
    ? ofCommand([name], command, globals, rest)
    : ofGroup(name, command, command.subcommands, globals, rest);
}

function ofGroup(
  groupName: string,
  group: CommandSpec,
  subcommands: readonly CommandSpec[],
  globals: FlagValues,
  words: readonly string[],
): Invocation {
  const scan = scanFlags([HELP_FLAG], words);
  if (scan.kind === "misuse") return groupMisuse([groupName], group, scan.text);
  const [name, ...rest] = scan.rest;
  if (isGiven(scan.given, HELP_FLAG) || name === undefined) {
    return { kind: "help", path: [groupName], command: group };
  }
  if (name === "help" || name === "h") return helpOn(subcommands, [groupName], group, rest[0]);
  const command = subcommands.find((spec) => spec.name === name);
  if (command === undefined) return { kind: "unknown-command", name };
  return ofCommand([groupName, name], command, globals, rest);
}

function ofCommand(
  path: readonly string[],
  command: CommandSpec,
  globals: FlagValues,
  words: readonly string[],
): Invocation {
  const specs = [...(command.flags ?? []), HELP_FLAG];
  const scan = scanFlags(specs, flagsFirst(specs, words, command.keepsSeparator));
  const wrong = scan.kind === "misuse" ? scan.text : twoForms(scan.given);
  if (scan.kind === "misuse" || wrong !== undefined) {
    const text = wrong ?? "";
    return {
      kind: "help",
      path,
      command,
      misuse: { text, intro: `Incorrect Usage: ${text}\n\n` },
    };
  }
  if (isGiven(scan.given, HELP_FLAG)) return { kind: "help", path, command };
  return {
    kind: "run",
    path,
    globals,
    flags: flagValues(command.flags ?? [], scan.given),
    args: scan.rest,
  };
}

function helpOn(
  commands: readonly CommandSpec[],
  path: readonly string[],
  group: CommandSpec | undefined,
  name: string | undefined,
): Invocation {
  if (name === undefined) return { kind: "help", path, command: group, extent: "full" };
  const command = commands.find((spec) => spec.name === name);
  if (command === undefined) return { kind: "unknown-command", name };
  return { kind: "help", path: [...path, name], command, extent: "brief" };
}

function groupMisuse(
  path: readonly string[],
  command: CommandSpec | undefined,
  text: string,
): Invocation {
  return { kind: "help", path, command, misuse: { text, intro: `Incorrect Usage. ${text}\n\n` } };
}

function isGiven(given: readonly GivenFlag[], spec: FlagSpec): boolean {
  return given.some((flag) => flag.spec === spec && parseGoBool(flag.text) === true);
}
