import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { pino } from "pino";
import { foundingPlan, type StartMember, type StartPlan } from "#ringd/bootstrap/start-plan.js";
import { FORMAT_LEVEL } from "#ringd/cluster/format.js";
import { formatId } from "#ringd/cluster/ids.js";
import { type Config, readConfig } from "#ringd/config/config.js";
import type { Logger } from "#ringd/log/logger.js";
import type { RecoveredMember } from "#ringd/member/raft-start.js";
import type { SnapshotMeta } from "#ringd/raft/entry.js";
import type { Raft, Ready } from "#ringd/raft/raft.js";
import type { Event } from "#ringd/store/event.js";
import type { Store } from "#ringd/store/store.js";
import { checkLinearizable, describeViolation } from "../support/linearizable.js";
import { Prng } from "../support/prng.js";
import { checkRecovery, MemberChecks } from "./member-checks.js";
import { type ClientWorld, Registers, SimClient, SimStirrer } from "./member-clients.js";
import { drawFaults, type MemberFaults } from "./member-faults.js";
import { SimNetwork } from "./member-network.js";
import { type MemberWorld, SimMember } from "./member-node.js";
import { SimOperator } from "./member-operator.js";
import { listen, type ProbeListener } from "./member-probe.js";
import { entriesOf } from "./member-start.js";
import { StatusCheck } from "./member-status.js";
import { TimeChecks } from "./member-time.js";
import { SimWatcher } from "./member-watchers.js";
import { SimDisk as DurableLog } from "./raft-disk.js";

/** Index of the wal thread among a life's threads. */
const WAL = 1;
/** Time advances by 1 to this between two rounds of turns. */
const STEP_MS_MAX = 6;
/** Or to this, if the last round was idle. */
const IDLE_STEP_MS_MAX = 12;
/** Mean interval of the stirrer's requests. */
const STIR_MS = 150;
/** A cluster must recover within this after the last fault, or after members last caught up. */
const SETTLE_MS_MAX = 60_000;
/** Requests sent before the end of faults may get lost for so long. */
const HELD_MS_MAX = 5000;
/** Seconds: with longer-lived nodes, the end of a run waits for all to expire. */
const SHORT_TTL = 4;
/** One applied index in so many has its store compared. */
const DIGEST_EVERY = 5;
/** Time without a leader after which members of a cluster of two need the removed one. */
const NEEDED_MS = 10_000;
/** A removed member may be restarted by an operator who does not know. */
const GHOST_ONE_IN = 3;
/** Offset of the seeds of separate sequences. */
const APART = 2 ** 40;
const CLUSTER_TOKEN = "etcd-cluster";

const silent: Logger = pino({ level: "silent" });

export interface SimOptions {
  readonly seed: number;
  /** Replace faults drawn from the seed. */
  readonly faults?: Partial<MemberFaults>;
  /** Prints what members log. */
  readonly isVerbose?: boolean;
}

export interface SimFigures {
  leaders: number;
  entries: number;
  acknowledged: number;
  operations: number;
  events: number;
  installs: number;
  starts: number;
  changes: number;
  refusedChanges: number;
  /** Of learners, by clients. */
  promotions: number;
  /** Of leadership. */
  moves: number;
  digests: number;
  /** From the last fault until all checks passed, simulated milliseconds. */
  settleMs: number;
  messages: number;
  trace: number;
}

/** A cluster of whole members in one thread, from one seed: `run()`. */
export class MemberCluster implements ProbeListener, MemberWorld {
  readonly seed: number;
  readonly prng: Prng;
  readonly faults: MemberFaults;
  readonly log: Logger;
  readonly checks = new MemberChecks();
  readonly #times = new TimeChecks(() => this.#now);
  readonly members = new Map<bigint, SimMember>();
  readonly peers: SimNetwork;
  readonly #clients: SimClient[];
  readonly #watchers: SimWatcher[];
  readonly #stirrer: SimStirrer;
  readonly #operator: SimOperator;
  readonly #status = new StatusCheck();
  readonly #clientWorld: ClientWorld;
  readonly #clusterId: bigint;
  /** Members that were removed and stopped, and then restarted for a while. */
  readonly #ghosts = new Set<SimMember>();
  #current: SimMember | undefined;
  #leaderToCut: SimMember | undefined;
  #cutLeaderMs = 0;
  #now = 1000;
  #positions = 0;
  #isIdle = false;
  #isHealed = false;
  #healedMs = 0;

  constructor({ seed, faults, isVerbose }: SimOptions) {
    this.seed = seed;
    this.prng = new Prng(seed);
    this.faults = { ...drawFaults(this.prng, new Prng(seed + APART)), ...faults };
    this.log = isVerbose === true ? this.#printer() : silent;
    this.log.info({ faults: this.faults }, "faults");
    this.peers = new SimNetwork(this.prng, this.faults, this.members, () => this.#now);
    this.#clientWorld = {
      prng: this.prng,
      checks: this.checks,
      nowMs: () => this.#now,
      running: () => [...this.members.values()].filter(({ life }) => life?.isReady),
      position: () => ++this.#positions,
      registers: new Registers(),
      asked: this.#times.asked,
      longTtl: this.faults.longTtl,
    };
    const { founders, clients, watchers, keys, thinkMsMax } = this.faults;
    const first = Array.from({ length: founders }, (_, i) => ({
      name: `n${i + 1}`,
      peerUrls: [`http://127.0.0.1:${2001 + i}`],
    }));
    const sha1 = (bytes: Uint8Array) => createHash("sha1").update(bytes).digest();
    const plans = first.map(({ name }) => foundingPlan(first, name, CLUSTER_TOKEN, sha1));
    this.#clusterId = (plans[0] as StartPlan).clusterId;
    for (const [i, plan] of plans.entries()) this.#add(`n${i + 1}`, plan);
    this.#clients = Array.from(
      { length: clients },
      (_, i) => new SimClient(this.#clientWorld, `c${i}`, keys, thinkMsMax),
    );
    this.#watchers = Array.from({ length: watchers }, (_, i) => {
      const key = this.prng.oneIn(3) ? "s0" : "";
      return new SimWatcher(this.#clientWorld, `w${i}`, key, this.prng.oneIn(2));
    });
    this.#stirrer = new SimStirrer(this.#clientWorld);
    this.#operator = new SimOperator(this.#clientWorld);
  }

  get monoMs(): () => number {
    return () => this.#now;
  }

  get isHealed(): boolean {
    return this.#isHealed;
  }

  /** Runs with faults, then without, then all checks. @throws AssertionError */
  run(): SimFigures {
    const unlisten = listen(this);
    try {
      for (const member of this.members.values()) this.#start(member);
      const endMs = this.#now + this.faults.durationMs;
      while (this.#now < endMs) this.#step();
      this.#heal();
      this.#settle();
      this.#checkHistory();
    } catch (error) {
      if (error instanceof Error) error.message += ` (at ${this.#now} ms)`;
      throw error;
    } finally {
      unlisten();
    }
    return this.#figures();
  }

  // ---- the probe's events ----

  onReady(raft: Raft, ready: Ready | undefined): void {
    const member = this.#currentMember();
    const { life, store } = member;
    assert.ok(life !== undefined, "who has the turn runs");
    if (life.raft === undefined && member.durableLog.lastIndex === 0 && raft.commit > 0) {
      member.found(raft);
      this.checks.keep(member);
    }
    life.raft = raft;
    this.#atCheckpoint(member, store);
    this.checks.onReady(member, raft, ready);
    if (ready === undefined) return;
    this.checks.onCommitted(member, ready);
    this.#times.onAppended(ready.append?.entries ?? []);
    this.#times.onCommitted(ready.committed, () => this.#mayStartClock());
    const { cutLeaderOneIn } = this.faults;
    if (ready.softState?.role !== "leader" || this.#isHealed || cutLeaderOneIn === 0) return;
    if (!this.prng.oneIn(cutLeaderOneIn)) return;
    this.#leaderToCut = member;
    // At once, before any other member knows, or during its first appends.
    this.#cutLeaderMs = this.#now + (this.prng.oneIn(2) ? 0 : this.prng.below(30));
  }

  /** Checks all work handed out before. */
  #atCheckpoint(member: SimMember, store: Store | undefined): void {
    if (store === undefined || member.digestedAt === member.applied) return;
    const isNew = member.digestedAt < 0;
    member.digestedAt = member.applied;
    if (!isNew && member.applied % DIGEST_EVERY !== 0) return;
    this.checks.onStore(member.name, store, member.applied);
  }

  onEvent(event: Event): void {
    const isNew = event.index > this.checks.lastEvent;
    this.checks.onEvent(event);
    if (isNew) this.#times.onEvent(event);
  }

  onSnapshot(store: Store, meta: SnapshotMeta): void {
    this.checks.onStore(this.#currentMember().name, store, meta.index);
  }

  onRecovered(member: SimMember, found: RecoveredMember): void {
    const { snapshot, hardState, store } = found;
    const entries = entriesOf(found);
    checkRecovery(member.name, member.durableLog, {
      newestSnapshot: member.snapshots.newest?.index ?? 0,
      snapshotIndex: snapshot.index,
      snapshotTerm: snapshot.term,
      hardState,
      entries,
    });
    if (snapshot.index > 0) this.checks.onStore(member.name, store, snapshot.index);
    const log = { hardState, snapshot, entries, applied: snapshot.index };
    member.durableLog = new DurableLog(log);
    this.checks.keep(member);
  }

  #currentMember(): SimMember {
    assert.ok(this.#current !== undefined, "somebody has the turn");
    return this.#current;
  }

  // ---- time ----

  #step(): void {
    const passedMs = 1 + this.prng.below(this.#isIdle ? IDLE_STEP_MS_MAX : STEP_MS_MAX);
    this.#now += passedMs;
    this.#isIdle = true;
    if (!this.#isHealed) this.#makeTrouble(passedMs);
    this.#startMembers(passedMs);
    this.peers.step(passedMs);
    const order = [...this.members.values()];
    for (let i = order.length - 1; i >= 0; i--) {
      const j = this.prng.below(i + 1);
      const member = order[j] as SimMember;
      order[j] = order[i] as SimMember;
      if (member.life !== undefined && member.pausedUntilMs <= this.#now) this.#turn(member);
    }
    for (const client of this.#clients) client.step();
    for (const watcher of this.#watchers) watcher.step();
    if (!this.#isHealed && this.#happens(STIR_MS, passedMs)) this.#stirrer.stir();
  }

  /** Each part of a member that has work may have a turn, in any order. */
  #turn(member: SimMember): void {
    const { skipTurnOneIn, slowDiskOneIn } = this.faults;
    const threads = member.life?.threads ?? [];
    const first = this.prng.below(threads.length);
    let isAsleep = true;
    this.#current = member;
    for (let i = 0; i < threads.length && member.life !== undefined; i++) {
      const at = (first + i) % threads.length;
      if (skipTurnOneIn > 0 && this.prng.oneIn(skipTurnOneIn)) continue;
      if (at === WAL && slowDiskOneIn > 0 && !this.prng.oneIn(slowDiskOneIn)) continue;
      if (threads[at]?.step() === true) isAsleep = false;
      if (member.powerLost) this.#crash(member, true);
      else if (member.life.isStopped) this.#onStopped(member);
    }
    this.#current = undefined;
    if (isAsleep) return;
    this.#isIdle = false;
    for (const thread of member.life?.threads ?? []) thread.checkAwake();
  }

  #onStopped(member: SimMember): void {
    member.life?.drainAnswers();
    member.life?.wal.close();
    member.crash(false);
    member.downUntilMs = this.#now + this.prng.below(this.faults.downMsMax);
    this.log.info(`${member.name} stopped`);
    if (!this.checks.removed.has(member.id)) return;
    if (this.#isHealed || this.#ghosts.has(member) || !this.prng.oneIn(GHOST_ONE_IN)) {
      member.downUntilMs = Number.POSITIVE_INFINITY;
    }
    this.#ghosts.add(member);
  }

  #happens(meanMs: number, passedMs: number): boolean {
    return meanMs > 0 && this.prng.below(meanMs) < passedMs;
  }

  #makeTrouble(passedMs: number): void {
    const { faults, prng } = this;
    const happens = (meanMs: number) => this.#happens(meanMs, passedMs);
    if (this.peers.isCut ? happens(1200) : happens(faults.partitionMs)) {
      if (this.peers.isCut) this.peers.mend();
      else this.peers.partition();
    }
    if (this.#leaderToCut !== undefined && this.#now >= this.#cutLeaderMs) {
      this.peers.isolate(this.#leaderToCut);
      this.#leaderToCut = undefined;
    }
    const running = [...this.members.values()].filter(({ life }) => life !== undefined);
    if (running.length > 0) {
      const leader = running.find(({ life }) => life?.raft?.isLeader === true);
      const isLeaderHit = () => faults.leaderOneIn > 0 && prng.oneIn(faults.leaderOneIn);
      const some = () => (leader !== undefined && isLeaderHit() ? leader : prng.pick(running));
      if (happens(faults.crashMs)) this.#crashSome(some());
      if (happens(faults.stopMs)) some().life?.stop();
      if (happens(faults.pauseMs)) some().pausedUntilMs = this.#now + prng.below(faults.pauseMsMax);
      if (happens(faults.wallJumpMs)) some().wallOffsetMs += this.#drawOffset();
      if (happens(faults.failedSyncMs)) some().syncFails = true;
      if (happens(faults.failedReadMs)) some().readFails = true;
      if (happens(faults.fullDiskMs)) {
        const { disk } = some();
        disk.capacityBytes = disk.usedBytes + prng.below(6000);
      }
    }
    if (happens(1500)) {
      for (const { disk } of this.members.values()) {
        disk.capacityBytes = Number.POSITIVE_INFINITY;
      }
    }
    if (happens(faults.confChangeMs)) this.#operator.act();
  }

  /** Now, or in the middle of the disk's next operations. */
  #crashSome(member: SimMember): void {
    const { powerCutOneIn } = this.faults;
    const isPowerCut = powerCutOneIn > 0 && this.prng.oneIn(powerCutOneIn);
    if (isPowerCut && this.prng.oneIn(2)) member.stepsToPowerCut = this.prng.below(6);
    else this.#crash(member, isPowerCut);
  }

  #crash(member: SimMember, isPowerCut: boolean): void {
    this.log.info(`${member.name} crashes${isPowerCut ? ", power lost" : ""}`);
    member.crash(isPowerCut);
    member.disk.capacityBytes = Number.POSITIVE_INFINITY;
    member.pausedUntilMs = 0;
    member.downUntilMs = this.#now + (this.#isHealed ? 0 : this.prng.below(this.faults.downMsMax));
  }

  /** Restarts members that are down; starts those that joined, and those in the log. */
  #startMembers(passedMs: number): void {
    for (const id of this.checks.members) {
      if (this.members.has(id) || !(this.#isHealed || this.#happens(400, passedMs))) continue;
      this.#addJoining(id);
    }
    for (const member of this.members.values()) {
      if (member.life === undefined && member.downUntilMs <= this.#now) this.#start(member);
    }
  }

  #addJoining(id: bigint): void {
    const { peerUrls, members: ids } = this.checks;
    const members = [...ids].map(
      (other): StartMember => ({
        id: other,
        name: this.members.get(other)?.name ?? "",
        peerUrls: [peerUrls.get(other) as string],
      }),
    );
    const clusterId = this.#clusterId;
    this.#add(`n${this.members.size + 1}`, { kind: "join", memberId: id, clusterId, members });
  }

  #add(name: string, plan: StartPlan): void {
    const { memberId: id } = plan;
    this.log.info(`${name} is ${formatId(id)}`);
    const { oldOneIn, wallJumpMs } = this.faults;
    const isOld = plan.kind !== "join" && oldOneIn > 0 && this.prng.oneIn(oldOneIn);
    const config = this.#config(name);
    const formatLevel = isOld ? 1 : FORMAT_LEVEL;
    const member = new SimMember(id, name, { ...config, formatLevel }, plan, this);
    if (wallJumpMs > 0) member.wallOffsetMs = this.#drawOffset();
    this.members.set(id, member);
  }

  #drawOffset(): number {
    const { wallJumpMsMax } = this.faults;
    return this.prng.below(2 * wallJumpMsMax) - wallJumpMsMax;
  }

  /** If messages may be lost or delayed, members that know the time may have failed to send it. */
  #mayStartClock(): boolean {
    const { loseOneIn, partitionMs, pauseMs, cutLeaderOneIn } = this.faults;
    const isHeld = loseOneIn + partitionMs + pauseMs + cutLeaderOneIn > 0;
    if (isHeld && (!this.#isHealed || this.#now - this.#healedMs < HELD_MS_MAX)) return true;
    const { voters = [] } = this.#current?.life?.raft?.conf ?? {};
    const known = voters.filter((id) => this.members.get(id)?.life?.loop.member.knowsTime);
    return known.length * 2 <= voters.length;
  }

  #start(member: SimMember): void {
    this.#current = member;
    const { formatLevel } = member.config;
    if (formatLevel < FORMAT_LEVEL && member.starts > 0 && (this.#isHealed || this.prng.oneIn(2))) {
      member.config = { ...member.config, formatLevel: FORMAT_LEVEL };
    }
    member.digestedAt = -1;
    this.log.info(`${member.name} starts`);
    if (!member.start()) member.downUntilMs = this.#now + 50;
    this.#current = undefined;
  }

  #config(name: string): Config {
    const request = readConfig(["--name", name, "--data-dir", "/sim"], {});
    assert.equal(request.kind, "run");
    const { config } = request as { config: Config };
    const { snapshotCount, catchUpEntries, eventHistoryMax, isPreVote, frontends } = this.faults;
    const { heartbeatMs, electionMs } = this.faults;
    return {
      ...config,
      ...{ snapshotCount, catchUpEntries, eventHistoryMax, frontendThreads: frontends },
      ...{ heartbeatMs, electionMs, preVote: isPreVote, maxWals: 1, maxSnapshots: 2 },
    };
  }

  // ---- the end of a run ----

  #heal(): void {
    this.log.info("no more faults");
    this.#isHealed = true;
    this.#healedMs = this.#now;
    this.peers.heal();
    for (const member of this.members.values()) {
      member.pausedUntilMs = 0;
      member.disk.capacityBytes = Number.POSITIVE_INFINITY;
      member.stepsToPowerCut = Number.POSITIVE_INFINITY;
      member.syncFails = false;
      member.readFails = false;
      if (this.#ghosts.has(member)) continue;
      // A restart repairs a failed log, and undoes an operator's stop.
      const isOld = member.config.formatLevel < FORMAT_LEVEL;
      if (member.life !== undefined && (isOld || this.prng.oneIn(2))) this.#crash(member, false);
      member.downUntilMs = Math.min(member.downUntilMs, this.#now);
    }
    for (const client of this.#clients) client.isRetired = true;
  }

  /**
   * A write must commit, and all members and watchers must have everything, within SETTLE_MS_MAX.
   * That time starts again whenever fewer entries are missing than ever before: with one entry per
   * message, a long log takes longer.
   */
  #settle(): void {
    let byMs = this.#now + SETTLE_MS_MAX;
    let leastMissing = Number.POSITIVE_INFINITY;
    let why = "";
    const writer = new SimClient(this.#clientWorld, "last", 1, 1);
    this.#clients.push(writer);
    while (this.#now < byMs) {
      this.#step();
      this.#restartFailed();
      const missing = this.#missingEntries();
      if (missing < leastMissing) {
        leastMissing = missing;
        byMs = this.#now + SETTLE_MS_MAX;
      }
      if (writer.acknowledged > 0) writer.isRetired = true;
      why = writer.acknowledged === 0 ? "no write is acknowledged" : this.#whyUnsettled();
      if (why === "") why = this.#whyKept();
      if (why === "") {
        for (const member of this.members.values()) {
          if (member.store !== undefined) {
            member.store.checkInvariants();
            this.checks.onStore(member.name, member.store, member.applied);
          }
        }
        return;
      }
    }
    const passedMs = this.#now - this.#healedMs;
    assert.fail(`not well ${passedMs} ms after the faults stopped: ${why}`);
  }

  /** Committed entries that members have not applied, all members together. */
  #missingEntries(): number {
    let missing = 0;
    for (const id of this.checks.members) {
      const member = this.members.get(id);
      const applied = member?.life === undefined ? 0 : member.applied;
      missing += this.checks.raft.commitIndex - applied;
    }
    return missing;
  }

  /** No node may outlive its TTL. */
  #whyKept(): string {
    // Older builds set deadlines by wall clocks, perhaps an hour from now.
    if (this.faults.oldOneIn > 0) return "";
    if (this.faults.longTtl <= SHORT_TTL && this.#now - this.#healedMs < 2 * SHORT_TTL * 1000)
      return "";
    for (const { name, store } of this.members.values()) {
      if (store !== undefined && store.expiringNodes > 0) return `${name} keeps nodes with a TTL`;
    }
    return "";
  }

  #restartFailed(): void {
    for (const member of this.members.values()) {
      if (member.life?.walLoop.hasFailed === true) this.#crash(member, false);
      else if (member.life === undefined && (!this.#isGone(member) || this.#isNeeded(member))) {
        member.downUntilMs = Math.min(member.downUntilMs, this.#now);
      }
    }
  }

  #isGone({ id }: SimMember): boolean {
    return this.checks.removed.has(id);
  }

  /**
   * One of two members was removed, and ended before the other knew that the removal is committed:
   * the other cannot continue alone. Restarting the removed one helps: its rejections say so.
   */
  #isNeeded({ id }: SimMember): boolean {
    if (this.#now - this.#healedMs < NEEDED_MS) return false;
    for (const { life } of this.members.values()) {
      const { voters = [] } = life?.raft?.conf ?? {};
      if (life?.raft?.lead === 0n && voters.length === 2 && voters.includes(id)) return true;
    }
    return false;
  }

  /** @returns "" if all is well */
  #whyUnsettled(): string {
    let applied = -1;
    for (const member of this.members.values()) {
      const { name, life } = member;
      if (this.checks.removed.has(member.id)) {
        if (life !== undefined) return `${name} was removed and goes on`;
        continue;
      }
      if (!this.checks.members.has(member.id)) continue;
      if (life === undefined || !life.isReady) return `${name} is not ready`;
      if (member.store === undefined || life.raft === undefined) return `${name} has no store`;
      if (applied < 0) applied = member.applied;
      if (member.applied !== applied) return `${name} is at ${member.applied}, not ${applied}`;
      const { voters, learners } = life.raft.conf;
      const lasting = this.checks.learners;
      if (learners.length !== lasting.size || !learners.every((id) => lasting.has(id))) {
        return `${name} has learners ${learners}, not ${[...lasting]}`;
      }
      if (voters.length !== this.checks.members.size - lasting.size) {
        return `${name} counts ${voters.length} voters`;
      }
    }
    if (applied !== this.checks.raft.commitIndex) return "not everything is applied";
    if (this.#clients.some(({ isIdle }) => !isIdle)) return "a client waits";
    const waiting = this.#watchers.findIndex((watcher) => !watcher.isComplete());
    if (waiting >= 0) return `watcher ${waiting} has not seen everything`;
    return this.#status.whyWrong(this.members.values());
  }

  #checkHistory(): void {
    const history = this.#clients.flatMap((client) => client.history);
    const [violation] = checkLinearizable(history);
    if (violation !== undefined) assert.fail(describeViolation(violation));
  }

  #figures(): SimFigures {
    const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0);
    return {
      leaders: this.checks.leaders,
      entries: this.checks.raft.commitIndex,
      acknowledged: sum(this.#clients.map((client) => client.acknowledged)),
      operations: sum(this.#clients.map((client) => client.history.length)),
      events: sum(this.#watchers.map((watcher) => watcher.seen)),
      installs: this.checks.installs,
      starts: sum([...this.members.values()].map((member) => member.starts)),
      changes: this.#operator.changes,
      refusedChanges: this.#operator.refused,
      promotions: this.#operator.promotions,
      moves: this.#operator.moves,
      digests: this.checks.digestsCompared,
      settleMs: this.#now - this.#healedMs,
      messages: this.peers.messages,
      trace: this.peers.trace >>> 0,
    };
  }

  #printer(): Logger {
    return pino(
      { level: "info", base: {}, timestamp: () => `,"ms":${this.#now}` },
      { write: (line: string) => process.stdout.write(`${this.#current?.name ?? "--"} ${line}`) },
    );
  }
}
