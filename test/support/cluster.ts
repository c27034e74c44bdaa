import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, NoAnswerError } from "./client.js";
import { losePages } from "./lost-pages.js";
import type { MemberKind } from "./member.js";
import { freePorts } from "./ports.js";
import { PeerNetwork } from "./proxy.js";
import { until } from "./until.js";

export const RINGD = new URL("../../bin/ringd.js", import.meta.url).pathname;
/** Another build to test. */
const PROGRAM = process.env.RINGD_PROGRAM ?? RINGD;
const WALL_CLOCK = new URL("wall-clock.js", import.meta.url).href;
const FAILING_CALLS = new URL("failing-calls.js", import.meta.url).pathname;
const TOKEN = "ringd-faults";
/** Signals that end this process, and with it all members. */
const ENDING = ["SIGINT", "SIGTERM"] as const;
const BALLAST = "ballast";
const ASK_MS = 1000;
const END_MS = 30_000;

export interface ClusterOptions {
  readonly kind: MemberKind;
  readonly size: number;
  /** Flags of every member, of both kinds. */
  readonly flags?: readonly string[];
  /** For members of the kind ringd; each may change its own before a restart. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Instead of the current ringd. */
  readonly program?: string;
  /** Size of a separate disk for the first member, if this user may mount one. */
  readonly smallDiskMb?: number;
}

/**
 * A cluster of real processes on loopback, with every byte between members passing through
 * `network`.
 *
 * It has its own loopback address (127.x.y.z), so that no other socket takes the port of a member
 * that is down.
 */
export class TestCluster {
  readonly kind: MemberKind;
  readonly network: PeerNetwork;
  /** Logs and, unless a member's folder is a mount, data. */
  readonly folder: string;
  readonly flags: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly program: string;
  readonly members: ClusterMember[] = [];
  readonly #address: string;
  readonly #givenPorts = new Set<number>();
  readonly #former: ClusterMember[] = [];
  readonly #killAll = (reason: number | string) => {
    for (const { pid } of [...this.members, ...this.#former]) {
      if (pid !== undefined) process.kill(pid, "SIGKILL");
    }
    if (typeof reason === "string") process.exit(1);
  };

  private constructor({ kind, flags = [], environment = {}, program = PROGRAM }: ClusterOptions) {
    const part = () => 1 + Math.floor(Math.random() * 250);
    this.kind = kind;
    this.flags = flags;
    this.environment = environment;
    this.program = program;
    this.#address = `127.${part()}.${part()}.${part()}`;
    this.network = new PeerNetwork(this.#address);
    this.folder = mkdtempSync(join(tmpdir(), "ringd-cluster-"));
    process.once("exit", this.#killAll);
    for (const signal of ENDING) process.once(signal, this.#killAll);
  }

  /** Starts all members; resolves when all are healthy. */
  static async create(options: ClusterOptions): Promise<TestCluster> {
    const cluster = new TestCluster(options);
    try {
      for (let n = 1; n <= options.size; n++) await cluster.#addMember(`n${n}`);
      if (options.smallDiskMb !== undefined) cluster.members[0]?.mountDisk(options.smallDiskMb);
      for (const member of cluster.members) member.start("new", cluster.initialCluster);
      await cluster.untilHealthy();
    } catch (error) {
      await cluster.destroy(true);
      throw error;
    }
    return cluster;
  }

  get initialCluster(): string {
    return this.members.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(",");
  }

  /** Members whose process runs and is not stopped. */
  get running(): ClusterMember[] {
    return this.members.filter(({ state }) => state === "running");
  }

  get quorum(): number {
    return Math.floor(this.members.length / 2) + 1;
  }

  get hasSmallDisk(): boolean {
    return this.members.some(({ isOnSmallDisk }) => isOnSmallDisk);
  }

  /** Unexpected exits of members. */
  get crashes(): string[] {
    return this.members.flatMap(({ crashes }) => crashes);
  }

  /** The leader that a quorum agrees on, as soon as there is one. */
  async leader(timeoutMs = 20_000): Promise<ClusterMember> {
    let leader: ClusterMember | undefined;
    await until("a quorum agrees on a leader", timeoutMs, async () => {
      const views = await Promise.all(this.running.map((member) => member.view()));
      const votes = new Map<string, number>();
      for (const view of views) {
        if (view === undefined || view.leader === "") continue;
        votes.set(view.leader, (votes.get(view.leader) ?? 0) + 1);
      }
      const [id] = [...votes].find(([, count]) => count >= this.quorum) ?? [];
      const at = views.findIndex((view) => view !== undefined && view.id === id && view.isLeader);
      leader = this.running[at];
      return leader !== undefined;
    });
    return leader as ClusterMember;
  }

  /** Resolves when all running members pass a linearizable health check. */
  async untilHealthy(timeoutMs = 60_000): Promise<void> {
    const all = () => Promise.all(this.running.map((member) => member.isHealthy()));
    await until("all members are healthy", timeoutMs, async () => {
      const crash = this.crashes[0];
      if (crash !== undefined) throw new Error(crash);
      return (await all()).every((isHealthy) => isHealthy);
    });
  }

  /** Adds one new member through the others, with an empty data directory. */
  async grow(prepare?: (member: ClusterMember) => void): Promise<ClusterMember> {
    const all = [...this.members, ...this.#former];
    const numbers = all.map(({ name }) => Number(name.slice(1)));
    const member = await this.#addMember(`n${Math.max(0, ...numbers) + 1}`);
    await this.#announce(member);
    prepare?.(member);
    member.start("existing", this.initialCluster);
    return member;
  }

  /** Removes a member permanently; its process ends by itself, also after a restart. */
  async remove(member: ClusterMember): Promise<void> {
    await this.#dismiss(member);
    this.members.splice(this.members.indexOf(member), 1);
    this.#former.push(member);
    member.start();
    await member.untilExit(30_000);
  }

  /** Removes a member and lets it join again as a new one: empty data directory, same address. */
  async replace(member: ClusterMember): Promise<void> {
    await this.#dismiss(member);
    member.wipe();
    await this.#announce(member);
    member.start("existing", this.initialCluster);
  }

  /** Undoes every fault: links, stopped and dead processes. */
  heal(isReset = false): void {
    this.network.heal(isReset);
    for (const member of this.members) {
      if (member.isDiskFull) member.emptyDisk();
      member.syncAgain();
      member.shiftWallClock(0);
      if (member.state === "stopped") member.resume();
      if (member.state === "down") member.start();
    }
  }

  /** @param isKept keep the logs, for people to read */
  async destroy(isKept = false): Promise<void> {
    process.removeListener("exit", this.#killAll);
    for (const signal of ENDING) process.removeListener(signal, this.#killAll);
    const all = [...this.members, ...this.#former];
    await Promise.all(all.map((member) => member.end("SIGKILL")));
    for (const member of all) member.close(isKept);
    await this.network.close();
    if (!isKept) rmSync(this.folder, { recursive: true, force: true });
  }

  async #addMember(name: string): Promise<ClusterMember> {
    const [clientPort, peerPort, proxyPort] = await this.#freePorts();
    const listen = { host: this.#address, port: peerPort as number };
    let member: ClusterMember | undefined;
    await this.network.add(name, listen, () => member?.pid, proxyPort);
    member = new ClusterMember(this, name, {
      clientUrl: `http://${this.#address}:${clientPort}`,
      listenPeerUrl: `http://${this.#address}:${peerPort}`,
      peerUrl: `http://${this.#address}:${proxyPort}`,
    });
    this.members.push(member);
    return member;
  }

  /** Excludes ports assigned to members that do not listen yet. */
  async #freePorts(): Promise<number[]> {
    for (;;) {
      const ports = await freePorts(3, this.#address);
      if (ports.some((port) => this.#givenPorts.has(port))) continue;
      for (const port of ports) this.#givenPorts.add(port);
      return ports;
    }
  }

  async #dismiss(member: ClusterMember): Promise<void> {
    const id = await member.id();
    const wasRunning = member.state === "running";
    member.isDismissed = true;
    await this.#change(member, "DELETE", `/v2/members/${id}`, undefined, [204, 404, 410]);
    if (wasRunning) await member.untilExit(30_000);
    await member.end("SIGKILL");
  }

  async #announce(member: ClusterMember): Promise<void> {
    const json = { peerURLs: [member.peerUrl] };
    // 409: an earlier attempt that seemed to fail was carried out.
    await this.#change(member, "POST", "/v2/members", json, [201, 409]);
    member.isDismissed = false;
  }

  /** Asks the other members until one accepts the change: a rejection may be temporary. */
  async #change(
    about: ClusterMember,
    method: string,
    path: string,
    json: unknown,
    accepted: readonly number[],
  ): Promise<void> {
    let last = "";
    let turn = 0;
    await until(
      () => `${method} ${path} is accepted; last: ${last}`,
      60_000,
      async () => {
        const others = this.running.filter((member) => member !== about);
        const other = others[turn++ % others.length];
        if (other === undefined) return false;
        const answer = await other.ask(method, path, { json, timeoutMs: 10_000 });
        last = answer === undefined ? "no answer" : `${answer.status} ${answer.body}`;
        return answer !== undefined && accepted.includes(answer.status);
      },
    );
  }
}

export interface MemberUrls {
  readonly clientUrl: string;
  /** The URL it listens on. */
  readonly listenPeerUrl: string;
  /** The URL it advertises: its proxy's. */
  readonly peerUrl: string;
}

export interface View {
  readonly id: string;
  /** Id of the leader as known to it; empty: none. */
  readonly leader: string;
  readonly isLeader: boolean;
  readonly leaderSince: string;
}

/** One process, and the faults it can get. */
export class ClusterMember {
  readonly name: string;
  readonly clientUrl: string;
  readonly peerUrl: string;
  /** Holds `data`; may be a mount point. */
  readonly folder: string;
  readonly logFile: string;
  /** File with orders for its file calls: failing-calls.ts. */
  readonly #orders: string;
  readonly crashes: string[] = [];
  /** Removed from the cluster, so it may end by itself. */
  isDismissed = false;
  isOnSmallDisk = false;
  /** Environment of its process, from the next start on. */
  environment: Readonly<Record<string, string>>;
  program: string;
  /** If true, it may end by itself. */
  isDiskFull = false;
  readonly #cluster: TestCluster;
  readonly #urls: MemberUrls;
  readonly #control: Client;
  #child: ChildProcess | undefined;
  #failuresSeen = 1;
  #isEnding = false;
  #isStopped = false;
  #id = "";
  #arguments: string[] = [];

  constructor(cluster: TestCluster, name: string, urls: MemberUrls) {
    this.#cluster = cluster;
    this.#urls = urls;
    this.name = name;
    this.clientUrl = urls.clientUrl;
    this.peerUrl = urls.peerUrl;
    this.folder = join(cluster.folder, name);
    this.logFile = join(cluster.folder, `${name}.log`);
    this.#orders = join(cluster.folder, `${name}.orders`);
    this.#control = new Client(urls.clientUrl, 4);
    this.environment = cluster.environment;
    this.program = cluster.program;
    mkdirSync(this.folder);
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get state(): "running" | "stopped" | "down" {
    if (this.#child === undefined) return "down";
    return this.#isStopped ? "stopped" : "running";
  }

  get dataDir(): string {
    return join(this.folder, "data");
  }

  /** Starts the process, as last time or with these flags, without waiting. */
  start(clusterState?: "new" | "existing", initialCluster = ""): void {
    if (clusterState !== undefined) {
      const { clientUrl, listenPeerUrl, peerUrl } = this.#urls;
      this.#arguments = [
        ...(this.#cluster.kind === "etcd" ? ["--enable-v2=true"] : []),
        ...["--name", this.name, "--data-dir", this.dataDir],
        ...["--listen-client-urls", clientUrl, "--advertise-client-urls", clientUrl],
        ...["--listen-peer-urls", listenPeerUrl, "--initial-advertise-peer-urls", peerUrl],
        ...["--initial-cluster", initialCluster, "--initial-cluster-state", clusterState],
        ...["--initial-cluster-token", TOKEN, ...this.#cluster.flags],
      ];
    }
    const isEtcd = this.#cluster.kind === "etcd";
    const first = isEtcd ? [] : ["--import", WALL_CLOCK, this.program];
    const log = openSync(this.logFile, "a");
    const child = spawn(isEtcd ? "etcd" : process.execPath, [...first, ...this.#arguments], {
      stdio: ["ignore", log, log],
      env: {
        ...process.env,
        FAILING_CALLS: this.#orders,
        NODE_OPTIONS: `--import ${FAILING_CALLS}`,
        TEST_WALL_CLOCK: this.#clockFile,
        ...this.environment,
      },
    });
    closeSync(log);
    this.#child = child;
    this.#isEnding = false;
    child.once("exit", (code, signal) => {
      this.#child = undefined;
      this.#isStopped = false;
      if (this.#isEnding || this.isDismissed || this.isDiskFull) return;
      this.crashes.push(
        `${this.name} ended by itself with ${signal ?? code}:\n${tail(this.logFile, 30)}`,
      );
    });
  }

  /** Resolves when the process has ended; at once if there is none. */
  async end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#isEnding = true;
    child.kill(signal);
    if (this.#isStopped) child.kill("SIGCONT");
    await until(`${this.name} ends on ${signal}`, END_MS, () => this.#child !== child);
  }

  async untilExit(timeoutMs: number): Promise<void> {
    await until(`${this.name} ends by itself`, timeoutMs, () => this.#child === undefined);
  }

  /** Suspends the process, which keeps its connections and memory. */
  stop(): void {
    this.#isStopped = this.#child?.kill("SIGSTOP") ?? false;
  }

  resume(): void {
    this.#child?.kill("SIGCONT");
    this.#isStopped = false;
  }

  wipe(): void {
    rmSync(this.dataDir, { recursive: true, force: true });
    this.#id = "";
  }

  /** @param isKept copy the content of a mounted disk to a permanent one */
  close(isKept: boolean): void {
    this.#control.close();
    if (!this.isOnSmallDisk) return;
    if (isKept) cpSync(this.folder, `${this.folder}-disk`, { recursive: true });
    spawnSync("umount", [this.folder]);
  }

  /** Sets the offset of its wall clock, also across restarts; 0 corrects it. ringd only. */
  shiftWallClock(ms: number): void {
    writeFileSync(this.#clockFile, String(ms));
  }

  get #clockFile(): string {
    return `${this.logFile}.clock`;
  }

  /** Call before the first start. `isOnSmallDisk` says whether it succeeded. */
  mountDisk(mb: number): void {
    const mount = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${mb}m`, "tmpfs", this.folder]);
    this.isOnSmallDisk = mount.status === 0;
  }

  /** Fills its disk to the last byte. */
  fillDisk(): void {
    this.isDiskFull = true;
    const file = openSync(join(this.folder, BALLAST), "w");
    const bytes = Buffer.alloc(2 ** 20, 1);
    try {
      for (let size = bytes.length; size > 0; ) {
        try {
          writeSync(file, bytes, 0, size);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
          size >>= 1;
        }
      }
    } finally {
      closeSync(file);
    }
  }

  emptyDisk(): void {
    rmSync(join(this.folder, BALLAST), { force: true });
    this.isDiskFull = false;
  }

  /** Its log cannot be synced, until `syncAgain`. */
  failSyncs(): void {
    writeFileSync(this.#orders, "fdatasyncSync .wal EIO");
  }

  /** Its log's syncs take until `syncAgain`. */
  stallSyncs(): void {
    writeFileSync(this.#orders, "fdatasyncSync .wal STALL");
  }

  syncAgain(): void {
    rmSync(this.#orders, { force: true });
  }

  /**
   * Simulates a power cut while it is down: data that a failed sync left in the page cache is lost.
   */
  losePages(): void {
    losePages(this.#orders);
  }

  /** Waits until its log has failed and rejects writes until a restart. */
  async untilLogFailed(timeoutMs: number): Promise<void> {
    const failures = () => readFileSync(this.logFile, "utf8").split("WAL write failed").length;
    const before = this.#failuresSeen;
    await until(`the log of ${this.name} fails`, timeoutMs, () => failures() > before);
    this.#failuresSeen = failures();
  }

  /** @returns undefined if there was no response */
  async ask(method: string, path: string, options: { json?: unknown; timeoutMs?: number } = {}) {
    try {
      return await this.#control.call(method, path, { timeoutMs: ASK_MS, ...options });
    } catch (error) {
      if (error instanceof NoAnswerError) return undefined;
      throw error;
    }
  }

  async isHealthy(): Promise<boolean> {
    const answer = await this.ask("GET", "/health");
    return answer?.status === 200 && /"health" ?: ?"?true/.test(answer.body);
  }

  /** Its id and its known leader, from its statistics. */
  async view(): Promise<View | undefined> {
    const answer = await this.ask("GET", "/v2/stats/self");
    if (answer?.status !== 200) return undefined;
    const { id, state, leaderInfo } = JSON.parse(answer.body) as {
      id: string;
      state: string;
      leaderInfo: { leader: string; startTime: string };
    };
    this.#id = id;
    return {
      id,
      leader: leaderInfo.leader,
      isLeader: state === "StateLeader",
      leaderSince: leaderInfo.startTime,
    };
  }

  async id(): Promise<string> {
    if (this.#id === "") {
      await until(`${this.name} tells its id`, 20_000, async () => {
        await this.view();
        return this.#id !== "";
      });
    }
    return this.#id;
  }
}

/** The last lines of a file. */
export function tail(file: string, lines: number): string {
  return readFileSync(file, "utf8").trimEnd().split("\n").slice(-lines).join("\n");
}
