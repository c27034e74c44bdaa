import type { ConfState } from "../raft/entry.js";
import { decodeConf, encodeConf } from "./conf-state.js";
import { isKnownMachine, MachineId } from "./envelope.js";
import { NewerFormatError, readBy, VERSIONED_LEVEL } from "./format.js";

/** What the log has said about the cluster's time. */
export interface ClockMark {
  /** The latest time, Unix milliseconds; 0 before the first. */
  readonly ms: number;
  /** Term and index of the last entry that told one. */
  readonly term: number;
  readonly index: number;
}

/** The replicated state that is neither the store's nor raft's. */
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
 * @param newest format that may be read
 * @throws NewerFormatError; SyntaxError for bytes that are no head
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
  const isKnown = format <= newest && machines.every(isKnownMachine);
  if (!isKnown) throw new NewerFormatError("the snapshot", format, readBy, newest);
  return { conf, format, clock };
}
