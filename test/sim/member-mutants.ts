import { ClusterClock } from "#ringd/cluster/cluster-clock.js";
import { readEnvelope } from "#ringd/cluster/envelope.js";
import { ClusterTime } from "#ringd/member/cluster-time.js";
import { IncomingSnapshot } from "#ringd/member/incoming-snapshot.js";
import { MemberCore } from "#ringd/member/member.js";
import type { RecoveredMember } from "#ringd/member/raft-start.js";
import { Reads } from "#ringd/member/reads.js";
import { Router } from "#ringd/member/router.js";
import { Writes } from "#ringd/member/writes.js";
import { EntryReader } from "#ringd/messages/log.js";
import { RaftCore } from "#ringd/raft/core.js";
import { type Entry, EntryType } from "#ringd/raft/entry.js";
import { Forwarded } from "#ringd/raft/forwarded.js";
import { RaftLog } from "#ringd/raft/log.js";
import { reachedByMajority } from "#ringd/raft/quorum.js";
import { Raft, type Ready } from "#ringd/raft/raft.js";
import type { ReadState } from "#ringd/raft/read-index.js";
import { Bell } from "#ringd/ring/bell.js";
import { Inlet } from "#ringd/ring/fragments.js";
import { orderSnapshots } from "#ringd/snap/format.js";
import { SnapshotDir } from "#ringd/snap/source.js";
import type { DiskOp } from "#ringd/storage/disk-op.js";
import { CommandOp } from "#ringd/store/command.js";
import { decodeCommand } from "#ringd/store/command-codec.js";
import { SnapshotDecoder } from "#ringd/store/snapshot.js";
import { Store } from "#ringd/store/store.js";
import { RaftStats } from "#ringd/v2/raft-stats.js";
import { Wal } from "#ringd/wal/wal.js";
import { Prng } from "../support/prng.js";
import { SimDisk } from "../wal/sim-disk.js";
import type { MemberFaults } from "./member-faults.js";
import { SimMember } from "./member-node.js";
import { SimSnapshots } from "./member-snapshots.js";
import { unpacked } from "./member-start.js";

/**
 * Bugs planted into members, to show that the simulation finds them. Each is a possible bug of the
 * wrapped code.
 */
export interface Mutant {
  readonly name: string;
  /** For a bug that needs a chain of events which occurs once in thousands of seeds. */
  readonly faults?: Partial<MemberFaults>;
  /** Plants it. @returns undo */
  readonly plant: () => () => void;
}

/** Replaces a method while the mutant is planted. */
function wrap<T extends object, K extends keyof T>(
  target: T,
  name: K,
  make: (original: T[K]) => T[K],
): () => void {
  const before = Object.getOwnPropertyDescriptor(target, name) as PropertyDescriptor;
  Object.defineProperty(target, name, { ...before, value: make(before.value as T[K]) });
  return () => Object.defineProperty(target, name, before);
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: "a ring view is kept past its callback",
    plant: plantKeptView,
  },
  {
    name: "the leader counts its vote for an entry before its fsync",
    plant: () =>
      wrap(
        RaftLog.prototype,
        "takeUnwritten",
        (take) =>
          function (this: RaftLog) {
            const taken = take.call(this);
            this.durableTo({ index: this.lastIndex, term: this.lastTerm });
            return taken;
          },
      ),
  },
  {
    name: "an append is acknowledged, and a vote given, before the fsync",
    plant: () =>
      wrap(
        RaftCore.prototype,
        "sendWhenDurable",
        (hold) =>
          function (this: RaftCore, message) {
            if (message.to === this.id) hold.call(this, message);
            else this.outbox.push(message);
          },
      ),
  },
  {
    name: "an entry of an earlier term is committed by counting",
    // Figure 8 of the paper: leaders that are isolated or halt one after the other.
    faults: {
      founders: 3,
      durationMs: 30_000,
      cutLeaderOneIn: 2,
      leaderOneIn: 2,
      crashMs: 0,
      stopMs: 0,
      pauseMs: 600,
      pauseMsMax: 300,
      loseOneIn: 0,
      partitionMs: 0,
      confChangeMs: 0,
      delayMsMax: 5,
      heartbeatMs: 20,
      electionMs: 100,
      snapshotCount: 1_000_000,
      raftLimits: { appendEntriesMax: 1, inflightMessagesMax: 1 },
      clients: 4,
      thinkMsMax: 50,
      watchers: 0,
    },
    plant: plantOldTermCommit,
  },
  {
    name: "a vote is forgotten at a restart",
    plant: () =>
      wrapRecovery((found) => ({ ...found, hardState: { ...found.hardState, vote: 0n } })),
  },
  {
    name: "the term is forgotten at a restart",
    plant: () =>
      wrapRecovery((found) => ({
        ...found,
        hardState: { ...found.hardState, term: Math.min(1, found.hardState.term), vote: 0n },
      })),
  },
  {
    name: "directories are not synced",
    plant: () => skipSteps(({ op }) => op === "syncDirectory"),
  },
  {
    name: "the log is written and not synced",
    plant: () => skipSteps(({ op }) => op === "datasync"),
  },
  {
    name: "a restart trusts what a failed fsync has left in the page cache",
    // A member that restarts after a failed fsync, and loses power later.
    faults: { failedSyncMs: 1500, crashMs: 1000, powerCutOneIn: 2, durationMs: 20_000 },
    plant: plantTrustInPages,
  },
  {
    name: "votes go to candidates whose log is behind",
    plant: () => wrap(RaftLog.prototype, "isUpToDate", () => () => true),
  },
  {
    name: "a quorum read asks nobody",
    plant: plantLocalReads,
  },
  {
    name: "a follower answers a read before it has applied the index",
    plant: () =>
      wrap(
        Reads.prototype,
        "answerUpTo",
        (answer) =>
          function (this: Reads) {
            answer.call(this, Number.POSITIVE_INFINITY);
          },
      ),
  },
  {
    name: "a snapshot loses the event history",
    plant: () =>
      wrapBlocks((block, view) => {
        if (view.getUint8(0) === 3) return undefined;
        if (view.getUint8(0) === 1) view.setUint32(13, 0, true);
        return block;
      }),
  },
  {
    name: "a snapshot is restored without its index",
    plant: () =>
      wrapBlocks((block, view) => {
        // About the index of an earlier snapshot.
        if (view.getUint8(0) === 1) view.setFloat64(1, view.getFloat64(1, true) - 1, true);
        return block;
      }),
  },
  {
    name: "an entry behind the snapshot is applied twice after a restart",
    plant: () =>
      wrapRecovery((found) => {
        const first = found.entries[0];
        if (found.snapshot.index > 0 && first !== undefined && isCommand(first)) {
          if (first.index <= found.hardState.commit) {
            const data = Buffer.from(first.data);
            found.store.apply(decodeCommand(data, readEnvelope(data).payloadAt));
          }
        }
        return found;
      }),
  },
  {
    name: "nodes expire by each member's own clock",
    plant: plantOwnClock,
  },
  {
    name: "nodes expire by the leader's wall clock",
    faults: { founders: 3, wallJumpMs: 1000, wallJumpMsMax: 3_600_000, longTtl: 20, oldOneIn: 0 },
    plant: () =>
      wrap(
        ClusterClock.prototype,
        "read",
        () =>
          function (this: ClusterClock, wallMs) {
            return Math.max(wallMs, this.floorMs);
          },
      ),
  },
  {
    name: "a member that starts takes its wall clock for the cluster's",
    faults: { founders: 3, wallJumpMs: 1000, wallJumpMsMax: 3_600_000, longTtl: 20, oldOneIn: 0 },
    plant: () =>
      wrap(
        ClusterTime.prototype,
        "tick",
        (tick) =>
          function (this: ClusterTime, appliedTerm, expiringNodes, wallMs, monoMs) {
            if (!this.clock.isKnown) this.clock.hear(this.clock.read(wallMs, monoMs), monoMs);
            tick.call(this, appliedTerm, expiringNodes, wallMs, monoMs);
          },
      ),
  },
  {
    name: "the log is dropped beyond the oldest snapshot",
    plant: () =>
      wrap(
        Wal.prototype,
        "releaseBefore",
        (release) =>
          function (this: Wal, index, maxWals) {
            return release.call(this, index + 1000, maxWals);
          },
      ),
  },
  {
    name: "one wake-up in a thousand is dropped",
    plant: () => {
      let calls = 0;
      return wrap(
        Bell.prototype,
        "ring",
        (ring) =>
          function (this: Bell) {
            return ++calls % 1000 === 0 ? false : ring.call(this);
          },
      );
    },
  },
  {
    name: "word that a job is durable gets lost for good",
    plant: () =>
      wrap(
        MemberCore.prototype,
        "durable",
        (durable) =>
          function (this: MemberCore, job) {
            if (job < 5) durable.call(this, job);
          },
      ),
  },
  {
    name: "a follower takes entries that do not follow its log",
    plant: () =>
      wrap(
        RaftLog.prototype,
        "has",
        (has) =>
          function (this: RaftLog, position) {
            return has.call(this, position) || this.term(position.index) !== undefined;
          },
      ),
  },
  {
    name: "a restart takes the snapshot's log for the member's own and forgets the entries behind it",
    plant: () =>
      wrapRecovery((found) => (found.snapshot.index > 0 ? { ...found, entries: [] } : found)),
  },
  {
    name: "a start skips the newest snapshot",
    plant: plantOldSnapshot,
  },
  {
    name: "a snapshot is installed without its log's reset",
    plant: () => wrap(Wal.prototype, "installSnapshot", () => () => undefined),
  },
  {
    name: "a start keeps views of the ring",
    plant: () =>
      wrap(
        EntryReader.prototype,
        "read",
        (read) =>
          function (this: EntryReader, record) {
            const entry = read.call(this, record);
            return { ...entry, data: record.bytes(record.length - entry.data.length) };
          },
      ),
  },
  {
    name: "a received snapshot that cannot be read is waited for",
    faults: { founders: 3, snapshotCount: 5, catchUpEntries: 0, failedReadMs: 300 },
    plant: () => wrap(IncomingSnapshot.prototype, "fail", () => () => undefined),
  },
  {
    name: "proposals have the same numbers in every life",
    plant: () =>
      wrap(
        Prng.prototype,
        "below",
        (below) =>
          function (this: Prng, bound) {
            const drawn = below.call(this, bound);
            return bound === 2 ** 32 ? 0 : drawn; // Bound of the first number.
          },
      ),
  },
  {
    name: "a member that is elected does not say so in its statistics",
    plant: () => wrap(RaftStats.prototype, "onBecomeLeader", () => () => undefined),
  },
  {
    name: "a leader takes a write again that is passed on to it again",
    plant: () => wrap(Forwarded.prototype, "has", () => () => false),
  },
  {
    name: "a write is proposed anew while it may still be committed",
    plant: () =>
      wrap(
        Writes.prototype,
        "onTerm",
        (onTerm) =>
          function (this: Writes, term) {
            onTerm.call(this, term + 1);
          },
      ),
  },
];

function isCommand({ type, data }: Entry): boolean {
  return type === EntryType.normal && data.length > 0;
}

function skipSteps(isSkipped: (op: DiskOp) => boolean): () => void {
  return wrap(
    SimDisk.prototype,
    "run",
    (run) =>
      function (this: SimDisk, op) {
        if (!isSkipped(op)) run.call(this, op);
      },
  );
}

/** Opening a log syncs it, but rewrites nothing. */
function plantTrustInPages(): () => void {
  let isOpening = false;
  const undoRecover = wrap(
    SimMember.prototype,
    "recover",
    (recover) =>
      function (this: SimMember, prng) {
        isOpening = this.disk.list().some((name) => name.endsWith(".wal"));
        try {
          return recover.call(this, prng);
        } finally {
          isOpening = false;
        }
      },
  );
  const undoSteps = skipSteps((step) => {
    if (step.op === "datasync") isOpening = false; // Later writes are new.
    return isOpening && step.op === "write";
  });
  return () => {
    undoSteps();
    undoRecover();
  };
}

/** A start ignores the newest snapshot. */
function plantOldSnapshot(): () => void {
  let isStarting = false;
  const undoOpen = wrap(
    SnapshotDir.prototype,
    "openNewest",
    (openNewest) =>
      function (this: SnapshotDir) {
        isStarting = true;
        try {
          return openNewest.call(this);
        } finally {
          isStarting = false;
        }
      },
  );
  const undoList = wrap(
    SimSnapshots.prototype,
    "list",
    (list) =>
      function (this: SimSnapshots) {
        const names = list.call(this);
        const newest = isStarting ? orderSnapshots(names).at(-1) : undefined;
        return names.filter((name) => name !== newest?.file);
      },
  );
  return () => {
    undoList();
    undoOpen();
  };
}

/** Changes the checked recovery before the member uses it. */
function wrapRecovery(change: (found: RecoveredMember) => RecoveredMember): () => void {
  return wrap(
    SimMember.prototype,
    "recover",
    (recover) =>
      function (this: SimMember, prng) {
        const recovered = recover.call(this, prng);
        return { ...recovered, found: change(unpacked(recovered.found)) };
      },
  );
}

/** Raft's logs by raft: both are visible in `ready`. */
function plantOldTermCommit(): () => void {
  const logs = new WeakMap<Raft, RaftLog>();
  let current: RaftLog | undefined;
  const undoTake = wrap(
    RaftLog.prototype,
    "takeCommitted",
    (take) =>
      function (this: RaftLog, countMax, bytesMax) {
        current = this;
        return take.call(this, countMax, bytesMax);
      },
  );
  const undoReady = wrap(
    Raft.prototype,
    "ready",
    (ready) =>
      function (this: Raft) {
        const log = logs.get(this);
        if (log !== undefined && this.isLeader) {
          const { conf, durable, peers, id } = this.status();
          const reached = peers.filter(({ learner }) => !learner).map(({ match }) => match);
          if (conf.voters.includes(id)) reached.push(durable);
          log.commitTo(reachedByMajority(reached));
        }
        const result = ready.call(this);
        if (result !== undefined && current !== undefined) logs.set(this, current);
        return result;
      },
  );
  return () => {
    undoReady();
    undoTake();
  };
}

function plantLocalReads(): () => void {
  const asked = new WeakMap<Raft, ReadState[]>();
  const undoRead = wrap(
    Raft.prototype,
    "readIndex",
    () =>
      function (this: Raft, ctx) {
        const list = asked.get(this) ?? [];
        list.push({ ctx, index: this.commit });
        asked.set(this, list);
        return true;
      },
  );
  const undoReady = wrap(
    Raft.prototype,
    "ready",
    (ready) =>
      function (this: Raft): Ready | undefined {
        const result = ready.call(this);
        const states = asked.get(this) ?? [];
        if (states.length === 0) return result;
        asked.set(this, []);
        const none = { messages: [], append: undefined, committed: [], softState: undefined };
        const rest = result ?? { ...none, readStates: [] };
        return { ...rest, readStates: [...rest.readStates, ...states] };
      },
  );
  return () => {
    undoReady();
    undoRead();
  };
}

/** Changes or drops a snapshot's blocks before its decoder. */
function wrapBlocks(
  change: (block: Uint8Array, view: DataView) => Uint8Array | undefined,
): () => void {
  return wrap(
    SnapshotDecoder.prototype,
    "push",
    (push) =>
      function (this: SnapshotDecoder, block) {
        const copy = Uint8Array.from(block);
        const changed = change(copy, new DataView(copy.buffer));
        if (changed !== undefined) push.call(this, changed);
      },
  );
}

function plantOwnClock(): () => void {
  let nowMs = 0;
  const undoStep = wrap(
    MemberCore.prototype,
    "step",
    (step) =>
      function (this: MemberCore) {
        nowMs = this.times.wallMs;
        step.call(this);
      },
  );
  const undoApply = wrap(
    Store.prototype,
    "apply",
    (apply) =>
      function (this: Store, command) {
        const isSync = command.op === CommandOp.sync && nowMs > 0;
        return apply.call(this, isSync ? { ...command, timeMs: nowMs } : command);
      },
  );
  return () => {
    undoApply();
    undoStep();
  };
}

/** Requests, whose bodies are views of the ring, are kept until all of them are drained. */
function plantKeptView(): () => void {
  let kept: (() => void)[] = [];
  const undoRequest = wrap(
    Router.prototype,
    "request",
    (take) =>
      function (this: Router, client, request) {
        kept.push(() => take.call(this, client, request));
      },
  );
  const undoDrain = wrap(
    Inlet.prototype,
    "drain",
    (drain) =>
      function (this: Inlet, recordsMax) {
        const taken = drain.call(this, recordsMax);
        const due = kept;
        kept = [];
        for (const request of due) request();
        return taken;
      },
  );
  return () => {
    undoDrain();
    undoRequest();
  };
}
