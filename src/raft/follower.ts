import { assert } from "../lib/assert.js";
import type { RaftCore } from "./core.js";
import { NONE } from "./entry.js";
import type { Append, ForwardedProposal, Heartbeat, ReadIndexReply, Snapshot } from "./message.js";
import { entriesLost, historiesDiffer, secondLeader } from "./safety-error.js";

/**
 * A message from the leader of our term: any other candidate of the term has lost.
 * @throws RaftSafetyError
 */
export function followLeader(core: RaftCore, lead: bigint): void {
  if (core.role === "leader") throw secondLeader(lead, core.term);
  if (core.role !== "follower" || core.lead !== lead) core.becomeFollower(core.term, lead);
  assert(core.lead === lead, "a term has one leader");
  assert(core.role === "follower", "who follows does not campaign");
  core.electionElapsed = 0;
}

/** AppendEntries, receiver's part (Raft paper, figure 2). @throws RaftSafetyError */
export function onAppend(core: RaftCore, message: Append): void {
  const { log, id: from, term } = core;
  const { from: to, prevIndex, prevTerm, commit, entries } = message;
  assert(core.lead === to && message.term === term, "only the leader of our term appends");
  if (prevIndex <= log.commit) checkHistory(core, message);
  if (prevIndex < log.commit) {
    // An old message. Our logs agree up to the commit index in any case.
    core.sendWhenDurable({ type: "appendReply", to, from, term, index: log.commit });
    return;
  }
  if (!log.has({ index: prevIndex, term: prevTerm })) {
    const hintIndex = log.lastWithTermUpTo(prevTerm, prevIndex);
    assert(hintIndex <= prevIndex, "a hint does not lie after what was rejected");
    const hintTerm = log.term(hintIndex) as number;
    const hint = { rejectedIndex: prevIndex, hintIndex, hintTerm };
    core.send({ type: "appendReject", to, from, term, ...hint });
    return;
  }
  log.merge(entries);
  const index = prevIndex + entries.length;
  // After `index` we may hold entries that the leader does not have.
  assert(index <= log.lastIndex, "what is acknowledged is in the log");
  assert(log.lastTerm <= term, "no entry has a later term than its leader");
  log.commitTo(Math.min(commit, index));
  core.sendWhenDurable({ type: "appendReply", to, from, term, index });
}

/** A leader's log contains everything that was committed before its term (paper, 5.4.3). */
function checkHistory({ log, term }: RaftCore, { from, prevIndex, prevTerm }: Append): void {
  const ownTerm = log.term(prevIndex);
  if (ownTerm === undefined || ownTerm === prevTerm) return;
  const committed = { index: prevIndex, term: ownTerm };
  throw historiesDiffer(from, term, committed, { index: prevIndex, term: prevTerm });
}

/** @throws RaftSafetyError */
export function onHeartbeat(core: RaftCore, message: Heartbeat): void {
  const { id: from, term, log } = core;
  assert(core.lead === message.from, "heartbeats are the leader's");
  // A leader's heartbeat commits only entries that this member acknowledged.
  if (message.commit > log.lastIndex)
    throw entriesLost(message.from, message.commit, log.lastIndex);
  log.commitTo(message.commit);
  core.send({ type: "heartbeatReply", to: message.from, from, term, round: message.round });
}

export function onSnapshot(core: RaftCore, { from: to, meta }: Snapshot): void {
  const { log, id: from, term } = core;
  assert(core.lead === to, "snapshots are the leader's");
  // The sender was deposed before it sent the file, whose entries are of a later term. That one's
  // leader sends its own.
  if (meta.term > term) return;
  const reply = { type: "appendReply", to, from, term } as const;
  if (meta.index <= log.commit) {
    core.sendWhenDurable({ ...reply, index: log.commit });
    return;
  }
  if (log.has(meta)) {
    // Our log already holds these entries; only the commit index is behind.
    log.commitTo(meta.index);
  } else {
    log.restoreTo({ index: meta.index, term: meta.term });
    core.conf = meta.conf;
    core.snapshot = meta;
    core.snapshotToWrite = meta;
  }
  assert(log.commit >= meta.index, "what a snapshot holds is committed");
  core.sendWhenDurable({ ...reply, index: meta.index });
}

/** Sends queued proposals and reads to the leader. */
export function flushFollower(core: RaftCore): void {
  if (core.lead === NONE) return;
  assert(core.lead !== core.id, "a leader passes nothing on");
  const { reads } = core;
  if (core.forwards.length > 0) {
    passOn(core);
    core.dropForwards();
  }
  if (!reads.canStartBatch()) return;
  reads.startBatch();
  askForIndex(core);
}

function passOn(core: RaftCore): void {
  const { id: from, lead: to, term, life, forwards, oldestForward: oldest } = core;
  assert(forwards.length > 0, "there are proposals to pass on");
  assert(life > 0, "0 stands for no incarnation");
  const isOnce = (number: number) => number > 0 && core.takesOnce.has(to);
  const once = forwards.filter(({ number }) => isOnce(number));
  for (const proposals of inParts(once, core.limits.appendBytesMax)) {
    core.send({ type: "forwardOnce", to, from, term, life, oldest, proposals });
  }
  if (once.length === forwards.length) return;
  const proposals = forwards.filter(({ number }) => !isOnce(number));
  core.send({ type: "forward", to, from, term: 0, proposals });
}

/** Splits proposals into parts of at most `bytesMax`; a larger proposal gets a part of its own. */
function inParts<T extends ForwardedProposal>(proposals: readonly T[], bytesMax: number): T[][] {
  assert(bytesMax > 0, "a part has room for a proposal");
  const parts: T[][] = [];
  let part: T[] = [];
  let bytes = 0;
  for (const proposal of proposals) {
    if (part.length === 0 || bytes + proposal.data.length > bytesMax) {
      part = [];
      parts.push(part);
      bytes = 0;
    }
    part.push(proposal);
    bytes += proposal.data.length;
  }
  return parts;
}

/** Repeats the read request once per heartbeat interval, in case it or its reply was lost. */
export function repeatRead(core: RaftCore): void {
  assert(core.role !== "leader", "a leader confirms reads with its heartbeats");
  core.heartbeatElapsed++;
  if (core.heartbeatElapsed < core.options.heartbeatTicks) return;
  core.heartbeatElapsed = 0;
  askForIndex(core);
}

function askForIndex(core: RaftCore): void {
  const { id: from, lead: to, reads } = core;
  const request = reads.openRequest;
  if (request === undefined || to === NONE) return;
  assert(to !== from, "a leader asks nobody for an index");
  core.send({ type: "readIndex", to, from, term: 0, request });
}

export function onReadIndexReply(core: RaftCore, { request, index }: ReadIndexReply): void {
  for (const ctx of core.reads.answered(request)) core.readStates.push({ ctx, index });
}
