import { createRequire } from "node:module";
import { basename } from "node:path";
import type { Command, Option } from "commander";
import { assert } from "../lib/assert.js";
import { GLOBAL_FLAGS } from "./cli/commands.js";
import { longForm, readDuration, readInt } from "./cli/flags.js";
import { type Invocation, readInvocation } from "./cli/invocation.js";
import { type FlagSpec, FlagValues } from "./cli/spec.js";
import { EXIT, Failure, refused } from "./output/exit.js";
import { endWithPipe, err, out } from "./output/terminal.js";

// As a module it would be loaded even for help, and through another loader, which takes longer.
const require = createRequire(import.meta.url);
const commander = () => require("commander") as typeof import("commander");

/** What the process was started as. */
export interface CommandLine {
  /** Path or name it was called by. */
  readonly program: string;
  readonly words: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** @param program `ringctl` or `etcdctl` */
  version(program: string): Promise<string>;
}

/**
 * Runs one command line. Nothing a user can do shows a stack trace: what is not foreseen ends with one line
 * and exit code 1.
 *
 * @returns the exit code
 */
export async function main(line: CommandLine): Promise<number> {
  endWithPipe();
  const program = basename(line.program).replace(/\.[cm]?js$/, "");
  try {
    const invocation = readInvocation(line.words);
    return await carryOut(invocation, program, line);
  } catch (error) {
    if (error instanceof Failure) {
      err(`${error.message}\n`);
      return error.exitCode;
    }
    err(`${program}: ${error instanceof Error ? error.message : String(error)}\n`);
    return EXIT.badArguments;
  }
}

async function carryOut(
  invocation: Invocation,
  program: string,
  line: CommandLine,
): Promise<number> {
  switch (invocation.kind) {
    case "run":
      return await run(invocation, program, line.env);
    case "version":
      out(`${program} version: ${await line.version(program)}\nAPI version: 2\n`);
      return EXIT.ok;
    case "help": {
      const { commandHelp, groupHelp, programHelp } = await import("./cli/help.js");
      const { command, path, extent, misuse } = invocation;
      const text =
        command === undefined
          ? programHelp(program, await line.version(program))
          : command.subcommands === undefined
            ? commandHelp(program, path, command)
            : groupHelp([program, ...path].join(" "), command, extent, await line.version(program));
      out((misuse?.intro ?? "") + text);
      if (misuse === undefined) return EXIT.ok;
      throw refused(misuse.text);
    }
    case "unknown-command":
      throw new Failure(EXIT.unknownCommand, `No help topic for '${invocation.name}'`);
  }
}

/** Tells commander of the one command that is run, and has it read the flags and arguments. */
async function run(
  { path, command: spec, words }: Extract<Invocation, { kind: "run" }>,
  program: string,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  let exitCode = 0;
  const root = bare(new (commander().Command)(program)).enablePositionalOptions();
  const globals = withFlags(root, GLOBAL_FLAGS);
  let command = root;
  for (const name of path) command = bare(command.command(name));
  const flags = withFlags(command, spec.flags ?? []);
  command.argument("[args...]").action(async (args: string[]) => {
    const execute = await spec.load?.();
    assert(execute !== undefined, "a command that is run has something to run");
    exitCode = await execute({ program, globals: globals(), flags: flags(), args, env });
  });
  await root.parseAsync(words, { from: "user" });
  return exitCode;
}

/** Without commander's own help, whose texts are not etcdctl's. */
function bare(command: Command): Command {
  return command.helpOption(false).helpCommand(false).exitOverride();
}

/** @returns reads the values once the command line is parsed */
function withFlags(command: Command, specs: readonly FlagSpec[]): () => FlagValues {
  const options = specs.map((spec) => {
    const option = toOption(spec);
    command.addOption(option);
    return { spec, option };
  });
  return () => {
    const values = command.opts<Record<string, unknown>>();
    return new FlagValues(
      new Map(
        options.map(({ spec, option }) => {
          const value = values[option.attributeName()];
          // commander keeps --no-sync as "sync", and inverted.
          return [spec.names[0], option.negate ? value === false : value];
        }),
      ),
    );
  };
}

function toOption(spec: FlagSpec): Option {
  const placeholder = spec.kind === "bool" ? "" : " <value>";
  const short = spec.names.find((name) => name.length === 1);
  const long = spec.names.find((name) => name.length > 1);
  const form = short === undefined || long === undefined ? longForm(spec) : `-${short}, --${long}`;
  const option = new (commander().Option)(`${form}${placeholder}`, spec.usage);
  if (spec.kind === "bool") return option;
  option.argParser((text: string, before: unknown) => readValue(spec, text, before));
  if (spec.initial !== undefined) option.default(readValue(spec, spec.initial, undefined));
  return option;
}

function readValue(spec: FlagSpec, text: string, before: unknown): unknown {
  switch (spec.kind) {
    case "int":
      return readInt(text);
    case "duration":
      return readDuration(text);
    case "strings":
      return [...((before as string[] | undefined) ?? []), text];
    case "string":
    case "bool":
      return text;
  }
}
