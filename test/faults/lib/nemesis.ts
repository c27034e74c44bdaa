import { rmSync } from "node:fs";
import { join } from "node:path";
import { Client, NoAnswerError } from "../../support/client.js";
import type { ClusterMember, TestCluster } from "../../support/cluster.js";
import type { Prng } from "../../support/prng.js";
import { until } from "../../support/until.js";

/** Entries that a member lags: more than a leader keeps for catching up from the log (5,000). */
const FAR_BEHIND_ENTRIES = 6000;
const SMALL_BURST = { writes: FAR_BEHIND_ENTRIES, writers: 16, value: "x" };
/** Together more than one file of the log, which is 64 MiB with both kinds. */
const BIG_BURST = { writes: 75, writers: 4, value: "x".repeat(1_000_000) };
/** Timeout for the cluster to notice a fault. */
const NOTICE_MS = 8000;

/** Parameters of a fault. */
export interface Stage {
  readonly cluster: TestCluster;
  readonly prng: Prng;
  /** Duration of faults without an event to wait for. */
  readonly holdMs: number;
  /** Key directory for the fault's own writes. */
  readonly scratch: string;
}

type Fault = (stage: Stage) => Promise<void>;

/** All faults. None heals the cluster: the caller does, after one or several. */
export const FAULTS: Readonly<Record<string, Fault>> = {
  "kill-leader": async (stage) => {
    const leader = await leaderOf(stage);
    await leader.end("SIGKILL");
    await notice(stage, leader);
  },
  "kill-follower": async (stage) => {
    await (await followerOf(stage)).end("SIGKILL");
    await hold(stage);
  },
  "kill-all": async ({ cluster, prng }) => {
    const { members } = cluster;
    await Promise.all(members.map((member) => member.end("SIGKILL")));
    for (const member of prng.shuffled(members)) member.start();
  },
  "kill-majority": async (stage) => {
    const { cluster, prng } = stage;
    const some = prng.shuffled(cluster.members).slice(0, cluster.quorum);
    await Promise.all(some.map((member) => member.end("SIGKILL")));
    await hold(stage);
  },
  "terminate-leader": async (stage) => {
    const leader = await leaderOf(stage);
    await leader.end("SIGTERM");
    await notice(stage, leader);
  },
  "stop-leader": async (stage) => {
    const leader = await leaderOf(stage);
    leader.stop();
    await notice(stage, leader);
  },
  "stop-follower": async (stage) => {
    (await followerOf(stage)).stop();
    await hold(stage);
  },
  "stop-majority": async (stage) => {
    const { cluster, prng } = stage;
    for (const member of prng.shuffled(cluster.members).slice(0, cluster.quorum)) member.stop();
    await hold(stage);
  },
  "stutter-leader": async (stage) => {
    // Just shorter and just longer than an election timeout, repeatedly.
    for (let n = 0; n < 4; n++) {
      const leader = await leaderOf(stage);
      leader.stop();
      await delay(100 + stage.prng.below(stage.holdMs));
      leader.resume();
      await delay(stage.prng.below(200));
    }
  },
  "restart-loop": async (stage) => {
    for (let n = 0; n < 6; n++) {
      const member = stage.prng.pick(stage.cluster.members);
      await member.end(stage.prng.oneIn(3) ? "SIGTERM" : "SIGKILL");
      await delay(stage.prng.below(stage.holdMs / 2));
      member.start();
    }
  },
  "isolate-leader": async (stage) => {
    const leader = await leaderOf(stage);
    await part(stage, [leader], others(stage, leader));
    await notice(stage, leader);
  },
  "clock-leader": async (stage) => {
    await restore(stage);
    const leader = await leaderOf(stage);
    const checkKept = await putLongLived(stage);
    leader.shiftWallClock(clockJump(stage));
    await hold(stage);
    if (stage.prng.oneIn(2)) leader.shiftWallClock(clockJump(stage));
    if (stage.prng.oneIn(2)) await leader.end("SIGKILL");
    await hold(stage);
    await checkKept();
  },
  "clock-all": async (stage) => {
    const { cluster, prng } = stage;
    await restore(stage);
    const checkKept = await putLongLived(stage);
    // A different one each; and one member starts with it.
    for (const member of cluster.members) member.shiftWallClock(clockJump(stage));
    const one = prng.pick(cluster.members);
    await one.end("SIGKILL");
    one.start();
    await hold(stage);
    await checkKept();
  },
  halves: async (stage) => {
    const { cluster, prng } = stage;
    const members = prng.shuffled(cluster.members);
    const smaller = 1 + prng.below(cluster.quorum - 1);
    await part(stage, members.slice(0, smaller), members.slice(smaller));
    await hold(stage);
  },
  "split-pair": async (stage) => {
    // Two members that both see all others: in a cluster of three they may see different leaders.
    const [a, b] = stage.prng.shuffled(stage.cluster.members);
    await part(stage, [a as ClusterMember], [b as ClusterMember]);
    await hold(stage);
  },
  "mute-leader": async (stage) => {
    const leader = await leaderOf(stage);
    await mute(stage, leader);
    await notice(stage, leader);
  },
  "deaf-leader": async (stage) => {
    const leader = await leaderOf(stage);
    await deafen(stage, leader);
    await notice(stage, leader);
  },
  "mute-follower": async (stage) => {
    const one = await followerOf(stage);
    await mute(stage, one);
    await hold(stage);
  },
  "deaf-follower": async (stage) => {
    const one = await followerOf(stage);
    await deafen(stage, one);
    await hold(stage);
  },
  flicker: async (stage) => {
    const { cluster, prng } = stage;
    for (let n = 0; n < 12; n++) {
      const [a, b] = prng.shuffled(cluster.members) as [ClusterMember, ClusterMember];
      if (prng.oneIn(4)) await cluster.network.cut(a.name, b.name);
      else await cluster.network.hold(a.name, b.name);
      await delay(prng.below(200));
      if (prng.oneIn(2)) cluster.network.heal(prng.oneIn(2));
    }
  },
  "replace-follower": async (stage) => {
    // A membership change needs a quorum.
    await restore(stage);
    await stage.cluster.replace(await followerOf(stage));
  },
  "replace-leader": async (stage) => {
    await restore(stage);
    await stage.cluster.replace(await leaderOf(stage));
  },
  "grow-and-shrink": async (stage) => {
    await restore(stage);
    await growTo(stage, stage.cluster.members.length + 1);
  },
  "disk-full": async (stage) => {
    // Small snapshots soon need a new file.
    await fillDisk(stage, SMALL_BURST);
  },
  "sync-fails": async (stage) => {
    // An fsync fails, the member restarts and continues, then loses power.
    await restore(stage);
    const one = stage.prng.pick(stage.cluster.members);
    one.failSyncs();
    await one.untilLogFailed(NOTICE_MS);
    one.syncAgain();
    await one.end("SIGKILL");
    one.start();
    await stage.cluster.untilHealthy();
    await hold(stage);
    await one.end("SIGKILL");
    one.losePages();
    one.start();
  },
  "directory-removed": async (stage) => {
    await restore(stage);
    const one = stage.prng.pick(stage.cluster.members);
    rmSync(join(one.dataDir, "member"), { recursive: true });
    await one.untilLogFailed(NOTICE_MS);
    await hold(stage);
    await one.end("SIGKILL");
    await stage.cluster.replace(one);
  },
  "far-behind": async (stage) => {
    await restore(stage);
    const one = await followerOf(stage);
    if (stage.prng.oneIn(2)) await one.end("SIGKILL");
    else await part(stage, [one], others(stage, one));
    await burst(stage, others(stage, one), SMALL_BURST);
  },
};

/** Calls of other servers cannot be made to fail, and etcd does not detect a missing directory. */
export const RINGD_ONLY: readonly string[] = ["sync-fails", "directory-removed", "clock-"];

/**
 * Run only if named.
 *
 * - `disk-full-log`: the log needs a new file on a full disk. For a cluster that takes no
 *   snapshots meanwhile, as their event history would hold all the big values.
 * - `grow-to-N`: member by member, and back to the size it had.
 */
export const EXTRA_FAULTS: Readonly<Record<string, Fault>> = {
  "disk-full-log": (stage) => fillDisk(stage, BIG_BURST),
  "grow-to-3": (stage) => growTo(stage, 3),
  "grow-to-5": (stage) => growTo(stage, 5),
};

/** The initial members stay, so that their watchers can continue. */
async function growTo({ cluster }: Stage, size: number): Promise<void> {
  const added: ClusterMember[] = [];
  while (cluster.members.length < size) {
    added.push(await cluster.grow());
    await cluster.untilHealthy();
  }
  for (const member of added) {
    await cluster.remove(member);
    await cluster.untilHealthy();
  }
}

async function fillDisk(stage: Stage, size: typeof SMALL_BURST): Promise<void> {
  await restore(stage);
  const small = stage.cluster.members.find(({ isOnSmallDisk }) => isOnSmallDisk);
  if (small === undefined) return;
  small.fillDisk();
  await burst(stage, others(stage, small), size);
  await hold(stage);
  // Once a write has failed, only a restart from disk is known to be correct.
  await small.end("SIGKILL");
}

/** A key with a TTL of minutes. @returns a check, on any member, that it exists */
async function putLongLived({ cluster, prng, scratch }: Stage): Promise<() => Promise<void>> {
  const path = `/v2/keys${scratch}/ttl${prng.below(1e6)}`;
  const ask = async (method: string, query: string, form?: string) => {
    for (const member of prng.shuffled(cluster.running)) {
      const client = new Client(member.clientUrl);
      const options = { ...(form === undefined ? {} : { form }), timeoutMs: 5000 };
      try {
        const { status } = await client.call(method, `${path}${query}`, options);
        if (status < 500) return status;
      } catch (error) {
        if (!(error instanceof NoAnswerError)) throw error;
      } finally {
        client.close();
      }
    }
    return undefined;
  };
  const isThere = (await ask("PUT", "", "value=x&ttl=600")) !== undefined;
  return async () => {
    const status = isThere ? await ask("GET", "?quorum=true") : undefined;
    if (status === 404) throw new Error(`${path} expired minutes too early`);
  };
}

/** Up to an hour, either way. */
function clockJump({ prng }: Stage): number {
  return prng.pick([-1, 1]) * (2000 + prng.below(3_600_000));
}

/** The leader; after a while without one, any member. */
async function leaderOf({ cluster, prng }: Stage): Promise<ClusterMember> {
  return (await cluster.leader(NOTICE_MS).catch(() => undefined)) ?? prng.pick(cluster.members);
}

async function followerOf(stage: Stage): Promise<ClusterMember> {
  return stage.prng.pick(others(stage, await leaderOf(stage)));
}

function others({ cluster }: Stage, one: ClusterMember): ClusterMember[] {
  return cluster.members.filter((member) => member !== one);
}

/** Waits until a quorum has another leader, or a timeout, then a moment longer. */
async function notice({ cluster, prng, holdMs }: Stage, old: ClusterMember): Promise<void> {
  const isReplaced = async () => (await cluster.leader(NOTICE_MS)) !== old;
  await until("another leader", NOTICE_MS, isReplaced).catch(() => undefined);
  await delay(prng.below(holdMs / 2));
}

async function hold({ prng, holdMs }: Stage): Promise<void> {
  await delay(holdMs / 2 + prng.below(holdMs));
}

async function restore({ cluster, prng }: Stage): Promise<void> {
  cluster.heal(prng.oneIn(2));
  await cluster.untilHealthy();
}

async function part(stage: Stage, a: ClusterMember[], b: ClusterMember[]): Promise<void> {
  const { network } = stage.cluster;
  const isCut = stage.prng.oneIn(3);
  const links = a.flatMap((one) => b.map((other) => [one.name, other.name] as const));
  await Promise.all(
    links.flatMap(([one, other]) =>
      isCut ? [network.cut(one, other)] : [network.hold(one, other), network.hold(other, one)],
    ),
  );
}

/** Cuts its outgoing links. */
async function mute(stage: Stage, one: ClusterMember): Promise<void> {
  const { network } = stage.cluster;
  await Promise.all(others(stage, one).map((other) => network.hold(one.name, other.name)));
}

/** Cuts its incoming links. */
async function deafen(stage: Stage, one: ClusterMember): Promise<void> {
  const { network } = stage.cluster;
  await Promise.all(others(stage, one).map((other) => network.hold(other.name, one.name)));
}

/** Writes as fast as possible until enough are acknowledged. */
async function burst(
  { scratch }: Stage,
  members: readonly ClusterMember[],
  { writes, writers, value }: typeof SMALL_BURST,
): Promise<void> {
  let left = writes;
  const write = async (n: number) => {
    const client = new Client((members[n % members.length] as ClusterMember).clientUrl);
    while (left > 0) {
      try {
        const path = `/v2/keys${scratch}/${n}`;
        const answer = await client.call("PUT", path, { form: `value=${value}`, timeoutMs: 5000 });
        if (answer.status < 300) left--;
      } catch (error) {
        if (!(error instanceof NoAnswerError)) throw error;
        await delay(20);
      }
    }
    client.close();
  };
  await Promise.all(Array.from({ length: writers }, (_, n) => write(n)));
}

/** A fault's duration; there is no event to wait for. */
function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
