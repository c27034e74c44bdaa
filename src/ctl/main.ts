import { basename } from "node:path";
import { assert } from "../lib/assert.js";
import { GLOBAL_FLAGS } from "./commands.js";
import { Failure } from "./exit.js";
import { readValues } from "./flags.js";
import { type Invocation, readInvocation } from "./invocation.js";
import { startLightly } from "./light.js";
import { endWithPipe, err, out } from "./terminal.js";

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
    return 1;
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
      return 0;
    case "help": {
      const { commandHelp, groupHelp, programHelp } = await import("./help.js");
      const { command, path, extent, misuse } = invocation;
      const text =
        command === undefined
          ? programHelp(program, await line.version(program))
          : command.subcommands === undefined
            ? commandHelp(program, path, command)
            : groupHelp([program, ...path].join(" "), command, extent, await line.version(program));
      out((misuse?.intro ?? "") + text);
      if (misuse === undefined) return 0;
      throw new Failure(1, misuse.text);
    }
    case "unknown-command":
      throw new Failure(3, `No help topic for '${invocation.name}'`);
  }
}

async function run(
  { command, globals, words }: Extract<Invocation, { kind: "run" }>,
  program: string,
  env: NodeJS.ProcessEnv,
): Promise<number> {
  if (command.isOwn === undefined) startLightly();
  const execute = await command.load?.();
  assert(execute !== undefined, "a command that is run has something to run");
  const { flags, args } = readValues(command.flags ?? [], words);
  return await execute({
    program,
    globals: readValues(GLOBAL_FLAGS, globals).flags,
    flags,
    args,
    env,
  });
}
