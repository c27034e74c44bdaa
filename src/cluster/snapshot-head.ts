import type { ConfState } from "../raft/entry.js";
import { decodeConf, encodeConf } from "./conf-state.js";
import { isKnownMachine, MachineId } from "./envelope.js";
import { NewerFormatError, readBy, VERSIONED_LEVEL } from "./format.js";

/** The log's latest cluster time. */
export interface ClockMark {
  /** The latest time, Unix milliseconds; 0 before the first. */
  readonly ms: number;
  /** Term and index of the last SYNC entry. */
  readonly term: number;
  readonly index: number;
}

/** Replicated state that belongs to neither the store nor raft. */
export interface SnapshotHead {
  readonly format: number;
  readonly clock: ClockMark;
}

export const NO_HEAD: SnapshotHead = { format: 1, clock: { ms: 0, term: 0, index: 0 } };

/**
 * Metadata of a snapshot, JSON: the membership and, from format 2 on,
 *
 *   "format": 2, "readBy": "0.2.0", "machines": [0],
 *   "clock": {"ms": 1700000000000, "term": 3, "index": 9}
 */
export function encodeSnapshotHead(conf: ConfState, { format, clock }: SnapshotHead): Buffer {
  if (format < VERSIONED_LEVEL) return encodeConf(conf);
  const content = JSON.parse(encodeConf(conf).toString()) as object;
  const machines = [MachineId.v2Store];
  return Buffer.from(
    JSON.stringify({ ...content, format, readBy: readBy(format), machines, clock }),
  );
}

/**
 * @param newest newest format that this build reads
 * @throws NewerFormatError; SyntaxError for bytes that are not a head
 */
export function decodeSnapshotHead(
  bytes: Buffer,
  newest: number,
): SnapshotHead & { readonly conf: ConfState } {
  const conf = decodeConf(bytes);
  const content = JSON.parse(bytes.toString()) as Partial<SnapshotHead> & {
    readBy?: string;
    machines?: readonly number[];
  };
  const {
    format = 1,
    clock = NO_HEAD.clock,
    machines = [MachineId.v2Store],
    readBy = "",
  } = content;
  if (typeof format !== "number" || !Array.isArray(machines) || !isClock(clock)) {
    throw new SyntaxError("the head of a snapshot has other fields");
  }
  const isKnown = format <= newest && machines.every(isKnownMachine);
  if (!isKnown) throw new NewerFormatError("the snapshot", format, readBy, newest);
  return { conf, format, clock };
}

function isClock(clock: unknown): clock is ClockMark {
  if (typeof clock !== "object" || clock === null) return false;
  const { ms, term, index } = clock as Record<string, unknown>;
  return [ms, term, index].every((value) => typeof value === "number");
}
