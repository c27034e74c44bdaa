import assert from "node:assert/strict";
import type { StartPlan } from "#ringd/bootstrap/start-plan.js";
import { FormatCheck } from "#ringd/cluster/format-check.js";
import type { Config } from "#ringd/config/config.js";
import type { Logger } from "#ringd/log/logger.js";
import type { RecoveredMember } from "#ringd/member/raft-start.js";
import { RecoveryReader } from "#ringd/member/recovery.js";
import type { Topology } from "#ringd/messages/topology.js";
import { NO_LIMITS } from "#ringd/process/heap.js";
import type { Entry } from "#ringd/raft/entry.js";
import { PackedEntries } from "#ringd/raft/packed-entries.js";
import { Bell } from "#ringd/ring/bell.js";
import type { Outlet } from "#ringd/ring/fragments.js";
import { RingReader } from "#ringd/ring/ring.js";
import { SnapshotDir } from "#ringd/snap/source.js";
import type { Disk } from "#ringd/storage/disk.js";
import { newLogFormat, type ReplayPorts, replayToCore } from "#ringd/wal/replay.js";
import type { WalMetadata } from "#ringd/wal/segment.js";
import type { Wal } from "#ringd/wal/wal.js";
import type { Prng } from "../support/prng.js";
import type { SimSnapshots } from "./member-snapshots.js";
import { isParked, SimThread } from "./member-thread.js";

/** So few that in many starts entries must wait for the core. */
const AHEAD_BYTES_MAX = 512;

export interface StartParts {
  readonly name: string;
  readonly config: Config;
  /** Undefined if the log has the identity. */
  readonly plan: StartPlan | undefined;
  readonly disk: Disk;
  readonly snapshots: SimSnapshots;
  readonly topology: Topology;
  readonly durable: Outlet;
  readonly packEntries: number;
  readonly walOptions: NonNullable<ReplayPorts["walOptions"]>;
  readonly saveIdentity: (metadata: WalMetadata) => void;
  /** Of this start only. */
  readonly prng: Prng;
  readonly log: Logger;
}

/**
 * Starts a member: its wal thread runs, and whenever that parks, its core thread takes turns until
 * it rings the wal thread's bell.
 */
export function startMember(parts: StartParts): { wal: Wal; found: RecoveredMember } {
  const { name, config, plan, topology, durable, prng, log, walOptions } = parts;
  const { formatLevel, eventHistoryMax: historyEventsMax } = config;
  const walBell = new Bell(topology.walBell);
  const storeOptions = { historyEventsMax, historyBytesMax: NO_LIMITS.historyBytes };
  const reader = new RecoveryReader(
    new RingReader(topology.durable, walBell),
    storeOptions,
    formatLevel,
    parts.packEntries,
  );
  const core = new SimThread(topology.coreBell, {
    name: `${name} core`,
    turn: () => !reader.isDone && reader.turn(1 + prng.below(8)),
    hasWork: () => reader.hasWork(),
    msToNext: () => Number.POSITIVE_INFINITY,
  });
  core.step(); // If it started earlier, it sleeps by now.
  const wal = replayToCore({
    ...{ disk: parts.disk, snapshots: new SnapshotDir(parts.snapshots), durable, log },
    formats: new FormatCheck(formatLevel),
    newLog: { metadata: plan, format: newLogFormat(plan?.kind, formatLevel) },
    saveIdentity: parts.saveIdentity,
    waitForCore: () => {
      if (!walBell.rearm(() => durable.canMove())) return;
      while (isParked(topology.walBell)) assert.ok(core.step(), `both of ${name} sleep at a start`);
    },
    aheadBytesMax: AHEAD_BYTES_MAX,
    walOptions,
  });
  // Records without room in the ring are sent in turns of the log's loop.
  for (durable.publish(); !reader.isDone; durable.publish()) {
    assert.ok(core.step(), `${name} sleeps over what it recovered`);
  }
  new Bell(topology.coreBell).disarm(); // Neither thread has slept since.
  walBell.disarm();
  return { wal, found: reader.finish() };
}

/** The whole log after the snapshot. */
export function entriesOf({ packed, entries }: RecoveredMember): Entry[] {
  const count = packed.end - packed.first;
  return [...Array.from({ length: count }, (_, i) => packed.entry(packed.first + i)), ...entries];
}

/** The same recovery with an object for each entry. */
export function unpacked(found: RecoveredMember): RecoveredMember {
  const { first, packEntries } = found.packed;
  return { ...found, packed: new PackedEntries(first, packEntries), entries: entriesOf(found) };
}
