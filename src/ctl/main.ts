import { basename } from "node:path";
import { assert } from "../lib/assert.js";
import { type Invocation, readInvocation } from "./cli/invocation.js";
import { loaderOf } from "./commands/implementations.js";
import { EXIT, Failure, failure } from "./output/exit.js";
import { err, exitWithPipe, out } from "./output/terminal.js";

/** The command line that the process was started with. */
export interface CommandLine {
  /** Path or name of the executable. */
  readonly program: string;
  readonly words: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** @param program `ringctl` or `etcdctl` */
  version(program: string): Promise<string>;
}

/**
 * Runs one command line. No input shows a stack trace: an unexpected error ends with one line and
 * exit code 1.
 *
 * @returns the exit code
 */
export async function main(line: CommandLine): Promise<number> {
  exitWithPipe();
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
      throw failure(misuse.text);
    }
    case "unknown-command":
      throw new Failure(EXIT.unknownCommand, `No help topic for '${invocation.name}'`);
  }
}

async function run(
  { path, globals, flags, args }: Extract<Invocation, { kind: "run" }>,
  program: string,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  const load = loaderOf(path);
  assert(load !== undefined, "every command of the table is implemented");
  const execute = await load();
  return await execute({ program, globals, flags, args, env });
}
