import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, mkdirSync, mkdtempSync, rmSync, statfsSync } from "node:fs";
import { get } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { atExit } from "./lifetime.js";

/** `echo` sends constant bytes from a bare uWebSockets.js and stores nothing: the upper limit. */
export const SERVER_KINDS = ["ringd", "etcd", "echo"] as const;
export type ServerKind = (typeof SERVER_KINDS)[number];

export interface ServerOptions {
  readonly kind: ServerKind;
  /** Flags added to the command line of the server. */
  readonly flags?: readonly string[];
  /** Flags of Node itself, for the kinds that run on it: `--cpu-prof`. */
  readonly nodeFlags?: readonly string[];
  /** Another build's ringd.js. */
  readonly entry?: string;
}

/** A member's addresses, and its cluster. */
interface Place {
  readonly name: string;
  readonly clientPort: number;
  readonly peerPort: number;
  /** name=peerUrl of every member, separated by commas. */
  readonly cluster: string;
}

const TMPFS_MAGIC = 0x01021994;
const READY_TIMEOUT_MS = 60_000;
const READY_POLL_MS = 2;
const PROBE_MS = 5000;
const STOP_TIMEOUT_MS = 60_000;

const RINGD_ENTRY = fileURLToPath(new URL("../../bin/ringd.js", import.meta.url));
const ECHO_ENTRY = fileURLToPath(new URL("echo.js", import.meta.url));
/** Data directory if the temporary directory is tmpfs, where fdatasync does nothing. */
const DISK_DIRECTORY = fileURLToPath(new URL("../../../bench-results", import.meta.url));

function dataRoot(): string {
  if (statfsSync(tmpdir()).type !== TMPFS_MAGIC) return tmpdir();
  mkdirSync(DISK_DIRECTORY, { recursive: true });
  return DISK_DIRECTORY;
}

/** Ports that were free a moment ago. All are bound before any is closed, so they differ. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  });
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
}

/** Status and body of a GET on a new connection; undefined if the connection is refused. */
export function probe(
  url: string,
  timeoutMs = PROBE_MS,
): Promise<{ status: number; body: string } | undefined> {
  return new Promise((resolve) => {
    const request = get(url, { agent: false, timeout: timeoutMs }, (response) => {
      let body = "";
      response.setEncoding("latin1");
      response.on("data", (text: string) => {
        body += text;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
      response.on("error", () => resolve(undefined));
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => resolve(undefined));
  });
}

/** One server process with its own data directory; it keeps that and its ports over restarts. */
export class BenchServer {
  readonly kind: ServerKind;
  readonly url: string;
  readonly #directory: string;
  readonly #command: string;
  readonly #args: readonly string[];
  #child: ChildProcess | undefined;
  #takeBack: () => void = () => {};

  constructor(options: ServerOptions, { name, clientPort, peerPort, cluster }: Place) {
    this.kind = options.kind;
    this.url = `http://127.0.0.1:${clientPort}`;
    this.#directory = mkdtempSync(join(dataRoot(), `bench-${options.kind}-`));
    const nodeFlags = options.nodeFlags ?? [];
    const flags = options.flags ?? [];
    if (options.kind === "echo") {
      this.#command = process.execPath;
      this.#args = [...nodeFlags, ECHO_ENTRY, String(clientPort)];
      return;
    }
    const peerUrl = `http://127.0.0.1:${peerPort}`;
    const memberFlags = [
      ["--name", name],
      ["--data-dir", join(this.#directory, "data")],
      ["--listen-client-urls", this.url],
      ["--advertise-client-urls", this.url],
      ["--listen-peer-urls", peerUrl],
      ["--initial-advertise-peer-urls", peerUrl],
      ["--initial-cluster", cluster],
    ].flat();
    if (options.kind === "ringd") {
      this.#command = process.execPath;
      this.#args = [...nodeFlags, options.entry ?? RINGD_ENTRY, ...memberFlags, ...flags];
    } else {
      this.#command = "etcd";
      this.#args = ["--enable-v2=true", "--logger=zap", ...memberFlags, ...flags];
    }
  }

  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error(`Cannot measure ${this.kind}: it is not running`);
    return pid;
  }

  /**
   * Starts the process and waits until it is healthy.
   *
   * @returns milliseconds from the start of the process to the first healthy response
   * @throws with the end of the server's log if it ends or does not become healthy in time
   */
  async start(): Promise<number> {
    this.#takeBack();
    this.#takeBack = atExit(() => this.destroy());
    const startedMs = performance.now();
    const child = spawn(this.#command, this.#args, {
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    let logTail = "";
    const file = createWriteStream(join(this.#directory, "log"), {
      flags: "a",
    });
    file.on("error", () => {}); // The directory may be removed before the last line is written.
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("latin1").on("data", (text: string) => {
        logTail = (logTail + text).slice(-4000);
        file.write(text);
      });
    }
    let failure: string | undefined;
    child.once("error", (error) => {
      failure = error.message;
    });
    child.once("exit", (code, signal) => {
      file.end();
      failure = `it ended with ${signal ?? `exit code ${code}`}`;
    });
    for (;;) {
      const health = await probe(`${this.url}/health`);
      if (health?.status === 200 && /"health"\s*:\s*"?true/.test(health.body)) break;
      if (performance.now() - startedMs > READY_TIMEOUT_MS) failure = "it does not become healthy";
      if (failure !== undefined) {
        this.destroy();
        throw new Error(`Cannot start ${this.kind}: ${failure}\n${logTail}`);
      }
      await delay(READY_POLL_MS);
    }
    return performance.now() - startedMs;
  }

  /**
   * Ends the process and keeps its data.
   *
   * @returns milliseconds until it had ended
   */
  async end(signal: "SIGTERM" | "SIGKILL"): Promise<number> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return 0;
    const startedMs = performance.now();
    const exit = once(child, "exit");
    child.kill(signal);
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await exit;
    clearTimeout(timer);
    return performance.now() - startedMs;
  }

  async stop(): Promise<void> {
    await this.end("SIGTERM");
    this.destroy();
  }

  /** At once and synchronously: the process is killed, its data are deleted. */
  destroy(): void {
    this.#takeBack();
    this.#child?.kill("SIGKILL");
    rmSync(this.#directory, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** A new, healthy member on ports chosen by the system. */
export async function startServer(options: ServerOptions): Promise<BenchServer> {
  const [server] = await startCluster(options, 1);
  if (server === undefined) throw new Error("a cluster has a member");
  return server;
}

/** New, healthy members of one cluster, on ports chosen by the system. */
export async function startCluster(
  options: ServerOptions,
  members: number,
): Promise<BenchServer[]> {
  const ports = await freePorts(2 * members);
  const places = Array.from({ length: members }, (_, i) => ({
    name: `bench${i}`,
    clientPort: ports[2 * i] ?? 0,
    peerPort: ports[2 * i + 1] ?? 0,
  }));
  const cluster = places.map(({ name, peerPort }) => `${name}=http://127.0.0.1:${peerPort}`).join();
  const servers = places.map((place) => new BenchServer(options, { ...place, cluster }));
  await Promise.all(servers.map((server) => server.start()));
  return servers;
}
