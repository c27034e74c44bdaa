/**
 * The command line as data: parser, help texts and shell completions are all derived from it. Texts
 * of v2 commands and flags are etcdctl's, which scripts and people know.
 */

/** `strings` may be repeated. `duration` is in Go's notation: `1.5s`, `200ms`. */
export type ValueKind = "bool" | "int" | "string" | "strings" | "duration";

export interface FlagSpec {
  /** Without dashes, the long one first. */
  readonly names: readonly [string, ...string[]];
  readonly kind: ValueKind;
  readonly usage: string;
  /** The default, in the notation of the command line; shown in help. */
  readonly initial?: string;
  /** ringctl's own: not shown by help when it is called as etcdctl. */
  readonly isOwn?: true;
}

export interface CommandSpec {
  readonly name: string;
  readonly usage: string;
  /** Follows the command's name in help. */
  readonly argsUsage?: string;
  readonly description?: string;
  readonly flags?: readonly FlagSpec[];
  /** Keeps the `--` of `KEY -- COMMAND` among the arguments. */
  readonly keepsSeparator?: true;
  readonly subcommands?: readonly CommandSpec[];
  /** ringctl's own: not shown by help when it is called as etcdctl. */
  readonly isOwn?: true;
}

/** Values of flags by long name, with defaults; ints are signed 64-bit, durations nanoseconds. */
export class FlagValues {
  readonly #values: ReadonlyMap<string, unknown>;

  constructor(values: ReadonlyMap<string, unknown>) {
    this.#values = values;
  }

  bool(name: string): boolean {
    return this.#values.get(name) === true;
  }

  /** 0 when not given. */
  int(name: string): bigint {
    return (this.#values.get(name) as bigint | undefined) ?? 0n;
  }

  /** Empty when not given. */
  string(name: string): string {
    return (this.#values.get(name) as string | undefined) ?? "";
  }

  strings(name: string): readonly string[] {
    return (this.#values.get(name) as string[] | undefined) ?? [];
  }

  /** @returns milliseconds */
  durationMs(name: string): number {
    return Number((this.#values.get(name) as bigint | undefined) ?? 0n) / 1e6;
  }
}

/** Everything a command gets: it reads no other flags, arguments or variables. */
export interface Context {
  /** The name it was called by: `ringctl`, or `etcdctl` through a link of that name. */
  readonly program: string;
  readonly globals: FlagValues;
  readonly flags: FlagValues;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

/** Runs a command. @returns the exit code */
export type Execute = (context: Context) => Promise<number>;
