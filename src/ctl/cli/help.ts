import { COMMANDS, GLOBAL_FLAGS, HELP_FLAG, VERSION_FLAG } from "./commands.js";
import type { CommandSpec, FlagSpec } from "./spec.js";

/**
 * Help texts in etcdctl's layout. Called as etcdctl, ringctl shows etcdctl's commands and flags
 * only.
 */

const ETCDCTL = "etcdctl";

/** @param version shown under VERSION */
export function programHelp(program: string, version: string): string {
  const commands = COMMANDS.filter((command) => isShown(program, command));
  const flags = GLOBAL_FLAGS.filter((flag) => isShown(program, flag));
  return lines(
    "NAME:",
    `   ${program} - A simple command line client for etcd.`,
    "",
    "USAGE:",
    `   ${program} [global options] command [command options] [arguments...]`,
    "",
    "VERSION:",
    `   ${version}`,
    "",
    "COMMANDS:",
    ...table([
      ...commands.map(({ name, usage }) => [name, usage] as const),
      ["help, h", "Shows a list of commands or help for one command"],
    ]),
    "",
    "GLOBAL OPTIONS:",
    ...table([...flags, HELP_FLAG, VERSION_FLAG].map(flagRow)),
  );
}

/** @param extent undefined for `member --help`, brief for `help member`, full for `member help` */
export function groupHelp(
  name: string,
  group: CommandSpec,
  extent: "brief" | "full" | undefined,
  version: string,
): string {
  const top = ["NAME:", `   ${name} - ${group.usage}`, "", "USAGE:"];
  const [program = ""] = name.split(" ");
  const subcommands = (group.subcommands ?? []).filter((sub) => isShown(program, sub));
  if (extent === "brief") return lines(...top, `   ${name} [arguments...]`);
  const isFull = extent === "full";
  return lines(
    ...top,
    `   ${name}${isFull ? " [global options]" : ""} command [command options] [arguments...]`,
    "",
    ...(isFull ? ["VERSION:", `   ${version}`, ""] : []),
    "COMMANDS:",
    ...table(subcommands.map((sub) => [sub.name, sub.usage] as const)),
    "",
    isFull ? "GLOBAL OPTIONS:" : "OPTIONS:",
    ...table([flagRow(HELP_FLAG)]),
    ...(isFull ? [] : ["   "]),
  );
}

/** @param path words that name the command: its group, if any, and itself */
export function commandHelp(
  program: string,
  path: readonly string[],
  command: CommandSpec,
): string {
  const name = [program, ...path].join(" ");
  const flags = (command.flags ?? []).filter((flag) => isShown(program, flag));
  const options = flags.length > 0 ? " [command options]" : "";
  return lines(
    "NAME:",
    `   ${name} - ${command.usage}`,
    "",
    "USAGE:",
    `   ${name}${options} ${command.argsUsage ?? ""}`,
    ...(command.description === undefined ? [] : ["", "DESCRIPTION:", `   ${command.description}`]),
    ...(flags.length > 0 ? ["", "OPTIONS:", ...table(flags.map(flagRow)), "   "] : []),
  );
}

function isShown(program: string, { isOwn }: { readonly isOwn?: true }): boolean {
  return isOwn === undefined || program !== ETCDCTL;
}

/** As in Go's flag package, a word in backquotes in a flag's usage is its placeholder. */
function flagRow({ names, kind, usage, initial }: FlagSpec): readonly [string, string] {
  const quoted = /`([^`]*)`/.exec(usage);
  const placeholder = quoted?.[1] ?? (kind === "bool" ? "" : "value");
  const left = names
    .map((name) => `${name.length === 1 ? "-" : "--"}${name}${placeholder && ` ${placeholder}`}`)
    .join(", ");
  const shown = kind === "string" ? JSON.stringify(initial) : initial;
  const text = quoted === null ? usage : usage.replace(quoted[0], placeholder);
  return [left, initial === undefined ? text : `${text} (default: ${shown})`];
}

function table(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `   ${left.padEnd(width)}  ${right}`);
}

function lines(...texts: readonly string[]): string {
  return `${texts.join("\n")}\n`;
}
