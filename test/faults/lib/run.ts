import {
  type ClusterMember,
  type ClusterOptions,
  TestCluster,
  tail,
} from "../../support/cluster.js";
import { Prng } from "../../support/prng.js";
import { until } from "../../support/until.js";
import { checkAppends, checkEqual, checkHistory, checkWatches } from "./checks.js";
import { median } from "./failover.js";
import { History } from "./history.js";
import { EXTRA_FAULTS, FAULTS, RINGD_ONLY } from "./nemesis.js";
import { Watcher, type WatchLog } from "./watchers.js";
import { Workload } from "./workload.js";

const WORKERS = 8;
/** Small snapshots, and many of them. */
const FLAGS = ["--snapshot-count", "500"];
/** Long enough for all events that a watcher may miss; etcd's is fixed at 1000. */
const RINGD_FLAGS = ["--event-history", "20000"];
/** Log lines shown per member on a failure. */
const LOG_LINES = 15;
const BUSY_ANSWERS = 200;
const BUSY_MS = 3000;
/** About an election timeout: some faults end before, some after the cluster has noticed. */
const HOLD_MS = 1500;
const EQUAL_MS = 30_000;
const WATCHED_MS = 30_000;

export interface RunOptions extends ClusterOptions {
  readonly seed: number;
  /** New rounds begin until then; each takes some seconds. */
  readonly seconds: number;
  /** Names of `FAULTS`; empty: all. */
  readonly only: readonly string[];
  readonly say: (line: string) => void;
}

/**
 * The first member's disk, if it may be mounted: small enough to be filled, large enough for its
 * data.
 */
const SMALL_DISK_MB = 400;

export interface RunFigures {
  rounds: number;
  answered: number;
  refused: number;
  unknown: number;
  unsent: number;
  /** Leader changes caused by faults. */
  failovers: number;
  watched: number;
  /** Times a watcher was told that its next event is cleared. */
  gaps: number;
  /** Changes that etcd's watchers missed silently. */
  missed: number;
  readonly faults: Map<string, number>;
  /** From the end of faults until all members serve linearizable reads again. */
  readonly healMs: number[];
}

/** A check failed: see `findings`; the logs are kept. */
export class FaultRunError extends Error {
  override readonly name = "FaultRunError";
}

/**
 * Rounds of load, faults, healing and checks against one cluster. Each round uses its own keys, so
 * that checks stay cheap however long the run is.
 *
 * @throws FaultRunError with the first round's findings
 */
export async function runFaults(options: RunOptions): Promise<RunFigures> {
  const { seed, seconds, say } = options;
  const prng = new Prng(seed);
  const figures: RunFigures = {
    ...{ rounds: 0, answered: 0, refused: 0, unknown: 0, unsent: 0, failovers: 0 },
    ...{ watched: 0, gaps: 0, missed: 0, faults: new Map(), healMs: [] },
  };
  const { kind, size, tls = false, flags = [] } = options;
  const all = [...FLAGS, ...(kind === "ringd" ? RINGD_FLAGS : []), ...flags];
  const smallDiskMb = SMALL_DISK_MB;
  const cluster = await TestCluster.create({ kind, size, tls, flags: all, smallDiskMb });
  const deadlineMs = performance.now() + seconds * 1000;
  let isFine = false;
  try {
    if (!cluster.hasSmallDisk) say("no disk-full: this user may not mount a small disk");
    let deck: string[] = [];
    do {
      const wanted = 1 + prng.below(3);
      if (deck.length < wanted) deck = [...deck, ...newDeck(options, cluster, prng)];
      const faults = deck.splice(0, wanted);
      // Its own sequence, so that the clients' progress does not change the next faults.
      await new Round(cluster, figures, faults, new Prng(prng.uint32()), options).run();
    } while (performance.now() < deadlineMs);
    isFine = true;
  } catch (error) {
    for (const { name, logFile } of cluster.members) {
      for (const line of tail(logFile, LOG_LINES).split("\n")) say(`${name}: ${line}`);
    }
    say(`SEED=${seed}: logs and data are kept in ${cluster.folder}`);
    throw error;
  } finally {
    await cluster.destroy(!isFine);
  }
  return figures;
}

function newDeck({ only, kind }: RunOptions, cluster: TestCluster, prng: Prng): string[] {
  const names = (only.length > 0 ? [...only] : Object.keys(FAULTS)).filter(
    (name) =>
      (!name.startsWith("disk-full") || cluster.hasSmallDisk) &&
      (kind === "ringd" || !RINGD_ONLY.some((only) => name.startsWith(only))),
  );
  const deck: string[] = [];
  while (names.length > 0) deck.push(...names.splice(prng.below(names.length), 1));
  return deck;
}

class Round {
  readonly #cluster: TestCluster;
  readonly #figures: RunFigures;
  readonly #faults: readonly string[];
  readonly #prng: Prng;
  readonly #options: RunOptions;
  readonly #number: number;
  readonly #history = new History();
  /** The course of events, for people. */
  readonly #course: string[] = [];

  constructor(
    cluster: TestCluster,
    figures: RunFigures,
    faults: readonly string[],
    prng: Prng,
    options: RunOptions,
  ) {
    this.#cluster = cluster;
    this.#figures = figures;
    this.#faults = faults;
    this.#prng = prng;
    this.#options = options;
    this.#number = ++figures.rounds;
  }

  async run(): Promise<void> {
    const startMs = performance.now();
    const cluster = this.#cluster;
    const prefix = `/f${this.#number}`;
    const members = () => cluster.members;
    const workload = new Workload(this.#history, prefix, new Prng(this.#prng.uint32()), members);
    const from = await this.#prepare(prefix);
    const watchers = cluster.members.map((member) => new Watcher(member, `${prefix}/w`, from));
    const lastKey = `${prefix}/w/end`;
    const watching = Promise.all(watchers.map((watcher) => watcher.run(lastKey)));
    const working = workload.run(WORKERS);
    // Only the first failure is reported.
    watching.catch(() => undefined);
    working.catch(() => undefined);
    try {
      await this.#disturb();
      workload.stop();
      await working;
      await workload.readAll(this.#prng.pick(cluster.members));
      await this.#finish(lastKey, watchers, watching);
      await this.#check(
        prefix,
        watchers.map(({ log }) => log),
      );
    } finally {
      workload.stop();
      for (const watcher of watchers) watcher.stop();
    }
    const { answered, refused, unknown, unsent } = this.#history.figures;
    this.#options.say(
      `round ${this.#number}: ${this.#course.join(", ")}; ${answered} answered, ${refused} refused, ` +
        `${unknown} unknown, ${unsent} unsent in ${Math.round(performance.now() - startMs)} ms`,
    );
  }

  /** Removes the keys of the last round. @returns the first index of this round */
  async #prepare(prefix: string): Promise<number> {
    const old = `/v2/keys/f${this.#number - 1}?recursive=true&dir=true`;
    await this.#insist("DELETE", old, [200, 404]);
    const made = await this.#insist("PUT", `/v2/keys${prefix}/w?dir=true`, [201, 403, 412]);
    return Number(made.headers["x-etcd-index"]) + 1;
  }

  /** Heals the cluster and waits for it. */
  async #heal(isReset: boolean): Promise<void> {
    const startMs = performance.now();
    this.#cluster.heal(isReset);
    await this.#cluster.untilHealthy();
    // Throws without an agreed leader. Not for etcd, whose statistics may show an old leader's late
    // message.
    if (this.#options.kind === "ringd") await this.#cluster.leader();
    const ms = performance.now() - startMs;
    this.#course.push(`healed in ${Math.round(ms)} ms`);
    this.#figures.healMs.push(ms);
  }

  async #disturb(): Promise<void> {
    const cluster = this.#cluster;
    const prng = this.#prng;
    const scratch = `/f${this.#number}/burst`;
    for (const name of this.#faults) {
      await this.#untilBusy();
      const before = await cluster.leader(1).catch(() => undefined);
      const startMs = performance.now();
      await (FAULTS[name] ?? EXTRA_FAULTS[name])?.({ cluster, prng, holdMs: HOLD_MS, scratch });
      this.#course.push(`${name} ${Math.round(performance.now() - startMs)} ms`);
      const after = await cluster.leader(1).catch(() => undefined);
      if (before !== undefined && before !== after) this.#figures.failovers++;
      this.#figures.faults.set(name, (this.#figures.faults.get(name) ?? 0) + 1);
      // Else the next fault is added to this one.
      if (!prng.oneIn(3)) await this.#heal(prng.oneIn(2));
    }
    await this.#heal(prng.oneIn(2));
  }

  /** A fault should hit a working cluster, unless the last one still prevents that. */
  async #untilBusy(): Promise<void> {
    const { figures } = this.#history;
    const enough = figures.answered + BUSY_ANSWERS;
    const isBusy = async () => figures.answered >= enough;
    await until("clients at work", BUSY_MS, isBusy).catch(() => undefined);
  }

  async #finish(
    lastKey: string,
    watchers: readonly Watcher[],
    watching: Promise<unknown>,
  ): Promise<void> {
    await this.#insist("PUT", `/v2/keys${lastKey}?value=end`, [200, 201]);
    let isDone = false;
    const done = watching.then(() => {
      isDone = true;
    });
    const late = until(
      () => `every watcher sees ${lastKey}; ${watchers.map(({ log }) => lastOf(log)).join(", ")}`,
      WATCHED_MS,
      async () => isDone,
    );
    await Promise.race([done, late]);
    await late;
  }

  async #check(prefix: string, logs: readonly WatchLog[]): Promise<void> {
    const history = this.#history;
    for (const key of ["answered", "refused", "unknown", "unsent"] as const) {
      this.#figures[key] += history.figures[key];
    }
    for (const { changes, gaps } of logs) {
      this.#figures.watched += changes.length;
      this.#figures.gaps += gaps.length;
    }
    const trees = await this.#equalTrees();
    const watched = history.changes.filter(({ key }) => key.startsWith(`${prefix}/w/`));
    const isEtcd = this.#options.kind === "etcd";
    const watches = checkWatches(watched, logs, isEtcd);
    this.#figures.missed += watches.missed;
    const findings = [
      ...this.#cluster.crashes,
      ...checkHistory(history),
      ...checkAppends(history.appends, appendsIn(await this.#listing(prefix), prefix)),
      ...watches.findings,
      ...(isEtcd ? [] : logs.flatMap(describeGaps)),
      ...checkEqual(trees),
    ];
    if (findings.length > 0) {
      throw new FaultRunError(
        `SEED=${this.#options.seed} round ${this.#number} (${this.#course.join(", ")}):\n${findings.join("\n")}`,
      );
    }
  }

  /** Every member's whole tree with its index, once they are equal, or on a timeout. */
  async #equalTrees(): Promise<Map<string, string>> {
    const trees = new Map<string, string>();
    const isEqual = async () => {
      for (const member of this.#cluster.members) {
        const answer = await member.ask("GET", "/v2/keys/?recursive=true&sorted=true", {
          timeoutMs: 10_000,
        });
        // Each member counts the remaining TTL down by itself.
        const body = answer?.body.replaceAll(/"ttl":-?\d+,?/g, "");
        trees.set(member.name, `${answer?.headers["x-etcd-index"]} ${body}`);
      }
      return new Set(trees.values()).size === 1;
    };
    // Requests of clients that timed out may still be in flight.
    await until("equal trees", EQUAL_MS, isEqual).catch(() => undefined);
    return trees;
  }

  async #listing(prefix: string): Promise<string> {
    const answer = await this.#insist("GET", `/v2/keys${prefix}/w/log?quorum=true`, [200, 404]);
    return answer.body;
  }

  /** Asks one member after another until one responds with one of these statuses. */
  async #insist(method: string, path: string, statuses: readonly number[]) {
    let answer: Awaited<ReturnType<ClusterMember["ask"]>>;
    await until(
      () => `${method} ${path}; last: ${answer?.status} ${answer?.body}`,
      30_000,
      async () => {
        answer = await this.#prng
          .pick(this.#cluster.members)
          .ask(method, path, { timeoutMs: 5000 });
        return answer !== undefined && statuses.includes(answer.status);
      },
    );
    return answer as NonNullable<typeof answer>;
  }
}

function lastOf({ name, changes, gaps }: WatchLog): string {
  return `${name} saw ${changes.length}, last ${changes.at(-1)?.index}, ${gaps.length} gaps`;
}

/** ringd's history is configured longer than a round's changes. */
function describeGaps({ name, gaps }: WatchLog): string[] {
  return gaps.map(({ from, to }) => `${name} was told that ${from} to ${to} are gone`);
}

function appendsIn(listing: string, prefix: string): Map<string, { value: string; index: number }> {
  const { node } = JSON.parse(listing) as {
    node?: { nodes?: { key: string; value: string; modifiedIndex: number }[] };
  };
  return new Map(
    (node?.nodes ?? []).map(({ key, value, modifiedIndex }) => [
      key.slice(prefix.length + 1),
      { value, index: modifiedIndex },
    ]),
  );
}

/** One line with all results of a run. */
export function describeFigures({ faults, healMs, ...counts }: RunFigures): string {
  const heal = {
    healMsMedian: Math.round(median(healMs)),
    healMsMax: Math.round(Math.max(...healMs)),
  };
  return JSON.stringify({ ...counts, ...heal, ...Object.fromEntries(faults) });
}
