import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const RINGCTL = new URL("../../bin/ringctl.js", import.meta.url).pathname;
const LIMIT_MS = 30_000;

/** The result of a command line. */
export interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  readonly input?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
  /** Path of ringctl or of a link to it. */
  readonly script?: string;
}

/** Debian's etcdctl with the v2 commands: package etcd-client. */
export function etcdctl(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return run("etcdctl", args, options);
}

export function ringctl(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return run(process.execPath, [options.script ?? RINGCTL, ...args], options);
}

/** The environment without the caller's own settings for etcdctl and ringctl. */
export function cleanEnv(more: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !/^(ETCD|RING)CTL_/.test(name));
  return { ...Object.fromEntries(own), ETCDCTL_API: "2", ...more };
}

export async function run(
  file: string,
  args: readonly string[],
  { input = "", env = {} }: RunOptions,
): Promise<Outcome> {
  const child = spawn(file, args, { env: cleanEnv(env), timeout: LIMIT_MS });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text) => {
    err += text;
  });
  // The command may exit before it reads its input.
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  const [code] = (await once(child, "close")) as [number | null];
  return { code, out, err };
}

interface Reply {
  readonly id: number;
  readonly outcome: Outcome;
}

/**
 * A process that runs command lines as ringctl does, one after the other, which is much faster than
 * a process for each. Command lines that read standard input or start commands need their own.
 */
export class Host {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (outcome: Outcome) => void>();
  #id = 0;

  constructor() {
    this.#child = fork(new URL("./host.js", import.meta.url), {
      env: cleanEnv(),
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.#child.setMaxListeners(0);
    this.#child.on("message", ({ id, outcome }: Reply) => {
      this.#waiting.get(id)?.(outcome);
      this.#waiting.delete(id);
    });
  }

  async run(
    program: string,
    words: readonly string[],
    env: Readonly<Record<string, string>>,
  ): Promise<Outcome> {
    const id = ++this.#id;
    return await new Promise((resolve, reject) => {
      this.#waiting.set(id, resolve);
      this.#child.once("exit", () => reject(new Error(`host ended at ${words.join(" ")}`)));
      this.#child.send({ id, program, words, env: cleanEnv(env) });
    });
  }

  end(): void {
    this.#child.removeAllListeners("exit");
    this.#child.disconnect();
  }
}

/** A link to ringctl with the name etcdctl, in a temporary folder. */
export class EtcdctlLink {
  readonly #folder = mkdtempSync(join(tmpdir(), "ringctl-test-"));
  readonly path = join(this.#folder, "etcdctl");

  constructor() {
    symlinkSync(RINGCTL, this.path);
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
