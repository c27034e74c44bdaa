import type { StartPlan } from "../bootstrap/start-plan.js";
import { encodeSnapshotHead } from "../cluster/snapshot-head.js";
import type { Config } from "../config/config.js";
import { assert } from "../lib/assert.js";
import { AppendType, writeBytes, writeEntry, writeHardState } from "../messages/log.js";
import { writeNumbers } from "../messages/numbers.js";
import { cellOf } from "../metrics/families.js";
import type { AppendJob } from "../raft/disk-jobs.js";
import { NONE, type SnapshotMeta } from "../raft/entry.js";
import type { Ready } from "../raft/raft.js";
import type { Hashes } from "./hashes.js";
import type { IncomingSnapshot } from "./incoming-snapshot.js";
import { assemble, type MemberParts, type MemberPorts } from "./parts.js";
import type { PeerTraffic } from "./peer-traffic.js";
import type { RecoveredMember } from "./raft-start.js";
import type { Router } from "./router.js";
import type { SavedSnapshots } from "./saved-snapshots.js";
import type { TurnTimes } from "./times.js";

const STOPPED = "etcdserver: server stopped";

const SNAPSHOT_APPLYING = cellOf("snapshotApplying");
const PROPOSAL_BYTES = cellOf("proposalBytes");
const RESPONSE_QUEUE_BYTES = cellOf("responseQueueBytes");

/**
 * The core of a member: owns its parts (parts.ts), carries out raft's Ready, and drives the clocks.
 * The core's loop calls it and its public parts; all output leaves through rings.
 */
export class MemberCore {
  readonly #config: Config;
  readonly #ports: MemberPorts;
  readonly #parts: MemberParts;
  readonly #times = { wallMs: 0, monoMs: 0, clusterMs: 0 };
  /** Number of the last append job. */
  #lastJob = 0;
  /** The WAL failed: until a restart this member takes no part in raft. */
  #isFailed = false;
  #isStopping = false;

  /** @throws ForceNewClusterError, NewerFormatError */
  constructor(
    config: Config,
    plan: StartPlan | undefined,
    recovered: RecoveredMember,
    ports: MemberPorts,
    { wallMs, monoMs }: { readonly wallMs: number; readonly monoMs: number },
  ) {
    assert(
      recovered.memberId > 0n && recovered.clusterId > 0n,
      "a member and its cluster have ids",
    );
    this.#config = config;
    this.#ports = ports;
    Object.assign(this.#times, { wallMs, monoMs });
    this.#parts = assemble(config, plan, recovered, ports, this.#times);
    const { raft, own, view } = this.#parts;
    this.setTimes(wallMs, monoMs);
    own.agreed.restore(recovered.head, monoMs);
    own.membershipChanged(view.membershipChanged());
    this.#carryOutAll();
    this.#assertInvariants();
    if (raft.conf.voters.length === 1) raft.campaign();
  }

  /** Entry point of client requests. */
  get router(): Router {
    return this.#parts.router;
  }

  /** State of the streams to other members. Their messages go through `receive`. */
  get traffic(): PeerTraffic {
    return this.#parts.traffic;
  }

  /** Takes the head and the blocks of a snapshot from the leader. */
  get incoming(): IncomingSnapshot {
    return this.#parts.incoming;
  }

  /** Takes the pool's outcomes about passwords. */
  get hashes(): Hashes {
    return this.#parts.hashes;
  }

  /** Takes the outcomes of the pool about saved snapshots. */
  get savedSnapshots(): SavedSnapshots {
    return this.#parts.saved;
  }

  get times(): TurnTimes {
    return this.#times;
  }

  /** For the X-Raft-Index and X-Raft-Term headers. */
  get position(): { index: number; term: number } {
    const { commit, term } = this.#parts.raft;
    return { index: commit, term };
  }

  get knowsTime(): boolean {
    return this.#parts.own.agreed.time.clock.isKnown;
  }

  get openWrites(): number {
    return this.#parts.writes.open;
  }

  /** This member was removed from its cluster, and its grace period is over. */
  get isOut(): boolean {
    return this.#parts.removal.isOut(this.#times.monoMs);
  }

  /** Called once per turn of the loop. @param wallMs Unix milliseconds */
  setTimes(wallMs: number, monoMs: number): void {
    assert(monoMs >= this.#times.monoMs, "the monotonic clock never goes back");
    this.#times.wallMs = wallMs;
    this.#times.monoMs = monoMs;
    this.#times.clusterMs = this.#parts.own.agreed.time.clock.read(wallMs, monoMs);
  }

  /** Called once per raft tick. */
  tick(): void {
    const { raft, writes, reads, changes, leaderMoves, listings, saved, own, timeouts } =
      this.#parts;
    const { monoMs } = this.#times;
    if (!this.#isFailed) raft.tick();
    listings.check();
    saved.tick();
    this.#showMetrics();
    const { requestMs } = timeouts;
    const cause = (startMs: number) => timeouts.cause(startMs);
    writes.giveUp(monoMs - requestMs, cause);
    reads.expire(monoMs, requestMs, cause);
    changes.tick(monoMs, requestMs);
    leaderMoves.tick(monoMs);
    if (raft.lead !== NONE) writes.retry();
    own.tick();
    this.#assertInvariants();
  }

  /** Append jobs up to this number are durable. */
  durable(job: number): void {
    assert(job > 0, "jobs count from 1");
    assert(job <= this.#lastJob, "only what was given to the wal thread becomes durable");
    this.#parts.raft.durable(job);
  }

  /** The WAL rejects appends for now, as when the disk is full. @param why shown to clients */
  block(why: string): void {
    this.#parts.writes.block(why);
    // While this member leads, its clients' writes fail; another member should lead.
    this.#parts.leadership.handOver();
  }

  /** The WAL accepts appends again. */
  unblock(): void {
    assert(!this.#isFailed, "a log that failed stays so until a restart");
    this.#parts.writes.unblock();
  }

  /**
   * The WAL failed for good. Until a restart this member must not vote, acknowledge or propose, as
   * it could not make that durable.
   */
  fail(why: string): void {
    assert(!this.#isFailed, "a log fails once");
    this.block(why);
    this.#isFailed = true;
    this.#parts.writes.giveUp(Number.POSITIVE_INFINITY, () => why);
    assert(this.openWrites === 0, "no write waits for a log that failed");
  }

  /** An encoded message from another member. @throws MessageError */
  receive(bytes: Uint8Array): void {
    if (!this.#isFailed) this.#parts.traffic.receive(bytes);
  }

  /**
   * The file of the leader's snapshot is on this member's disk.
   *
   * @param bytes the snapshot message
   */
  snapshotReceived(bytes: Uint8Array): void {
    if (!this.#isFailed) this.#parts.incoming.begin(bytes, this.#parts.applier.index);
  }

  /** The last block arrived: raft decides whether to install the snapshot. */
  snapshotLoaded(): void {
    const { raft, incoming } = this.#parts;
    const message = incoming.finish();
    if (message === undefined) return;
    const { commit } = raft;
    raft.step(message);
    this.#carryOutAll();
    assert(raft.commit >= commit, "a snapshot takes nothing back that was committed");
    incoming.drop();
    this.#assertInvariants();
  }

  /** Other members report that this one was removed. */
  removed(): void {
    this.#parts.removal.onSaid(this.#times.monoMs);
  }

  /** Does pending work that needs no new input, in pieces of about a millisecond. */
  step(): void {
    const { snapshots, saved, machines, applier, listings, hashes, reads, gate } = this.#parts;
    gate.step(); // First, as it may propose.
    this.#carryOutAll();
    reads.answerUpTo(applier.index);
    if (snapshots.isDue(applier.index, machines.stateBytes)) this.#startSnapshot();
    if (snapshots.hasWork()) snapshots.step();
    if (saved.hasWork()) saved.step();
    listings.step();
    hashes.publish();
    gate.endTurn();
    this.#assertInvariants();
  }

  /** Between the parts, at the end of each turn: a few integers. */
  #assertInvariants(): void {
    const { raft, applier, writes } = this.#parts;
    assert(applier.index <= raft.commit, "only committed entries are applied");
    assert(applier.term <= raft.term, "no applied entry has a later term");
    assert(writes.dataBytes <= writes.openBytes, "a write takes its entry's bytes at least");
    assert(!raft.isLeader || raft.conf.voters.length > 0, "a leader was elected by voters");
  }

  /** Whether step() would do something. */
  hasWork(): boolean {
    const { raft, snapshots, saved, listings, hashes, reads, gate, applier } = this.#parts;
    return (
      raft.hasReady() ||
      gate.hasWork() ||
      snapshots.hasWork() ||
      saved.hasWork() ||
      listings.hasWork() ||
      hashes.hasWork() ||
      reads.hasWork(applier.index)
    );
  }

  /** Milliseconds until step() would do something by itself; Infinity if never. */
  msToNext(monoMs: number): number {
    const { listings, saved } = this.#parts;
    return Math.min(listings.msToNext(monoMs), saved.msToNext(monoMs));
  }

  /**
   * The pool thread saved the snapshot.
   *
   * @param oldestIndex of the snapshots kept on disk: WAL segments before it can be deleted
   */
  snapshotDone(oldestIndex: number): void {
    const { raft, snapshots, applier } = this.#parts;
    assert(oldestIndex >= 0, "a snapshot's index is not negative");
    const meta = snapshots.done(true, applier.index);
    if (meta === undefined) return;
    raft.offerSnapshot(meta);
    raft.compact(snapshots.compactTo(meta.index, this.#config.catchUpEntries));
    writeNumbers(this.#ports.append, AppendType.release, oldestIndex);
    this.#ports.log.info({ index: meta.index, term: meta.term }, "saved snapshot");
  }

  /**
   * The pool thread could not save the snapshot.
   *
   * @param isForWant the cause may pass, such as a lack of space. Otherwise the disk is failing,
   *   and a member that cannot save snapshots must not keep acknowledging log entries
   */
  snapshotFailed(isForWant: boolean): void {
    this.#parts.snapshots.done(false, this.#parts.applier.index);
    if (isForWant || this.#isFailed) return;
    const why = "a snapshot could not be saved";
    writeBytes(this.#ports.append, AppendType.giveUp, Buffer.from(why));
  }

  /** Before a stop, a leader transfers leadership, which spares the others an election timeout. */
  beginStop(): void {
    assert(!this.#isStopping, "a stop begins once");
    this.#isStopping = true;
    this.#parts.keys.beginStop();
    this.#parts.leadership.handOver();
  }

  get isHandingOver(): boolean {
    return this.#isStopping && this.#parts.leadership.isHandingOver;
  }

  /** Ends all pending requests: watches are disconnected, writes and reads fail. */
  stop(): void {
    const { keys, writes, reads, changes, leaderMoves } = this.#parts;
    assert(this.#isStopping, "a stop begins before it ends");
    keys.cutWatches();
    writes.giveUp(Number.POSITIVE_INFINITY, () => STOPPED);
    reads.failAll(STOPPED);
    changes.endAll();
    leaderMoves.endAll();
    assert(this.openWrites === 0, "a member that stops leaves no write without a response");
    this.#ports.peers.stop();
  }

  #carryOutAll(): void {
    const { raft } = this.#parts;
    for (let ready = raft.ready(); ready !== undefined; ready = raft.ready()) this.#carryOut(ready);
  }

  /**
   * In the order that Ready prescribes: messages need not wait for our disk, and a snapshot in
   * `append` replaces the state before `committed` is applied to it.
   */
  #carryOut({ messages, append, committed, readStates, softState }: Ready): void {
    const { traffic, applier, reads, raft, raftMetrics } = this.#parts;
    for (const message of messages) traffic.send(message);
    if (append !== undefined) this.#append(append);
    if (committed.length > 0) applier.apply(committed);
    reads.confirm(readStates);
    reads.answerUpTo(applier.index);
    if (softState === undefined) return;
    raftMetrics.show(raft.status());
    this.#onSoftState();
  }

  #append({ job, snapshot, entries, hardState }: AppendJob): void {
    const { append } = this.#ports;
    const hasLog = snapshot !== undefined || entries.length > 0;
    assert(hasLog || hardState !== undefined, "a job has something to write");
    assert(job > this.#lastJob, "append jobs ascend, as a durable one stands for all before it");
    this.#lastJob = job;
    if (snapshot !== undefined) this.#install(snapshot);
    for (const entry of entries) writeEntry(append, AppendType.entry, entry);
    if (hardState !== undefined) writeHardState(append, AppendType.hardState, hardState);
    writeNumbers(append, AppendType.endJob, job);
  }

  /** Replaces the log and the state machines by the leader's snapshot. */
  #install(meta: SnapshotMeta): void {
    const { incoming, applier, snapshots, own, view } = this.#parts;
    const { index, term } = meta;
    writeNumbers(this.#ports.append, AppendType.install, term, index);
    assert(index > applier.index, "raft installs only snapshots ahead of the state machines");
    const { head, state } = incoming.take();
    state.become();
    own.agreed.restore(head, this.#times.monoMs);
    applier.skipTo(meta);
    assert(applier.term === term, "a snapshot that is installed is the applied position");
    assert(this.#parts.raft.commit >= index, "what a snapshot holds is committed");
    snapshots.installed(index);
    own.membershipChanged(view.membershipChanged());
    this.#ports.log.info({ index, term }, "installed snapshot from leader");
  }

  #onSoftState(): void {
    const { raft, leadership, leaderMoves, stats, timeouts, writes, own } = this.#parts;
    if (!leadership.changed()) return;
    assert(raft.lead !== NONE, "a new leader is known");
    const { wallMs, monoMs } = this.#times;
    if (raft.isLeader) stats.onBecomeLeader(wallMs);
    timeouts.onElected(monoMs);
    writes.sendAgain();
    writes.retry();
    own.onElected();
    leaderMoves.elected();
  }

  #startSnapshot(): void {
    const { raft, snapshots, machines, applier, own } = this.#parts;
    const meta = { index: applier.index, term: applier.term, conf: raft.conf };
    assert(meta.index > 0 && meta.term > 0, "a snapshot holds an entry at least");
    assert(meta.conf.voters.length > 0, "a snapshot is of a cluster that has voters");
    const { head } = own.agreed;
    const metadata = encodeSnapshotHead(meta.conf, head);
    snapshots.start(machines, meta, { formatLevel: head.format, metadata });
    this.#ports.log.info({ index: meta.index }, "taking snapshot");
  }

  /** Updates the metrics that change without an applied entry, too. */
  #showMetrics(): void {
    const { raft, raftMetrics, space, applier, writes, incoming } = this.#parts;
    space.look();
    const status = raft.status();
    raftMetrics.onTick(status, this.#times.monoMs);
    raftMetrics.showWrites(status.commit, applier.index, writes.open);
    const { metrics, clients } = this.#ports;
    metrics.set(SNAPSHOT_APPLYING, incoming.isLoading ? 1 : 0);
    metrics.set(PROPOSAL_BYTES, writes.dataBytes);
    metrics.set(RESPONSE_QUEUE_BYTES, clients.allQueuedBytes);
  }
}
