import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, NoAnswerError } from "../../support/client.js";
import { NetworkLab } from "../../support/network-lab.js";
import { until } from "../../support/until.js";

const CLIENT_PORT = 2379;
const PEER_PORT = 2380;
const WRITERS_PER_MEMBER = 2;
/** Pause between a writer's writes, so that their number measures availability, not speed. */
const PAUSE_MS = 20;
const WRITE_MS = 10_000;
const READY_MS = 30_000;

/** The links' fault during the writes. */
export interface LinkFault {
  readonly about: string;
  /**
   * Links `[from, to]` that are cut while off, by the leader's position and the number of members.
   */
  readonly cuts: (leader: number, size: number) => readonly (readonly [number, number])[];
  readonly offMs: number;
  /** 0: always off. */
  readonly onMs: number;
}

const FLAP = { offMs: 300, onMs: 300 } as const;
const ONE_WAY = { offMs: 10_000, onMs: 0 } as const;

export const LINK_FAULTS: Readonly<Record<string, LinkFault>> = {
  "flap-all": { about: "all links, on and off", cuts: (_, size) => pairs(size), ...FLAP },
  "flap-leader": {
    about: "the leader's links, on and off",
    cuts: (leader, size) => pairs(size).filter((pair) => pair.includes(leader)),
    ...FLAP,
  },
  "flap-follower": {
    about: "a follower's links, on and off",
    cuts: (leader, size) => pairs(size).filter((pair) => pair.includes((leader + 1) % size)),
    ...FLAP,
  },
  "mute-leader": {
    about: "nobody hears the leader",
    cuts: (leader, size) => pairs(size).filter(([from]) => from === leader),
    ...ONE_WAY,
  },
  "deaf-leader": {
    about: "the leader hears nobody",
    cuts: (leader, size) => pairs(size).filter(([, to]) => to === leader),
    ...ONE_WAY,
  },
  "mute-follower": {
    about: "nobody hears a follower",
    cuts: (leader, size) => pairs(size).filter(([from]) => from === (leader + 1) % size),
    ...ONE_WAY,
  },
  "deaf-follower": {
    about: "a follower hears nobody",
    cuts: (leader, size) => pairs(size).filter(([, to]) => to === (leader + 1) % size),
    ...ONE_WAY,
  },
};

function pairs(size: number): (readonly [number, number])[] {
  const all = Array.from({ length: size }, (_, n) => n);
  return all.flatMap((from) => all.filter((to) => to !== from).map((to) => [from, to] as const));
}

export interface LinkRunOptions {
  /** A member's command: `["etcd", "--enable-v2=true"]`, `["node", ".../ringd.js"]`. */
  readonly command: readonly string[];
  readonly fault: LinkFault;
  readonly seconds: number;
  /** Time after all links are restored. */
  readonly settleMs: number;
  readonly size: number;
  readonly flags: readonly string[];
}

export interface LinkResult {
  readonly acknowledged: number;
  /** Failed, or without a response. */
  readonly failed: number;
  /** The longest time without an acknowledged write at any member during the fault. */
  readonly gapMs: number;
  readonly terms: number;
  /** The longest time without one at a single member, after the links are restored. */
  readonly healedGapMs: number;
  /** Time until each member has acknowledged one after that. */
  readonly recoveredMs: number;
}

/** Runs one cluster in its own lab, under one fault. */
export async function runLinkFault(options: LinkRunOptions): Promise<LinkResult> {
  const names = Array.from({ length: options.size }, (_, n) => `n${n + 1}`);
  const folder = mkdtempSync(join(tmpdir(), "ringd-links-"));
  const lab = NetworkLab.create(names);
  try {
    return await measure(options, lab, folder);
  } finally {
    await lab.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(
  { command, fault, seconds, settleMs, size, flags }: LinkRunOptions,
  lab: NetworkLab,
  folder: string,
): Promise<LinkResult> {
  const urls = lab.hosts.map(({ address }) => `http://${address}:${CLIENT_PORT}`);
  const members = lab.hosts.map((_, n) => startMember(lab, n, command, flags, folder));
  const controls = urls.map((url) => new Client(url));
  await until("all members serve", READY_MS, async () => {
    if (members.some(({ exitCode }) => exitCode !== null)) throw new Error("a member ended");
    return (await Promise.all(controls.map((control) => write(control, 1000)))).every(
      isAcknowledged,
    );
  });
  const leader = await leaderOf(controls);
  const load = new Load(urls);
  const startMs = performance.now();
  const before = load.term;
  await flap(lab, fault, fault.cuts(leader, size), seconds * 1000);
  lab.heal();
  const healedMs = performance.now();
  await delay(settleMs);
  await load.stop();
  for (const control of controls) control.close();
  const counted = (ms: number) => ms >= startMs && ms < healedMs;
  const during = load.acknowledgedMs.flat().filter(counted);
  const perMember = load.acknowledgedMs.map((all) => all.filter((ms) => ms >= healedMs));
  const endMs = healedMs + settleMs;
  return {
    acknowledged: during.length,
    failed: load.failedMs.filter(counted).length,
    gapMs: longestGap(during, startMs, healedMs),
    terms: load.term - before,
    healedGapMs: Math.max(...perMember.map((all) => longestGap(all, healedMs, endMs))),
    recoveredMs: Math.max(...perMember.map((all) => Math.min(...all, endMs) - healedMs)),
  };
}

function startMember(
  lab: NetworkLab,
  n: number,
  [program = "", ...first]: readonly string[],
  flags: readonly string[],
  folder: string,
): ChildProcess {
  const { name, address } = lab.hosts[n] as { name: string; address: string };
  const peerUrl = (host: string) => `http://${host}:${PEER_PORT}`;
  const cluster = lab.hosts.map((host) => `${host.name}=${peerUrl(host.address)}`).join();
  const clientUrl = `http://${address}:${CLIENT_PORT}`;
  const args = [
    ...["--name", name, "--data-dir", join(folder, name), "--initial-cluster", cluster],
    ...["--listen-client-urls", clientUrl, "--advertise-client-urls", clientUrl],
    ...["--listen-peer-urls", peerUrl(address), "--initial-advertise-peer-urls", peerUrl(address)],
  ];
  const logFile =
    process.env.LINK_LOGS === undefined ? "/dev/null" : `${process.env.LINK_LOGS}/${name}.log`;
  return lab.run(n, program, [...first, ...args, ...flags], logFile);
}

async function flap(
  lab: NetworkLab,
  { offMs, onMs }: LinkFault,
  cuts: readonly (readonly [number, number])[],
  forMs: number,
): Promise<void> {
  const endMs = performance.now() + forMs;
  while (performance.now() < endMs) {
    for (const [from, to] of cuts) lab.cut(from, to);
    await delay(Math.min(offMs, endMs - performance.now()));
    if (onMs === 0) continue;
    lab.heal();
    await delay(onMs);
  }
}

/** Writers, some for each member, that write until stopped. */
class Load {
  /** When writes were acknowledged, by member. */
  readonly acknowledgedMs: number[][];
  readonly failedMs: number[] = [];
  term = 0;
  readonly #writers: Promise<void>[];
  #isStopping = false;

  constructor(urls: readonly string[]) {
    this.acknowledgedMs = urls.map(() => []);
    this.#writers = urls.flatMap((url, n) =>
      Array.from({ length: WRITERS_PER_MEMBER }, () => this.#write(url, n)),
    );
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#writers);
  }

  async #write(url: string, member: number): Promise<void> {
    const client = new Client(url);
    while (!this.#isStopping) {
      const answer = await write(client, WRITE_MS);
      this.term = Math.max(this.term, Number(answer?.headers["x-raft-term"] ?? 0));
      const list = isAcknowledged(answer) ? this.acknowledgedMs[member] : this.failedMs;
      list?.push(performance.now());
      await delay(PAUSE_MS);
    }
    client.close();
  }
}

type WriteAnswer = Awaited<ReturnType<typeof write>>;

async function write(client: Client, timeoutMs: number) {
  try {
    return await client.call("PUT", "/v2/keys/links", { form: "value=1", timeoutMs });
  } catch (error) {
    if (error instanceof NoAnswerError) return undefined;
    throw error;
  }
}

function isAcknowledged(answer: WriteAnswer): boolean {
  return answer !== undefined && answer.status < 300;
}

async function leaderOf(controls: readonly Client[]): Promise<number> {
  for (const [n, control] of controls.entries()) {
    const { body } = await control.call("GET", "/v2/stats/self", { timeoutMs: 5000 });
    if ((JSON.parse(body) as { state: string }).state === "StateLeader") return n;
  }
  throw new Error("nobody leads");
}

function longestGap(timesMs: readonly number[], fromMs: number, toMs: number): number {
  let longest = 0;
  let last = fromMs;
  for (const ms of [...timesMs.toSorted((a, b) => a - b), toMs]) {
    longest = Math.max(longest, ms - last);
    last = ms;
  }
  return longest;
}

/** A fault's duration; there is no event to wait for. */
function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
