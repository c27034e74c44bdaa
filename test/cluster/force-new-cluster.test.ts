import assert from "node:assert/strict";
import { test } from "node:test";
import { confChangeCommands } from "#ringd/cluster/commands.js";
import {
  type Forced,
  ForceNewClusterError,
  forceNewCluster,
} from "#ringd/cluster/force-new-cluster.js";
import { decodeMemberChange, type MemberChange } from "#ringd/cluster/member-change.js";
import { Membership } from "#ringd/cluster/membership.js";
import { raftChangeOf } from "#ringd/cluster/raft-change.js";
import { judgeConfChange } from "#ringd/cluster/rules.js";
import { bootstrap } from "#ringd/raft/bootstrap.js";
import {
  decodeConfChange as decodeRaftChange,
  encodeConfChange as encodeRaftChange,
  nextConf,
} from "#ringd/raft/conf-change.js";
import { type ConfState, type Entry, EntryType, NONE } from "#ringd/raft/entry.js";
import type { Restored } from "#ringd/raft/options.js";
import { Raft } from "#ringd/raft/raft.js";
import { Prng } from "../support/prng.js";
import { eventOf } from "./one-member.js";

const SELF = 2n;
const urlOf = (id: bigint) => `http://member-${id}:2380`;

/** Applies as a member does: a change rejected by the rules affects neither store nor raft. */
class Applier {
  readonly membership = new Membership();
  readonly values: string[] = [];

  apply(entry: Entry, onChange: (raftChange: ReturnType<typeof decodeRaftChange>) => void): void {
    if (entry.type === EntryType.normal) {
      if (entry.data.length > 0) this.values.push(Buffer.from(entry.data).toString());
      return;
    }
    const raftChange = decodeRaftChange(entry.data);
    const change = decodeMemberChange(raftChange.context);
    if (judgeConfChange(change, this.membership) !== "ok") return;
    onChange(raftChange);
    for (const command of confChangeCommands(change, 0)) {
      this.membership.apply(eventOf(command, entry.index));
    }
  }
}

/** A log written by hand, of a cluster with three initial members. */
class LogBuilder {
  readonly entries: Entry[];

  constructor(founders: readonly bigint[] = [1n, 2n, 3n]) {
    const members = founders.map((id) => {
      const { context } = raftChangeOf({ kind: "add", id, peerUrls: [urlOf(id)] });
      return { id, context };
    });
    this.entries = [...bootstrap(members).entries];
  }

  value(text: string, term = 1): this {
    return this.#push(EntryType.normal, Buffer.from(text), term);
  }

  change(change: MemberChange, term = 1): this {
    return this.#push(EntryType.confChange, encodeRaftChange(raftChangeOf(change)), term);
  }

  #push(type: EntryType, data: Uint8Array, term: number): this {
    this.entries.push({ index: this.entries.length + 1, term, type, data });
    return this;
  }

  /** @param commit the commit index on disk */
  restored(commit: number, snapshotIndex = 0): { restored: Restored; before: Applier } {
    const before = new Applier();
    let conf: ConfState = { voters: [], learners: [] };
    for (const entry of this.entries.slice(0, snapshotIndex)) {
      before.apply(entry, (change) => {
        conf = nextConf(conf, change);
      });
    }
    const term = this.entries.at(-1)?.term ?? 0;
    const snapshotTerm = this.entries[snapshotIndex - 1]?.term ?? 0;
    const snapshot = { index: snapshotIndex, term: snapshotTerm, conf };
    const hardState = { term, vote: 3n, commit };
    return {
      restored: { hardState, snapshot, entries: this.entries, applied: snapshotIndex },
      before,
    };
  }
}

/** Starts raft as a member's core does, and writes one more value. */
function runAlone({ restored }: Forced, before: Applier, id = SELF): Raft {
  const raft = new Raft({
    id,
    electionTicks: 10,
    heartbeatTicks: 1,
    preVote: true,
    checkQuorum: true,
    random: () => 0,
    restored,
  });
  const carryOut = () => {
    for (let ready = raft.ready(); ready !== undefined; ready = raft.ready()) {
      assert.deepEqual(ready.messages, [], "it talks to nobody");
      for (const entry of ready.committed) {
        before.apply(entry, (change) => raft.applyConfChange(change));
        raft.applied(entry.index);
      }
      if (ready.append !== undefined) raft.durable(ready.append.job);
    }
  };
  carryOut();
  assert.deepEqual(raft.conf, { voters: [id], learners: [] });
  assert.ok(raft.campaign());
  carryOut();
  assert.ok(raft.isLeader);
  assert.equal(raft.propose(Buffer.from("after")).kind, "appended");
  carryOut();
  assert.equal(before.values.at(-1), "after");
  raft.checkInvariants();
  return raft;
}

function force(restored: Restored, before: Applier, memberId = SELF): Forced {
  const { membership } = before;
  return forceNewCluster({ memberId, peerUrls: [urlOf(memberId)], membership, restored });
}

test("one of three continues alone with every entry it has, committed or not", () => {
  const log = new LogBuilder().value("a").value("b").value("c", 2);
  const { restored, before } = log.restored(4);
  const forced = force(restored, before);
  assert.deepEqual(forced.removed, [1n, 3n]);
  assert.equal(forced.added.length, 2);
  assert.deepEqual(
    forced.added.map(({ index, term }) => [index, term]),
    [
      [7, 3],
      [8, 3],
    ],
    "behind the log, in a term of their own",
  );
  assert.deepEqual(forced.restored.hardState, { term: 3, vote: NONE, commit: 8 });
  runAlone(forced, before);
  assert.deepEqual(before.values, ["a", "b", "c", "after"]);
  assert.deepEqual(
    before.membership.members().map(({ id }) => id),
    [SELF],
  );
  assert.deepEqual(before.membership.removedIds(), [1n, 3n]);
});

test("a snapshot, with a log that overlaps it, follows it, or adds nothing", () => {
  const log = new LogBuilder().value("a").change({ kind: "remove", id: 1n }).value("b").value("c");
  for (const [from, to] of [
    [0, 7],
    [2, 7],
    [5, 7],
    [6, 7],
    [0, 5],
    [7, 7],
  ] as const) {
    const { restored, before } = log.restored(5, 6);
    const cut = { ...restored, entries: restored.entries.slice(from, to) };
    const forced = force(cut, before);
    assert.deepEqual(forced.removed, [3n]);
    runAlone(forced, before);
    const isVoid = to === 5 || from === 7;
    assert.deepEqual(before.values, isVoid ? ["a", "b", "after"] : ["a", "b", "c", "after"]);
  }
});

test("a member that is alone already keeps its log unchanged", () => {
  const { restored, before } = new LogBuilder([SELF]).value("a").restored(1);
  const forced = force(restored, before);
  assert.deepEqual(forced.added, []);
  assert.deepEqual(forced.restored.entries, restored.entries);
  assert.deepEqual(forced.restored.hardState, { term: 1, vote: NONE, commit: 2 });
  runAlone(forced, before);
  assert.deepEqual(before.values, ["a", "after"]);
});

test("a learner becomes a voter; a member missing in the log is added, even if its URL is taken", () => {
  const joining = new LogBuilder([1n])
    .change({ kind: "add", id: SELF, peerUrls: [urlOf(SELF)] })
    .value("a");
  const learner = joining.restored(3);
  runAlone(force(learner.restored, learner.before), learner.before);
  assert.deepEqual(learner.before.values, ["a", "after"]);

  const backup = new LogBuilder([1n, 3n]).value("a").restored(3, 3);
  const { membership } = backup.before;
  const peerUrls = ["http://new:1", urlOf(3n)];
  const forced = forceNewCluster({ memberId: 9n, peerUrls, membership, ...backup });
  runAlone(forced, backup.before, 9n);
  const alone = { id: 9n, name: "", peerUrls, clientUrls: [], isLearner: false };
  assert.deepEqual(membership.members(), [alone]);
});

test("a removed member stays removed; an uncommitted removal is dropped", () => {
  const log = new LogBuilder()
    .value("a")
    .change({ kind: "remove", id: SELF })
    .value("b")
    .change({ kind: "remove", id: 3n });
  for (const snapshotIndex of [0, 4, 5, 7]) {
    const { restored, before } = log.restored(7, snapshotIndex);
    assert.throws(() => force(restored, before), ForceNewClusterError);
  }
  const open = new LogBuilder().value("a").change({ kind: "remove", id: SELF }, 2).value("b", 2);
  const { restored, before } = open.restored(4);
  const forced = force(restored, before);
  assert.deepEqual(
    forced.added.map(({ index, term }) => [index, term]),
    [
      [5, 3],
      [6, 3],
    ],
    "in place of the removal",
  );
  runAlone(forced, before);
  assert.deepEqual(before.values, ["a", "after"]);
});

test("any history of changes ends with this member alone and every value", () => {
  const seed = Number(process.env.SEED ?? 20_261_121);
  const prng = new Prng(seed);
  for (let round = 0; round < 300; round++) {
    const log = new LogBuilder();
    let values = 0;
    for (let step = prng.below(20); step > 0; step--) {
      const id = BigInt(1 + prng.below(7));
      const kind = prng.pick(["value", "add", "remove", "update", "promote"] as const);
      if (kind === "value") log.value(`${values++}`);
      else if (kind === "promote") log.change({ kind, id });
      else if (kind === "remove") log.change({ kind, id: id === SELF ? 1n : id });
      else log.change({ kind, id, peerUrls: [urlOf(BigInt(1 + prng.below(9)))] });
    }
    const length = log.entries.length;
    const snapshotIndex = prng.below(length + 1);
    const commit = snapshotIndex + prng.below(length - snapshotIndex + 1);
    const { restored, before } = log.restored(commit, snapshotIndex);
    const firstKept = prng.below(snapshotIndex + 1);
    const shortened = { ...restored, entries: restored.entries.slice(firstKept) };
    const forced = force(shortened, before);
    runAlone(forced, before);
    const shown = `SEED=${seed} round ${round}`;
    assert.equal(before.values.length, values + 1, shown);
    assert.deepEqual(
      before.membership.members().map(({ id }) => id),
      [SELF],
      shown,
    );
  }
});
