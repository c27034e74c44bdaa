import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeConfChange } from "#ringd/raft/conf-change.js";
import { type Entry, EntryType } from "#ringd/raft/entry.js";
import type { Message } from "#ringd/raft/message.js";
import type { RaftOptions } from "#ringd/raft/options.js";
import { Raft, type Ready } from "#ringd/raft/raft.js";

// Sections are those of "In Search of an Understandable Consensus Algorithm" (extended version).

const VOTERS = [1n, 2n, 3n];
const NO_DATA = new Uint8Array(0);

function entries(...terms: number[]): Entry[] {
  return terms.map((term, i) => ({ index: i + 1, term, type: EntryType.normal, data: NO_DATA }));
}

interface Disk {
  readonly term?: number;
  readonly vote?: bigint;
  readonly commit?: number;
  readonly entries?: Entry[];
  readonly learners?: bigint[];
}

function member(id: bigint, disk: Disk = {}, options: Partial<RaftOptions> = {}): Raft {
  const { term = 0, vote = 0n, commit = 0, learners = [] } = disk;
  return new Raft({
    id,
    electionTicks: 10,
    heartbeatTicks: 1,
    preVote: false,
    checkQuorum: false,
    random: () => 0,
    restored: {
      hardState: { term, vote, commit },
      snapshot: { index: 0, term: 0, conf: { voters: VOTERS, learners } },
      entries: disk.entries ?? [],
      applied: 0,
    },
    ...options,
  });
}

/** Carries out all work, disk jobs at once. @returns the messages sent */
function drain(raft: Raft): Message[] {
  const messages: Message[] = [];
  for (let ready = raft.ready(); ready !== undefined; ready = raft.ready()) {
    messages.push(...ready.messages);
    finish(raft, ready);
    if (ready.append !== undefined) raft.durable(ready.append.job);
    raft.checkInvariants();
  }
  return messages;
}

function finish(raft: Raft, ready: Ready): void {
  const last = ready.committed.at(-1);
  if (last !== undefined) raft.applied(last.index);
}

function leader(disk: Disk = {}, options: Partial<RaftOptions> = {}): Raft {
  const raft = member(1n, disk, options);
  raft.campaign();
  drain(raft);
  raft.step(voteReply(2n, raft.term, true));
  assert.equal(raft.role, "leader");
  drain(raft);
  return raft;
}

function voteReply(from: bigint, term: number, granted: boolean): Message {
  return { type: "voteReply", to: 1n, from, term, granted, commit: 0, commitTerm: 0 };
}

function vote(from: bigint, term: number, lastIndex: number, lastTerm: number): Message {
  return { type: "vote", to: 1n, from, term, lastIndex, lastTerm, transfer: false };
}

function append(term: number, prev: [number, number], commit: number, list: Entry[]): Message {
  const [prevIndex, prevTerm] = prev;
  return { type: "append", to: 1n, from: 2n, term, prevIndex, prevTerm, commit, entries: list };
}

test("5.1: a message of a later term makes a leader a follower", () => {
  const raft = leader();
  raft.step(append(9, [0, 0], 0, []));
  assert.deepEqual([raft.role, raft.term, raft.lead], ["follower", 9, 2n]);
});

test("5.1: a message of an earlier term changes nothing", () => {
  const raft = member(1n, { term: 5, entries: entries(5) });
  raft.step(append(4, [0, 0], 0, entries(4)));
  raft.step(vote(2n, 4, 9, 4));
  assert.equal(raft.termOf(1), 5);
  assert.deepEqual(
    drain(raft).map(({ type, term }) => [type, term]),
    [
      ["appendReject", 5],
      ["voteReply", 5],
    ],
  );
});

test("5.2: a member votes once per term, and remembers it across a restart", () => {
  const granted = (raft: Raft) =>
    drain(raft).map((message) => message.type === "voteReply" && message.granted);
  const raft = member(1n);
  raft.step(vote(2n, 1, 0, 0));
  raft.step(vote(3n, 1, 0, 0));
  raft.step(vote(2n, 1, 0, 0));
  assert.deepEqual(granted(raft), [false, true, true]);
  const restarted = member(1n, { term: 1, vote: 2n });
  restarted.step(vote(3n, 1, 0, 0));
  assert.deepEqual(granted(restarted), [false]);
  restarted.step(vote(2n, 1, 0, 0));
  assert.deepEqual(granted(restarted), [true]);
});

test("5.2: a repeated vote is one vote", () => {
  const raft = new Raft({
    id: 1n,
    electionTicks: 10,
    heartbeatTicks: 1,
    preVote: false,
    checkQuorum: false,
    random: () => 0,
    restored: {
      hardState: { term: 0, vote: 0n, commit: 0 },
      snapshot: { index: 0, term: 0, conf: { voters: [1n, 2n, 3n, 4n, 5n], learners: [] } },
      entries: [],
      applied: 0,
    },
  });
  raft.campaign();
  drain(raft);
  raft.step(voteReply(2n, 1, true));
  raft.step(voteReply(2n, 1, true));
  raft.step(voteReply(9n, 1, true));
  assert.equal(raft.role, "candidate");
  raft.step(voteReply(3n, 1, true));
  assert.equal(raft.role, "leader");
});

test("5.2: election timeouts spread over electionTicks .. 2 * electionTicks - 1", () => {
  const seen = new Set<number>();
  for (let draw = 0; draw < 10; draw++) {
    const raft = member(1n, {}, { random: (below) => Math.min(draw, below - 1) });
    let ticks = 0;
    while (raft.role === "follower") {
      raft.tick();
      ticks++;
    }
    seen.add(ticks);
  }
  assert.deepEqual([...seen].sort(), [10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
});

test("5.3: a follower commits no further than it is known to agree with the leader", () => {
  const raft = member(1n, { term: 1, entries: entries(1, 1, 1) });
  // 2/1 matches; only we have 3/1, the leader has committed another third entry.
  raft.step(append(2, [1, 1], 3, entries(1, 1).slice(1)));
  assert.equal(raft.commit, 2);
});

test("5.3: entries that agree are kept, the first that differs is removed with all after it", () => {
  const raft = member(1n, { term: 2, entries: entries(1, 1, 2, 2) });
  raft.step(append(3, [1, 1], 0, entries(1, 1).slice(1)));
  assert.equal(raft.status().lastIndex, 4);
  raft.step(append(3, [1, 1], 0, entries(1, 1, 3).slice(1)));
  assert.equal(raft.status().lastIndex, 3);
  assert.equal(raft.termOf(3), 3);
});

test("5.4.1: no vote for a candidate whose log is behind", () => {
  const cases: [number, number, boolean][] = [
    [2, 2, true],
    [3, 2, true],
    [1, 3, true],
    [1, 2, false],
    [9, 1, false],
  ];
  for (const [lastIndex, lastTerm, expected] of cases) {
    const raft = member(1n, { term: 2, entries: entries(1, 2) });
    raft.step(vote(2n, 3, lastIndex, lastTerm));
    const [reply] = drain(raft);
    assert.ok(reply?.type === "voteReply");
    assert.equal(reply.granted, expected, `last entry ${lastIndex}/${lastTerm}`);
  }
});

test("5.4.2: entries of earlier terms are committed only along with one of the leader's own", () => {
  const raft = leader({ term: 2, entries: entries(1, 2) });
  const reply = { type: "appendReply", to: 1n, from: 2n, term: raft.term } as const;
  raft.step({ ...reply, index: 2 });
  assert.equal(raft.commit, 0);
  raft.step({ ...reply, index: 3 });
  assert.equal(raft.commit, 3);
});

test("6: learners' disks do not count", () => {
  const raft = leader({ learners: [4n, 5n] });
  const reply = { type: "appendReply", to: 1n, term: raft.term, index: 1 } as const;
  raft.step({ ...reply, from: 4n });
  raft.step({ ...reply, from: 5n });
  assert.equal(raft.commit, 0);
  raft.step({ ...reply, from: 3n });
  assert.equal(raft.commit, 1);
});

test("6: a member asked to lead applies membership changes first", () => {
  const data = encodeConfChange({ op: "addVoter", member: 4n, context: NO_DATA });
  const change: Entry = { index: 1, term: 1, type: EntryType.confChange, data };
  const raft = member(1n, { term: 1, commit: 1, entries: [change] });
  assert.equal(raft.campaign(), false);
  raft.step({ type: "timeoutNow", to: 1n, from: 2n, term: 1 });
  const ready = raft.ready();
  assert.equal(raft.role, "follower");
  raft.applyConfChange({ op: "addVoter", member: 4n, context: NO_DATA });
  assert.ok(ready !== undefined);
  finish(raft, ready);
  assert.equal(raft.role, "candidate");
});

test("6: a restarted member knows that all but the last membership change are committed", () => {
  const data = encodeConfChange({ op: "remove", member: 3n, context: NO_DATA });
  const change = (index: number): Entry => ({ index, term: 1, type: EntryType.confChange, data });
  const raft = member(1n, { term: 1, entries: [change(1), change(2), change(3)] });
  assert.equal(raft.commit, 2);
});

test("restart: the log may begin before the snapshot, to keep a tail for slow followers", () => {
  const restored = (list: Entry[]) => ({
    hardState: { term: 2, vote: 0n, commit: 2 },
    snapshot: { index: 3, term: 2, conf: { voters: VOTERS, learners: [] } },
    entries: list,
    applied: 3,
  });
  const log = (list: Entry[]) => {
    const { firstIndex, lastIndex, commit } = member(1n, {}, { restored: restored(list) }).status();
    return { firstIndex, lastIndex, commit };
  };
  const all = entries(1, 1, 2, 2);
  assert.deepEqual(log(all), { firstIndex: 2, lastIndex: 4, commit: 3 });
  assert.deepEqual(log(all.slice(2)), { firstIndex: 4, lastIndex: 4, commit: 3 });
  assert.deepEqual(log(all.slice(3)), { firstIndex: 4, lastIndex: 4, commit: 3 });
  assert.deepEqual(log(all.slice(0, 2)), { firstIndex: 4, lastIndex: 3, commit: 3 });
  assert.deepEqual(log(entries(1, 1, 1, 1)), { firstIndex: 4, lastIndex: 3, commit: 3 });
  assert.deepEqual(log([]), { firstIndex: 4, lastIndex: 3, commit: 3 });
});

test("transfer: the transferee is the voter with the longest log that was active last", () => {
  const raft = leader({ learners: [4n] });
  assert.equal(raft.bestTransferee(), 2n);
  const reply = { type: "appendReply", to: 1n, term: raft.term, index: 1 } as const;
  raft.step({ ...reply, from: 4n });
  raft.step({ ...reply, from: 3n });
  assert.equal(raft.bestTransferee(), 3n);
  assert.equal(member(1n).bestTransferee(), 0n);
});

test("disk: a finished job says nothing about entries that replaced its own", () => {
  const raft = member(1n);
  raft.step(append(1, [0, 0], 0, entries(1, 1)));
  const first = raft.ready()?.append?.job ?? 0;
  raft.step(append(2, [0, 0], 0, entries(2, 2)));
  const second = raft.ready()?.append?.job ?? 0;
  raft.durable(first);
  assert.equal(raft.status().durable, 0);
  raft.durable(second);
  assert.equal(raft.status().durable, 2);
});

test("reads: a response to an earlier incarnation of this member is ignored", () => {
  const life = (draw: number) => {
    const raft = member(1n, {}, { random: (below) => (below > 1000 ? draw : 0) });
    raft.step(append(1, [0, 0], 0, []));
    raft.readIndex(1);
    const asked = drain(raft).find((message) => message.type === "readIndex");
    assert.ok(asked?.type === "readIndex");
    return { raft, request: asked.request };
  };
  const { request } = life(5);
  const { raft } = life(6);
  raft.step({ type: "readIndexReply", to: 1n, from: 2n, term: 0, request, index: 0 });
  assert.equal(raft.ready(), undefined);
});

test("forward: proposals share a message, and a malformed membership change is ignored", () => {
  const follower = member(1n);
  follower.step(append(1, [0, 0], 0, []));
  assert.deepEqual(follower.propose(NO_DATA), {
    ...{ kind: "forwarded", leader: 2n },
    ...{ term: follower.term, isOnce: false },
  });
  follower.propose(NO_DATA);
  const sent = drain(follower).filter((message) => message.type === "forward");
  assert.deepEqual(
    sent.map((message) => message.type === "forward" && message.proposals.length),
    [2],
  );
  const raft = leader();
  const proposals = [
    { type: EntryType.confChange, data: NO_DATA },
    { type: EntryType.normal, data: NO_DATA },
  ];
  raft.step({ type: "forward", to: 1n, from: 2n, term: 0, proposals });
  assert.equal(raft.status().lastIndex, 2);
});

test("forward: a leader accepts a repeatable proposal once, and only in its own term", () => {
  const raft = leader();
  const { lastIndex } = raft.status();
  const two = [1, 2].map((number) => ({ number, type: EntryType.normal, data: NO_DATA }));
  const once = {
    type: "forwardOnce",
    to: 1n,
    from: 2n,
    term: raft.term,
    life: 1,
    oldest: 1,
  } as const;
  raft.step({ ...once, proposals: [...two, ...two] });
  raft.step({ ...once, proposals: two });
  assert.equal(raft.status().lastIndex, lastIndex + 2);
  const third = { number: 3, type: EntryType.normal, data: NO_DATA };
  raft.step({ ...once, oldest: 3, proposals: [third] });
  raft.step({ ...once, proposals: two });
  assert.equal(raft.status().lastIndex, lastIndex + 3, "a late one was taken long ago");
  raft.step({ ...once, life: 2, proposals: two });
  assert.equal(raft.status().lastIndex, lastIndex + 5, "who was started again has other ones");
  raft.step({ ...once, oldest: 9, proposals: [{ ...third, number: 9 }] });
  assert.equal(raft.status().lastIndex, lastIndex + 5, "what came of the life before comes late");
  raft.step({ ...once, life: 2, term: raft.term - 1, proposals: [{ ...third, number: 9 }] });
  assert.equal(raft.status().lastIndex, lastIndex + 5);
});

test("forward: proposals during a transfer are accepted once it has failed", () => {
  const raft = leader();
  const { lastIndex } = raft.status();
  const proposals = [{ number: 1, type: EntryType.normal, data: NO_DATA }];
  const once = { type: "forwardOnce", to: 1n, from: 2n, life: 1, oldest: 1, proposals } as const;
  raft.transferLeadership(3n);
  raft.step({ ...once, term: raft.term });
  raft.step({ ...once, term: raft.term });
  assert.equal(raft.status().lastIndex, lastIndex);
  for (let tick = 0; tick < 10; tick++) raft.tick();
  assert.equal(raft.status().lastIndex, lastIndex + 1);
});

test("a peer whose stream reopened gets its missing entries before the next heartbeat", () => {
  const raft = leader();
  const appends = () => drain(raft).filter(({ type, to }) => type === "append" && to === 2n);
  raft.reportUnreachable(2n);
  raft.propose(NO_DATA);
  appends(); // Lost.
  raft.propose(NO_DATA);
  assert.equal(appends().length, 0);
  raft.reportReachable(2n);
  assert.equal(appends().length, 1);
});

for (const { bytes, handsOver } of [
  { bytes: 1024, handsOver: true },
  { bytes: 256 * 1024, handsOver: false },
]) {
  const what = handsOver ? "hands over" : "does not hand over";
  test(`a leader that hears nobody behind ${bytes} bytes, three times, ${what}`, () => {
    const raft = leader({}, { checkQuorum: true });
    const answer = { to: 1n, from: 2n, term: 1 } as const;
    const acknowledge = () => {
      drain(raft);
      raft.step({ type: "appendReply", ...answer, index: raft.status().lastIndex });
    };
    acknowledge();
    for (let time = 0; time < 3; time++) {
      raft.propose(new Uint8Array(bytes));
      drain(raft);
      for (let tick = 0; tick < 4; tick++) raft.tick();
      acknowledge();
    }
    assert.equal(raft.status().transferee, handsOver ? 2n : 0n);
  });
}

test("a shaky leader hands over to the voter that is heard again, not to one that only sends", () => {
  const raft = leader({}, { checkQuorum: true });
  const envelope = { to: 1n, term: 1 } as const;
  for (let time = 0; time < 3; time++) {
    drain(raft);
    for (let tick = 0; tick < 4; tick++) raft.tick();
    const proposals = [{ type: EntryType.normal, data: new Uint8Array(65_536), number: time + 1 }];
    raft.step({ type: "forwardOnce", ...envelope, from: 2n, life: 7, oldest: 1, proposals });
    raft.step({ type: "heartbeatReply", ...envelope, from: 3n, round: 0 });
  }
  assert.equal(raft.status().transferee, 3n);
});

test("of two voters no leader is too shaky: the other has the same link", () => {
  const hardState = { term: 0, vote: 0n, commit: 0 };
  const snapshot = { index: 0, term: 0, conf: { voters: [1n, 2n], learners: [] } };
  const restored = { hardState, snapshot, entries: [], applied: 0 };
  const raft = leader({}, { checkQuorum: true, restored });
  for (let time = 0; time < 5; time++) {
    for (let tick = 0; tick < 4; tick++) raft.tick();
    drain(raft);
    raft.step({ type: "heartbeatReply", to: 1n, from: 2n, term: raft.term, round: 0 });
  }
  assert.equal(raft.role, "leader");
  assert.equal(raft.status().transferee, 0n);
});

test("forward: a proposal is sent with its number; parked ones are for one leader", () => {
  const follower = member(1n);
  follower.peerTakesOnce(2n, true);
  follower.step(append(1, [0, 0], 0, []));
  const { term } = follower;
  const result = { kind: "forwarded", leader: 2n, term, isOnce: true };
  assert.deepEqual(follower.propose(NO_DATA, 8, 5), result);
  const [sent] = drain(follower).filter((message) => message.type === "forwardOnce");
  assert.ok(sent?.type === "forwardOnce");
  const numbers = sent.proposals.map(({ number }) => number);
  assert.deepEqual([sent.term, sent.oldest, numbers], [1, 5, [8]]);
  follower.propose(NO_DATA, 9, 5);
  follower.step({ ...append(2, [0, 0], 0, []), from: 3n });
  assert.ok(!drain(follower).some(({ type }) => type.startsWith("forward")));
});

test("a snapshot of a later term than its message is left to that term's leader", () => {
  const raft = member(1n, { term: 1 });
  const conf = { voters: VOTERS, learners: [] };
  const snapshot = { type: "snapshot", from: 2n, to: 1n, term: 1 } as const;
  raft.step({ ...snapshot, meta: { index: 5, term: 2, conf } });
  assert.deepEqual(drain(raft), []);
  assert.equal(raft.commit, 0);
  raft.step({ ...snapshot, term: 2, meta: { index: 5, term: 2, conf } });
  assert.equal(raft.commit, 5);
});
