import { type ChildProcess, spawn } from "node:child_process";
import { Session } from "../cli/session.js";
import type { Context } from "../cli/spec.js";
import { EXIT, type Failure, failure, keyFailure } from "../output/exit.js";
import { type KeyResponse, printResponse } from "../output/keys.js";
import { err, exitAtInterrupt, out } from "../output/terminal.js";
import { requestKeys } from "./key-request.js";
import { keyOf } from "./keys.js";

/**
 * Like etcdctl: an outage, or events lost because the history is too short, end the command with
 * exit code 4.
 */

export async function watch(context: Context): Promise<number> {
  const session = await Session.open(context);
  const key = keyOf(context);
  const { flags, globals } = context;
  const isRecursive = flags.bool("recursive");
  exitAtInterrupt();
  for await (const event of events(session, key, context)) {
    if (event.node.dir) continue;
    if (isRecursive) out(`[${event.action}] ${event.node.key ?? ""}\n`);
    printResponse(event, globals.string("output"));
    if (!flags.bool("forever")) break;
  }
  return EXIT.ok;
}

export async function execWatch(context: Context): Promise<number> {
  const session = await Session.open(context);
  const { key, command } = keyAndCommand(context.args);
  const running = new Set<ChildProcess>();
  exitAtInterrupt(() => {
    for (const child of running) child.kill("SIGINT");
  });
  for await (const event of events(session, key, context)) {
    if (event.node.dir) err(`Ignored dir ${event.node.key ?? ""} change\n`);
    else execute(command, event, context.env, running);
  }
  return EXIT.ok;
}

async function* events(
  session: Session,
  key: string,
  { flags }: Context,
): AsyncGenerator<KeyResponse, void, undefined> {
  const recursive = flags.bool("recursive");
  const afterIndex = BigInt.asUintN(64, flags.int("after-index"));
  let waitIndex = String(afterIndex > 0n ? BigInt.asUintN(64, afterIndex + 1n) : 0n);
  for (;;) {
    const event = await requestKeys(session, {
      method: "GET",
      key,
      query: { wait: true, waitIndex, recursive },
      isWatch: true,
    });
    // The server ended the long poll without an event.
    if (event === undefined) continue;
    waitIndex = String((event.node.modifiedIndex ?? 0) + 1);
    yield event;
  }
}

/**
 * `KEY -- COMMAND ...`, which etcdctl 3.4 understands only after a flag without a value. Without
 * the separator the key comes last, because old versions of etcdctl reordered their arguments.
 */
function keyAndCommand(args: readonly string[]): {
  readonly key: string;
  readonly command: readonly string[];
} {
  if (args.length < 2) throw keyFailure(EXIT.badArguments, "key and command to exec required");
  const isSeparated = args.indexOf("--", 1) > 0;
  const key = isSeparated ? args[0] : args.at(-1);
  const command = isSeparated ? args.slice(2) : args.slice(0, -1);
  if (command.length === 0) {
    throw keyFailure(EXIT.badArguments, "key and command to exec required");
  }
  return { key: key as string, command };
}

/** Starts a command and does not wait for it. If it cannot be started, the process exits. */
function execute(
  [file = "", ...args]: readonly string[],
  { action, node }: KeyResponse,
  env: NodeJS.ProcessEnv,
  running: Set<ChildProcess>,
): void {
  const child = spawn(file, args, {
    stdio: ["ignore", "inherit", "inherit"],
    env: {
      ...env,
      ETCD_WATCH_ACTION: action,
      ETCD_WATCH_MODIFIED_INDEX: String(node.modifiedIndex ?? 0),
      ETCD_WATCH_KEY: node.key ?? "",
      ETCD_WATCH_VALUE: node.value ?? "",
    },
  });
  running.add(child);
  child.once("exit", () => running.delete(child));
  child.once("error", (error: NodeJS.ErrnoException) => {
    err(startFailure(file, error).message);
    process.exit(EXIT.badArguments);
  });
}

function startFailure(file: string, { code, message }: NodeJS.ErrnoException): Failure {
  if (code === "ENOENT") {
    const text = file.includes("/")
      ? `fork/exec ${file}: no such file or directory`
      : `exec: "${file}": executable file not found in $PATH`;
    return failure(text);
  }
  const why = code === "EACCES" ? "permission denied" : message;
  return failure(`fork/exec ${file}: ${why}`);
}
