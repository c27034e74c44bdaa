/**
 * Messages between core and pool about passwords: layouts, encoders and decoders. Integers are
 * little-endian, texts latin1 bytes. Each job has one outcome, in the order of the jobs.
 */
import "../lib/latin1.js";
import type { Outlet } from "../ring/fragments.js";
import type { RecordCursor } from "../ring/record-cursor.js";

/** Core to pool. */
export const HashJobType = {
  /** Hash a password. */
  hash: 1,
  /** Compare a password with a hash. */
  compare: 2,
} as const;
export type HashJobType = (typeof HashJobType)[keyof typeof HashJobType];

/** Pool to core. */
export const HashOutcomeType = {
  /** u32 job, then the hash. */
  hashed: 1,
  /** u32 job, then a u32: 1 if it is the password of that hash. */
  compared: 2,
} as const;
export type HashOutcomeType = (typeof HashOutcomeType)[keyof typeof HashOutcomeType];

/**
 *   offset  bytes  job
 *   0       4      number of the job
 *   4       4      bytes of the hash; 0 for a job of type hash
 *   8       -      hash, password
 */
const JOB_HEAD_BYTES = 8;

export interface HashJob {
  readonly job: number;
  /** "" for a job of type hash. */
  readonly hash: string;
  /** Latin1 bytes of its UTF-8. */
  readonly password: string;
}

export function writeHashJob(
  outlet: Outlet,
  type: HashJobType,
  { job, hash, password }: HashJob,
): void {
  const length = JOB_HEAD_BYTES + hash.length + password.length;
  outlet.open(length);
  const { bytes, view, at } = outlet;
  view.setUint32(at, job, true);
  view.setUint32(at + 4, hash.length, true);
  bytes.latin1Write(hash, at + JOB_HEAD_BYTES);
  bytes.latin1Write(password, at + JOB_HEAD_BYTES + hash.length);
  outlet.close(type, length);
}

export function readHashJob(record: RecordCursor<HashJobType>): HashJob {
  const hashEnd = JOB_HEAD_BYTES + record.u32(4);
  const bytes = record.bytes(hashEnd);
  return {
    job: record.u32(0),
    hash: record.text(JOB_HEAD_BYTES, hashEnd),
    password: Buffer.from(bytes).toString("latin1"),
  };
}

export function writeHashed(outlet: Outlet, job: number, hash: string): void {
  outlet.open(4 + hash.length);
  const { bytes, view, at } = outlet;
  view.setUint32(at, job, true);
  bytes.latin1Write(hash, at + 4);
  outlet.close(HashOutcomeType.hashed, 4 + hash.length);
}

export function writeCompared(outlet: Outlet, job: number, isEqual: boolean): void {
  outlet.open(8);
  const { view, at } = outlet;
  view.setUint32(at, job, true);
  view.setUint32(at + 4, isEqual ? 1 : 0, true);
  outlet.close(HashOutcomeType.compared, 8);
}
