import type { ClientOptions } from "../../client/options.js";
import type { KeysAnswer } from "../../client/responses.js";
import { cleanPath } from "../../go/clean-path.js";
import { readTls } from "../cli/session.js";
import type { Context, FlagValues } from "../cli/spec.js";
import { type Comparison, Migration } from "../migrate/migration.js";
import { Side } from "../migrate/side.js";
import { type MigrationState, readState, writeState } from "../migrate/state.js";
import { isConnectionFailure, toKeyFailure } from "../output/errors.js";
import { EXIT, Failure, failure } from "../output/exit.js";
import { ProgressBar } from "../output/progress.js";
import { err, out } from "../output/terminal.js";

/** Nodes listed of each kind; the others are counted. */
const LISTED_MAX = 20;

export async function migrate(context: Context): Promise<number> {
  return await run(context, context.flags.bool("until-caught-up") ? "catch-up" : "migrate");
}

export async function mirror(context: Context): Promise<number> {
  return await run(context, "mirror");
}

type Mode = "migrate" | "catch-up" | "mirror";

/** CTRL+C: once ends what runs in an orderly way, twice at once. */
class Interrupts {
  readonly #stop = new AbortController();
  readonly #abort = new AbortController();
  /** Set while the first one ends everything: nothing is lost by it. */
  isAtOnce = true;

  constructor() {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => this.#on());
  }

  get stop(): AbortSignal {
    return this.#stop.signal;
  }

  get abort(): AbortSignal {
    return this.#abort.signal;
  }

  #on(): void {
    const isSecond = this.#stop.signal.aborted;
    this.#stop.abort();
    if (isSecond || this.isAtOnce) {
      this.#abort.abort(new Failure(EXIT.interrupted, "interrupted"));
    }
  }
}

async function run(context: Context, mode: Mode): Promise<number> {
  const { flags } = context;
  const scopes = scopesOf(flags);
  const tls = await readTls(context);
  const interrupts = new Interrupts();
  const say = (text: string) => err(`${text}\n`);
  const sideOf = (name: "source" | "target", flag: string) =>
    new Side(name, { ...optionsOf(flag, flags), tls }, interrupts.abort, say);
  const source = sideOf("source", "from");
  const target = sideOf("target", "to");
  try {
    const begun = await checkBoth(source, target, scopes, flags);
    const work = new Work(mode, flags, begun, interrupts, { source, target, scopes, say });
    return await work.run();
  } catch (error) {
    if (interrupts.abort.aborted) throw interrupts.abort.reason;
    throw error instanceof Failure ? error : await toKeyFailure(EXIT.server, error);
  } finally {
    await Promise.all([source.close(), target.close()]);
  }
}

interface Ends {
  readonly source: Side;
  readonly target: Side;
  readonly scopes: readonly string[];
  readonly say: (text: string) => void;
}

/** One run of the command. */
class Work {
  readonly #mode: Mode;
  readonly #flags: FlagValues;
  readonly #interrupts: Interrupts;
  readonly #ends: Ends;
  readonly #migration: Migration;
  readonly #startedMs = performance.now();
  #progress: ProgressBar | undefined;

  constructor(
    mode: Mode,
    flags: FlagValues,
    begun: MigrationState,
    interrupts: Interrupts,
    ends: Ends,
  ) {
    this.#mode = mode;
    this.#flags = flags;
    this.#interrupts = interrupts;
    this.#ends = ends;
    const file = flags.string("state");
    this.#migration = new Migration({
      ...ends,
      isMerge: flags.bool("merge"),
      concurrency: Math.max(Number(flags.int("c")), 1),
      indexes: begun.indexes,
      signal: interrupts.abort,
      save: (indexes) => {
        if (file !== "") writeState(file, { ...begun, indexes });
      },
      onCount: (count) => {
        this.#progress?.end();
        this.#progress = new ProgressBar("copy", count);
      },
      onWritten: () => this.#progress?.add(1),
    });
  }

  async run(): Promise<number> {
    const { say } = this.#ends;
    const resumed = await this.#migration.copy();
    this.#progress?.end();
    this.#progress = undefined;
    say(resumed > 0 ? "resumed where the last run ended" : this.#copied());
    this.#interrupts.isAtOnce = false;
    if (this.#mode !== "catch-up") {
      say(
        this.#mode === "mirror"
          ? "following; CTRL+C ends"
          : "following; stop the writers, then press CTRL+C to compare and end",
      );
      await this.#migration.follow(this.#interrupts.stop);
      if (this.#mode === "mirror") {
        out(`applied ${this.#migration.replica.counts.changes} changes\n`);
        return EXIT.ok;
      }
    }
    const comparison = await this.#migration.compare();
    out(this.#summary(comparison));
    return comparison.left.length === 0 ? EXIT.ok : EXIT.differs;
  }

  #copied(): string {
    const { files, directories } = this.#migration.replica.counts;
    const seconds = (performance.now() - this.#startedMs) / 1000;
    const rate = Math.round((files + directories) / seconds);
    return `copied ${files} keys and ${directories} directories in ${seconds.toFixed(1)} s, ${rate}/s`;
  }

  #summary({ nodes, repaired, left }: Comparison): string {
    const { counts, altered, unnamed } = this.#migration.replica;
    const seconds = ((performance.now() - this.#startedMs) / 1000).toFixed(1);
    const { files, directories, bytes, removed, changes } = counts;
    const verdict = left.length === 0 ? "equal" : `${left.length} differ`;
    return [
      `written      ${files} keys, ${directories} directories, ${bytes} bytes in ${seconds} s; removed ${removed}`,
      `followed     ${changes} changes`,
      `compared     ${nodes} nodes: ${verdict}${repaired > 0 ? `, after ${repaired} more writes` : ""}`,
      ...listed(left.map(({ key, why }) => `${key}: ${why}`)),
      ...(altered.size === 0
        ? []
        : [
            `NOT CARRIED  the bytes of ${altered.size} values that are not UTF-8; copied as the source shows them`,
            ...listed([...altered]),
          ]),
      ...(unnamed.size === 0
        ? []
        : [
            `NOT CARRIED  ${unnamed.size} nodes whose names are not UTF-8`,
            ...listed([...unnamed]),
          ]),
      `not seen     hidden names (that begin with "_") outside of ${this.#hidden()}: no server lists them; ringctl import finds them`,
      "",
    ].join("\n");
  }

  #hidden(): string {
    const hidden = this.#flags.strings("hidden");
    return hidden.length === 0 ? "--hidden, which is not given" : hidden.join(", ");
  }
}

function listed(texts: readonly string[]): string[] {
  const lines = texts.slice(0, LISTED_MAX).map((text) => `  ${text}`);
  const others = texts.length - lines.length;
  return others > 0 ? [...lines, `  and ${others} more`] : lines;
}

/** @throws Failure */
function scopesOf(flags: FlagValues): string[] {
  const hidden = flags
    .strings("hidden")
    .flatMap((text) => text.split(","))
    .map((text) => cleanPath(text).replace(/(?<=.)\/$/, ""));
  for (const directory of hidden) {
    if (directory.includes("/_")) continue;
    throw failure(`--hidden ${directory}: no name in it begins with "_", so it is copied anyway`);
  }
  return ["/", ...new Set(hidden)];
}

/** A user may stand in the URL. @throws Failure */
function optionsOf(flag: string, flags: FlagValues): ClientOptions {
  const text = flags.string(flag);
  if (text === "") throw failure(`--${flag} is needed: the URL of a v2 server`);
  const urls = text.split(",").map((part) => {
    const url = URL.canParse(part) ? new URL(part) : undefined;
    if (url?.protocol === "http:" || url?.protocol === "https:") return url;
    throw failure(`--${flag} ${part}: not an http or https URL`);
  });
  const { username = "", password = "" } = urls[0] ?? {};
  for (const url of urls) {
    url.username = "";
    url.password = "";
  }
  return {
    endpoints: urls.map(({ href }) => href),
    order: "given",
    ...(username === ""
      ? {}
      : { username: decodeURIComponent(username), password: decodeURIComponent(password) }),
  };
}

/** Both answer, are different, and the target is empty, or of an earlier run. @throws Failure */
async function checkBoth(
  source: Side,
  target: Side,
  scopes: readonly string[],
  flags: FlagValues,
): Promise<MigrationState> {
  const from = await firstOf(source);
  const to = await firstOf(target);
  // Not by their ids: clusters that were started with the same flags have the same.
  const shared = source.client.endpoints.find((url) => target.client.endpoints.includes(url));
  if (shared !== undefined) throw failure(`--from and --to are both ${shared}`);
  const fresh = { source: from.clusterId, target: to.clusterId, indexes: {} };
  const file = flags.string("state");
  const state = file === "" ? undefined : readState(file);
  if (state === undefined) {
    if (!flags.bool("merge")) await checkEmpty(to, target, scopes);
    // Written first: a run that is interrupted from here on is resumed.
    if (file !== "") writeState(file, fresh);
    return fresh;
  }
  if (state.source !== fresh.source || state.target !== fresh.target) {
    throw failure(
      `${file} is of a migration from cluster ${state.source} to ${state.target}; these are ${fresh.source} and ${fresh.target}`,
    );
  }
  return state;
}

async function firstOf(side: Side): Promise<KeysAnswer> {
  try {
    return await side.first();
  } catch (error) {
    const { message } = await toKeyFailure(EXIT.server, error);
    const exitCode = isConnectionFailure(error) ? EXIT.badConnection : EXIT.server;
    throw new Failure(exitCode, `${side.name}: ${message.replace(/^Error: +/, "")}`);
  }
}

async function checkEmpty(
  { node }: KeysAnswer,
  target: Side,
  scopes: readonly string[],
): Promise<void> {
  const [, ...hidden] = scopes;
  const found = (node.nodes ?? []).map(({ key }) => key);
  for (const scope of hidden) if ((await target.list(scope)).items.size > 0) found.push(scope);
  if (found.length === 0) return;
  const names = found.slice(0, 3).join(", ");
  throw failure(
    `the target is not empty: it has ${names}${found.length > 3 ? ", ..." : ""}; --merge accepts that`,
  );
}
