import { COMMANDS, GLOBAL_FLAGS, HELP_FLAG } from "../cli/commands.js";
import { longForm } from "../cli/flags.js";
import type { CommandSpec, Context, FlagSpec } from "../cli/spec.js";
import { EXIT, failure } from "../output/exit.js";
import { out } from "../output/terminal.js";

/**
 * Completion scripts for commands, subcommands and flags, derived from the parser's tables.
 *
 *   source <(ringctl completion bash)
 *   source <(ringctl completion zsh)
 *   ringctl completion fish | source
 */
export async function completion({ args, program }: Context): Promise<number> {
  const [shell = ""] = args;
  const make = SHELLS.get(shell);
  if (make === undefined || args.length !== 1) {
    throw failure("Specify one shell: bash, zsh or fish");
  }
  out(make(program));
  return EXIT.ok;
}

const SHELLS = new Map([
  ["bash", bash],
  ["zsh", zsh],
  ["fish", fish],
]);

/** A position on the command line with its possible words. */
interface Place {
  /** Commands before it: empty, `get`, `member add`. */
  readonly path: string;
  readonly commands: readonly CommandSpec[];
  readonly flags: readonly FlagSpec[];
}

function places(): Place[] {
  const found: Place[] = [{ path: "", commands: COMMANDS, flags: [...GLOBAL_FLAGS, HELP_FLAG] }];
  const visit = (path: string, { subcommands = [], flags = [], name }: CommandSpec) => {
    const here = path === "" ? name : `${path} ${name}`;
    found.push({ path: here, commands: subcommands, flags: [...flags, HELP_FLAG] });
    for (const command of subcommands) visit(here, command);
  };
  for (const command of COMMANDS) visit("", command);
  return found;
}

function wordsAt({ commands, flags }: Place): string[] {
  return [...commands.map(({ name }) => name), ...flags.map(longForm)];
}

/** Global flags with a value, which must not be taken for a command. */
function valueFlags(): string[] {
  return GLOBAL_FLAGS.filter(({ kind }) => kind !== "bool").flatMap(({ names }) =>
    names.map((name) => (name.length === 1 ? `-${name}` : `--${name}`)),
  );
}

function bash(program: string): string {
  const name = `_${program}_complete`;
  const groups = COMMANDS.filter(({ subcommands }) => subcommands !== undefined);
  return `${name}() {
  local word path="" skip="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ -n $skip ]]; then skip=""; continue; fi
    case $word in
      ${valueFlags().join("|")}) [[ -z $path ]] && skip=1 ;;
      -*) ;;
      *)
        if [[ -z $path ]]; then path=$word
        else
          case $path in
            ${groups.map(({ name: group }) => group).join("|")}) path="$path $word" ;;
          esac
        fi ;;
    esac
  done
  local words=""
  case $path in
${places()
  .map((place) => `    "${place.path}") words="${wordsAt(place).join(" ")}" ;;`)
  .join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F ${name} ${program}
`;
}

/** zsh emulates bash's completion. */
function zsh(program: string): string {
  return `autoload -U +X compinit && compinit
autoload -U +X bashcompinit && bashcompinit
${bash(program)}`;
}

function fish(program: string): string {
  const quote = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const lines = [`complete -c ${program} -f`];
  for (const { path, commands, flags } of places()) {
    const subcommands = commands.map(({ name }) => name).join(" ");
    const seen = path.split(" ").filter((word) => word !== "");
    const conditions = seen.map((word) => `__fish_seen_subcommand_from ${word}`);
    if (path === "") conditions.push("__fish_use_subcommand");
    else if (commands.length > 0) conditions.push(`not __fish_seen_subcommand_from ${subcommands}`);
    const when = `complete -c ${program} -n ${quote(conditions.join("; and "))}`;
    for (const { name, usage } of commands) lines.push(`${when} -a ${name} -d ${quote(usage)}`);
    for (const { names, kind, usage } of flags) {
      const forms = names.map((name) => `-${name.length === 1 ? "s" : "l"} ${name}`).join(" ");
      lines.push(`${when} ${forms}${kind === "bool" ? "" : " -r"} -d ${quote(usage)}`);
    }
  }
  return `${lines.join("\n")}\n`;
}
