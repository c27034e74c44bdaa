import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";

/**
 * Bits of a process id that fit into an address and into the 15 characters of an interface's name.
 */
const SUBNETS = 200;

/** A machine of the lab: an address, and the network namespace of its processes. */
export interface LabHost {
  readonly name: string;
  readonly address: string;
  readonly namespace: string;
}

/**
 * Machines on a switch: network namespaces with a veth pair each, on a bridge. This process is on
 * the bridge too, at `.254`, and its traffic is never dropped, so clients run here.
 *
 * Links between machines are cut by dropping packets on arrival, per direction. Unlike a proxy this
 * ends no connection and delivers nothing late: TCP repeats lost packets with growing delays, as on
 * a real network.
 *
 * Needs root, `ip` and `nft`. A watchdog process reads a pipe and removes everything when the other
 * end closes, however this process ends.
 */
export class NetworkLab {
  readonly hosts: readonly LabHost[];
  readonly #filters: readonly ChildProcess[];
  readonly #watchdog: ChildProcess;

  /** @returns why this machine cannot run a lab; undefined if it can */
  static unavailable(): string | undefined {
    if (process.getuid?.() !== 0) return "network namespaces need root";
    for (const [tool, flag] of [
      ["ip", "-V"],
      ["nft", "-v"],
    ] as const) {
      if (spawnSync(tool, [flag]).status !== 0) return `${tool} is not installed`;
    }
    const name = `ringd-probe-${process.pid}`;
    if (spawnSync("ip", ["netns", "add", name]).status !== 0) return "ip netns does not work here";
    const rules = ["netns", "exec", name, "nft", "add table inet lab"];
    const hasFilter = spawnSync("ip", rules).status === 0;
    spawnSync("ip", ["netns", "del", name]);
    return hasFilter ? undefined : "nft does not work here";
  }

  static create(names: readonly string[]): NetworkLab {
    const subnet = process.pid % SUBNETS;
    const id = (labs++ * SUBNETS + subnet).toString(36);
    const bridge = `rdb${id}`;
    const hosts = names.map((name, n) => ({
      name,
      address: `10.213.${subnet}.${n + 1}`,
      namespace: `ringd-${id}-${n + 1}`,
    }));
    const watchdog = spawn("sh", ["-c", removal(bridge, hosts)], {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true, // Ctrl-C must end this process only; the watchdog ends after it.
    });
    try {
      ip("link", "add", bridge, "type", "bridge");
      ip("link", "set", bridge, "up");
      ip("addr", "add", `10.213.${subnet}.254/24`, "dev", bridge);
      for (const [n, { address, namespace }] of hosts.entries()) {
        const port = `rdv${id}-${n + 1}`;
        ip("netns", "add", namespace);
        ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace);
        ip("link", "set", port, "master", bridge, "up");
        ip("-n", namespace, "addr", "add", `${address}/24`, "dev", "eth0");
        ip("-n", namespace, "link", "set", "eth0", "up");
        ip("-n", namespace, "link", "set", "lo", "up");
      }
      return new NetworkLab(hosts, hosts.map(filter), watchdog);
    } catch (error) {
      watchdog.stdin?.end();
      throw error;
    }
  }

  private constructor(
    hosts: readonly LabHost[],
    filters: readonly ChildProcess[],
    watchdog: ChildProcess,
  ) {
    this.hosts = hosts;
    this.#filters = filters;
    this.#watchdog = watchdog;
  }

  /** From now on packets from `from` to `to` are dropped. */
  cut(from: number, to: number): void {
    this.#order(to, `add element inet lab cut { ${this.hosts[from]?.address} }`);
  }

  /** Ends all cuts. */
  heal(): void {
    for (const [n] of this.hosts.entries()) this.#order(n, "flush set inet lab cut");
  }

  /** Runs a program on a machine. @param logFile receives its output */
  run(host: number, program: string, args: readonly string[], logFile: string): ChildProcess {
    const log = openSync(logFile, "a");
    const { namespace } = this.hosts[host] as LabHost;
    const child = spawn("ip", ["netns", "exec", namespace, program, ...args], {
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    return child;
  }

  /** Ends all processes, and removes all machines and links. */
  async close(): Promise<void> {
    for (const child of this.#filters) child.stdin?.end();
    if (this.#watchdog.exitCode !== null) return;
    const exited = once(this.#watchdog, "exit");
    this.#watchdog.stdin?.end();
    await exited;
  }

  #order(host: number, command: string): void {
    this.#filters[host]?.stdin?.write(`${command}\n`);
  }
}

let labs = 0;

/** One interactive nft per machine: a command needs no new process. */
function filter({ namespace }: LabHost): ChildProcess {
  const child = spawn("ip", ["netns", "exec", namespace, "nft", "-i"], {
    stdio: ["pipe", "ignore", "inherit"],
  });
  for (const line of [
    "add table inet lab",
    "add set inet lab cut { type ipv4_addr; }",
    "add chain inet lab input { type filter hook input priority 0; }",
    "add rule inet lab input ip saddr @cut drop",
  ]) {
    child.stdin?.write(`${line}\n`);
  }
  return child;
}

function ip(...args: readonly string[]): void {
  const { status, stderr } = spawnSync("ip", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr.trim()}`);
}

/** Waits until its input ends, at the latest with the writing process. */
function removal(bridge: string, hosts: readonly LabHost[]): string {
  const names = hosts.map(({ namespace }) => namespace).join(" ");
  return `cat; for name in ${names}; do
    for pid in $(ip netns pids $name); do kill -9 $pid; done
    ip netns del $name
  done; ip link del ${bridge}`;
}
