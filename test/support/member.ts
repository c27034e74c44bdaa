import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePorts } from "./ports.js";

export type MemberKind = "ringd" | "etcd";

const READY = "ready to serve client requests";
const READY_MS = 30_000;
export const PORT_LOST = /Cannot listen on|address already in use/;
/** Flags that say where the members of a new cluster come from. */
const FINDS_MEMBERS = /^--(discovery|discovery-srv|initial-cluster)$/;
const RINGD = new URL("../../bin/ringd.js", import.meta.url).pathname;

/** A real process under test, with its own ports, and its data in a temporary directory. */
export class TestMember {
  readonly kind: MemberKind;
  readonly dataDir: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
  readonly #args: readonly string[];
  #child: ChildProcess | undefined;
  log = "";
  /** Of its next start, besides this process's own. */
  environment: Readonly<Record<string, string>> = {};

  private constructor(
    kind: MemberKind,
    dataDir: string,
    port: number,
    peerUrl: string,
    args: readonly string[],
  ) {
    this.kind = kind;
    this.dataDir = dataDir;
    this.clientUrl = `http://127.0.0.1:${port}`;
    this.peerUrl = peerUrl;
    this.#args = args;
  }

  static async create(kind: MemberKind, args: readonly string[] = []): Promise<TestMember> {
    for (let attempt = 1; ; attempt++) {
      const member = await TestMember.make(kind, args);
      try {
        await member.start();
        return member;
      } catch (error) {
        await member.destroy();
        // Between our check and its start a port may become the local port of another connection.
        if (attempt === 5 || !PORT_LOST.test(member.log)) throw error;
      }
    }
  }

  /** Not started yet. */
  static async make(kind: MemberKind, args: readonly string[] = []): Promise<TestMember> {
    const [clientPort, peerPort] = await freePorts(2);
    const dataDir = mkdtempSync(join(tmpdir(), "ringd-test-"));
    const peerUrl = `http://127.0.0.1:${peerPort}`;
    return new TestMember(kind, join(dataDir, "data"), clientPort as number, peerUrl, [
      ...(kind === "etcd" ? ["--enable-v2=true"] : []),
      ...["--listen-client-urls", `http://127.0.0.1:${clientPort}`],
      ...["--advertise-client-urls", `http://127.0.0.1:${clientPort}`],
      ...["--listen-peer-urls", peerUrl, "--initial-advertise-peer-urls", peerUrl],
      ...(args.some((arg) => FINDS_MEMBERS.test(arg))
        ? []
        : ["--initial-cluster", `default=${peerUrl}`]),
      ...args,
    ]);
  }

  get port(): number {
    return Number(new URL(this.clientUrl).port);
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Starts it on its existing data, and waits until it serves. */
  async start(args: readonly string[] = []): Promise<void> {
    const child = this.launch(args);
    const ready = new Promise<void>((resolve, reject) => {
      const look = () => {
        if (this.log.includes(READY)) resolve();
      };
      child.stderr?.on("data", look);
      child.stdout?.on("data", look);
      child.once("exit", (code) => {
        reject(new Error(`${this.kind} ended with ${code} before it was ready:\n${this.log}`));
      });
      AbortSignal.timeout(READY_MS).addEventListener("abort", () => {
        reject(new Error(`${this.kind} is not ready after ${READY_MS} ms:\n${this.log}`));
      });
    });
    await ready;
  }

  /** Starts it without waiting. @param more arguments for this start */
  launch(more: readonly string[] = []): ChildProcess {
    const args = [...this.#args, "--data-dir", this.dataDir, ...more];
    this.log = "";
    const env = { ...process.env, ...this.environment };
    const child =
      this.kind === "ringd"
        ? spawn(process.execPath, [RINGD, ...args], { env })
        : spawn("etcd", args, { env });
    const take = (text: Buffer) => {
      this.log += text.toString();
    };
    child.stdout?.on("data", take);
    child.stderr?.on("data", take);
    child.on("error", (error) => {
      this.log += error.message;
    });
    this.#child = child;
    return child;
  }

  /** @returns the exit code, or null if a signal ended it */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return null;
    const exited = once(child, "exit");
    child.kill(signal);
    const [code] = (await exited) as [number | null];
    return code;
  }

  /** Resolves with its exit code when it ends by itself. */
  async untilExit(): Promise<number | null> {
    const child = this.#child;
    if (child === undefined) return null;
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    return child.exitCode;
  }

  async restart(): Promise<void> {
    await this.end("SIGTERM");
    await this.start();
  }

  /** Ends it and removes its data. */
  async destroy(): Promise<void> {
    await this.end("SIGKILL");
    rmSync(join(this.dataDir, ".."), { recursive: true, force: true });
  }
}
