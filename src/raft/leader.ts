import { assert } from "../lib/assert.js";
import type { RaftCore } from "./core.js";
import { type Entry, NONE } from "./entry.js";
import type {
  AppendReject,
  AppendReply,
  ForwardOnce,
  HeartbeatReply,
  ReadIndex,
} from "./message.js";
import type { Progress } from "./progress.js";
import { onForwardOnce } from "./propose.js";
import { majority, reachedByMajority } from "./quorum.js";
import type { ConfirmedRound } from "./read-index.js";

/**
 * Timeout of a transfer that the leader starts by itself, short as it rejects proposals meanwhile.
 */
const HASTY_HEARTBEATS = 2;
/** With less than this in flight, a missing reply means silence, not a slow transfer. */
const LIGHT_BYTES = 64 * 1024;

export function tickLeader(core: RaftCore): void {
  assert(core.role === "leader", "only a leader looks for its quorum");
  const { electionTicks, heartbeatTicks, checkQuorum } = core.options;
  core.electionElapsed++;
  if (core.electionElapsed >= electionTicks) {
    core.electionElapsed = 0;
    const active = hasActiveQuorum(core);
    for (const peer of core.peers) peer.recentlyActive = false;
    if (checkQuorum && !active) {
      core.becomeFollower(core.term, NONE);
      return;
    }
  }
  for (const peer of core.peers) {
    // Replies to large appends may be slow, so these ticks do not count.
    if (peer.inflights.bytes < LIGHT_BYTES) peer.silentTicks++;
  }
  core.contact.tick(silentTicks(core));
  if (core.transferee !== NONE && --core.transferTicksLeft <= 0) giveUpTransfer(core);
  core.heartbeatElapsed++;
  if (core.heartbeatElapsed < heartbeatTicks) return;
  core.heartbeatElapsed = 0;
  sendHeartbeats(core);
}

/** Ticks since every member of some majority, this one included, was heard. */
function silentTicks(core: RaftCore): number {
  return -reachedByMajority(reachedByVoters(core, 0, (peer) => -peer.silentTicks));
}

function onHeard(core: RaftCore, peer: Progress): void {
  assert(core.role === "leader", "only a leader looks for its quorum");
  peer.recentlyActive = true;
  peer.silentTicks = 0;
  if (peer.learner || !core.contact.isLost || !core.options.checkQuorum) return;
  if (core.contact.isShaky(silentTicks(core))) handOverSoon(core, peer);
}

/** Forwarded proposals do not prove two-way contact, but large ones may have delayed a reply. */
export function onForwards(peer: Progress, { proposals }: ForwardOnce): void {
  if (bytesOf(proposals) >= LIGHT_BYTES) peer.silentTicks = 0;
}

/** Transfers leadership to the voter heard just now, whose links may be better than ours. */
function handOverSoon(core: RaftCore, { id }: Progress): void {
  assert(!core.contact.isLost, "leadership is handed over while there is contact");
  // Of two voters, either has the same link to the other.
  if (core.transferee !== NONE || core.conf.voters.length < 3) return;
  startTransfer(core, id, HASTY_HEARTBEATS * core.options.heartbeatTicks);
}

function hasActiveQuorum(core: RaftCore): boolean {
  let active = core.isVoter() ? 1 : 0;
  for (const peer of core.peers) if (!peer.learner && peer.recentlyActive) active++;
  assert(active <= core.conf.voters.length, "only voters make a quorum");
  return active >= majority(core.conf.voters.length);
}

function sendHeartbeats(core: RaftCore): void {
  const { id: from, term } = core;
  assert(core.lead === from, "heartbeats are the leader's");
  for (const peer of core.peers) {
    // Beyond `match` the peer may hold different entries, which it must not commit.
    const commit = Math.min(peer.match, core.log.commit);
    core.send({ type: "heartbeat", to: peer.id, from, term, commit, round: core.reads.lastRound });
  }
}

/** Sends appends and starts read rounds that became possible since the last ready. */
export function flushLeader(core: RaftCore): void {
  for (const peer of core.peers) replicate(core, peer);
  startReads(core);
}

/** Sends appends as far as the peer's state and window allow. */
function replicate(core: RaftCore, peer: Progress): void {
  const { log, limits } = core;
  while (!peer.isPaused()) {
    const full = peer.inflights.isFull();
    const hasNews = !full && (peer.next <= log.lastIndex || peer.commitSent < log.commit);
    if (!hasNews && !peer.nudge) return;
    const prevIndex = peer.next - 1;
    const prevTerm = log.term(prevIndex);
    if (prevTerm === undefined) {
      sendSnapshot(core, peer);
      return;
    }
    // With a full window only a nudge is left to send, an append without entries.
    const to = full ? prevIndex : log.lastIndex;
    assert(to >= prevIndex, "a peer is sent what is in the log");
    assert(prevTerm <= core.term, "no entry has a later term than its leader");
    const entries = log.slice(peer.next, to, limits.appendEntriesMax, limits.appendBytesMax);
    const { commit } = log;
    const first = entries[0];
    assert(first === undefined || first.index === peer.next, "no entry is left out");
    const envelope = { to: peer.id, from: core.id, term: core.term };
    core.send({ type: "append", ...envelope, prevIndex, prevTerm, commit, entries });
    peer.sent(prevIndex + entries.length, bytesOf(entries), commit);
  }
}

function bytesOf(entries: readonly Pick<Entry, "data">[]): number {
  let bytes = 0;
  for (const { data } of entries) bytes += data.length;
  return bytes;
}

function sendSnapshot(core: RaftCore, peer: Progress): void {
  peer.nudge = false;
  // A peer that is down gets the snapshot when it is heard again.
  if (!peer.recentlyActive) return;
  const { id: from, term, snapshot: meta } = core;
  assert(meta.index > 0, "there is a snapshot where the log does not begin at its beginning");
  assert(meta.index >= core.log.base.index, "the snapshot covers the compacted entries");
  assert(peer.next <= core.log.base.index, "a peer that is sent a snapshot lacks its entries");
  core.send({ type: "snapshot", to: peer.id, from, term, meta });
  peer.becomeSnapshot(meta.index);
}

export function onAppendReply(core: RaftCore, peer: Progress, message: AppendReply): void {
  const { index } = message;
  if (index > core.log.lastIndex) return;
  onHeard(core, peer);
  const isNews = peer.acknowledged(index);
  if (peer.state === "probe" && index === peer.match) peer.becomeReplicate();
  // Also if it caught up by another snapshot than the one sent.
  if (peer.state === "snapshot" && core.log.term(peer.match) !== undefined) peer.becomeReplicate();
  if (!isNews) return;
  assert(peer.match <= core.log.lastIndex, "a peer holds nothing that the leader does not");
  advanceCommit(core);
  if (peer.id === core.transferee) tryHandOver(core, peer);
}

export function onAppendReject(core: RaftCore, peer: Progress, message: AppendReject): void {
  onHeard(core, peer);
  const { rejectedIndex, hintIndex, hintTerm } = message;
  // Our entries after this, up to the hint, have later terms, so the peer cannot hold them.
  const agreeIndex = core.log.lastWithTermUpTo(hintTerm, hintIndex);
  const below = Math.min(agreeIndex, hintIndex);
  assert(below <= core.log.lastIndex, "the logs agree on nothing that the leader does not hold");
  peer.rejected(rejectedIndex, below);
}

export function onHeartbeatReply(core: RaftCore, peer: Progress, message: HeartbeatReply): void {
  onHeard(core, peer);
  peer.resumeProbe();
  // Something may have been lost on the way: probe with an append.
  if (peer.match < core.log.lastIndex) peer.nudge = true;
  if (message.round <= peer.readRound || message.round > core.reads.lastRound) return;
  peer.readRound = message.round;
  confirmReads(core);
}

/**
 * Commits entries that are durable on a majority; our own disk counts up to `log.durable`. Only
 * entries of our own term count directly; earlier ones are committed with them (paper, 5.4.2 and
 * figure 8).
 */
export function advanceCommit(core: RaftCore): void {
  assert(core.role === "leader", "only a leader counts disks");
  const { log } = core;
  const index = reachedByMajority(reachedByVoters(core, log.durable, (peer) => peer.match));
  if (index <= log.commit || log.term(index) !== core.term) return;
  for (let i = log.commit + 1; i <= index; i++) {
    const entry = log.entry(i);
    if (entry.term === core.term) core.uncommittedBytes -= entry.data.length;
  }
  assert(core.uncommittedBytes >= 0, "an entry's bytes are counted once");
  log.commitTo(index);
  assert(log.commit === index, "a majority holds nothing that the leader does not");
}

function reachedByVoters(core: RaftCore, own: number, of: (peer: Progress) => number): number[] {
  const reached: number[] = core.isVoter() ? [own] : [];
  for (const peer of core.peers) if (!peer.learner) reached.push(of(peer));
  assert(reached.length === core.conf.voters.length, "each voter counts once");
  return reached;
}

function startReads(core: RaftCore): void {
  const { reads, log } = core;
  assert(reads.openRequest === undefined, "a leader asks nobody for an index");
  // Before the first commit of our term, our commit index may be behind writes that the last leader
  // acknowledged (thesis, 6.4).
  if (!reads.canStartRound() || log.term(log.commit) !== core.term) return;
  reads.startRound(log.commit);
  if (core.isOnlyVoter()) answerReads(core, reads.confirm(reads.lastRound));
  else sendHeartbeats(core);
}

function confirmReads(core: RaftCore): void {
  const { reads } = core;
  const confirmed = reachedByMajority(
    reachedByVoters(core, reads.lastRound, (peer) => peer.readRound),
  );
  answerReads(core, reads.confirm(confirmed));
}

function answerReads(core: RaftCore, rounds: readonly ConfirmedRound[]): void {
  const { id: from } = core;
  for (const { index, local, remote } of rounds) {
    assert(index <= core.log.commit, "a read sees committed entries only");
    assert(local.length + remote.length > 0, "a round has reads");
    for (const ctx of local) core.readStates.push({ ctx, index });
    for (const { from: to, request } of remote) {
      core.send({ type: "readIndexReply", to, from, term: 0, request, index });
    }
  }
}

export function onReadIndex(core: RaftCore, { from, request }: ReadIndex): void {
  if (core.role === "leader") core.reads.addRemote({ from, request });
}

/**
 * Transfers leadership to `target` (thesis, 3.10): rejects proposals, brings `target` up to date,
 * then tells it to campaign.
 *
 * @param ticks timeout of the transfer, an election timeout unless the leader started it by itself
 * @returns false if `target` cannot take over
 */
export function startTransfer(
  core: RaftCore,
  target: bigint,
  ticks = core.options.electionTicks,
): boolean {
  assert(core.role === "leader", "only a leader transfers leadership");
  assert(ticks > 0, "a transfer has time");
  const peer = core.progressOf(target);
  if (peer === undefined || peer.learner) return false;
  if (core.transferee === target) return true;
  core.transferee = target;
  core.transferTicksLeft = ticks;
  tryHandOver(core, peer);
  return true;
}

function tryHandOver(core: RaftCore, peer: Progress): void {
  assert(peer.id === core.transferee && !peer.learner, "a voter takes over that was named");
  if (peer.match < core.log.lastIndex) {
    // Something may have been lost on the way: probe now instead of waiting for a heartbeat reply.
    peer.nudge = true;
    return;
  }
  core.send({ type: "timeoutNow", to: peer.id, from: core.id, term: core.term });
}

/**
 * The transferee has not campaigned in time: accepts proposals again, those held meanwhile first.
 */
function giveUpTransfer(core: RaftCore): void {
  assert(core.transferee !== NONE, "a transfer that ends was begun");
  core.transferee = NONE;
  for (const message of core.takeHeldForwards()) {
    const peer = core.progressOf(message.from);
    if (peer !== undefined) onForwardOnce(core, peer, message);
  }
}

/** The best transferee: a recently active voter if there is one, then the longest match. */
export function bestTransferee(core: RaftCore): Progress | undefined {
  let best: Progress | undefined;
  for (const peer of core.peers) {
    if (peer.learner) continue;
    if (best === undefined || isBetter(peer, best)) best = peer;
  }
  return best;
}

function isBetter(peer: Progress, than: Progress): boolean {
  if (peer.recentlyActive !== than.recentlyActive) return peer.recentlyActive;
  return peer.match > than.match;
}

/** Adapts the leader to a new membership. @param removed id of the removed member, or NONE */
export function onConfApplied(core: RaftCore, removed: bigint): void {
  assert(core.role === "leader", "only a leader keeps track of the others");
  const leaver = core.progressOf(removed);
  core.syncPeers();
  if (leaver !== undefined && core.progressOf(removed) === undefined) tellCommit(core, leaver);
  if (removed !== NONE && core.transferee === removed) giveUpTransfer(core);
  if (core.isVoter()) {
    // A smaller majority may have reached further.
    advanceCommit(core);
    confirmReads(core);
    return;
  }
  // We were removed: send the commit index to all, and let the best of them campaign at once.
  for (const peer of core.peers) tellCommit(core, peer);
  assert(core.progressOf(core.id) === undefined, "a leader does not track itself");
  const transferee = bestTransferee(core);
  if (transferee !== undefined) {
    core.send({ type: "timeoutNow", to: transferee.id, from: core.id, term: core.term });
  }
  core.becomeFollower(core.term, NONE);
}

/**
 * Sends `peer` the commit index up to its match, so that it learns of its own removal, or of ours.
 */
function tellCommit(core: RaftCore, peer: Progress): void {
  const commit = Math.min(peer.match, core.log.commit);
  const { id: from, term } = core;
  core.send({ type: "heartbeat", to: peer.id, from, term, commit, round: 0 });
}
