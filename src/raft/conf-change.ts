import { assert, unreachable } from "../lib/assert.js";
import { RingdError } from "../lib/errors.js";
import type { ConfState } from "./entry.js";

/** `update` changes what the shell knows about a member (its URLs), not who votes. */
const OPS = ["addVoter", "addLearner", "remove", "update"] as const;
export type ConfChangeOp = (typeof OPS)[number];

/**
 * One step from one membership to the next (Raft thesis, 4.1): at most one voter differs, so that
 * any two majorities before and after share a member. `addVoter` for a learner promotes it.
 */
export interface ConfChange {
  readonly op: ConfChangeOp;
  readonly member: bigint;
  /** The shell's own: names, URLs, who asked. */
  readonly context: Uint8Array;
}

/** Bytes that are no membership change, in a log entry of type confChange. */
export class ConfChangeError extends RingdError {
  override readonly name = "ConfChangeError";
  readonly code = "CONF_CHANGE_MALFORMED";
}

const HEADER_BYTES = 9;

/**
 * The data of a confChange entry. Integers are little-endian.
 *
 *   offset  bytes  field
 *   0       1      op       0 addVoter, 1 addLearner, 2 remove, 3 update
 *   1       8      member   not 0
 *   9       n      context
 */
export function encodeConfChange(change: ConfChange): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + change.context.length);
  bytes[0] = OPS.indexOf(change.op);
  new DataView(bytes.buffer).setBigUint64(1, change.member, true);
  bytes.set(change.context, HEADER_BYTES);
  return bytes;
}

/**
 * @returns its context is a view into `bytes`
 * @throws ConfChangeError
 */
export function decodeConfChange(bytes: Uint8Array): ConfChange {
  if (bytes.length < HEADER_BYTES) {
    throw new ConfChangeError(`Cannot read a membership change of ${bytes.length} bytes`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const op = OPS[view.getUint8(0)];
  if (op === undefined) {
    throw new ConfChangeError(`Cannot read a membership change: no operation ${view.getUint8(0)}`);
  }
  const member = view.getBigUint64(1, true);
  if (member === 0n) throw new ConfChangeError("Cannot read a membership change: member id is 0");
  return { op, member, context: bytes.subarray(HEADER_BYTES) };
}

/**
 * The membership after `change`. A change that says nothing new (adding a voter twice, removing a
 * stranger) and one that would turn a voter into a learner leave it as it is, and so does the
 * removal of the last voter: nobody could ever commit again.
 */
export function nextConf(conf: ConfState, change: ConfChange): ConfState {
  const { member } = change;
  const isVoter = conf.voters.includes(member);
  const isLearner = conf.learners.includes(member);
  const without = (ids: readonly bigint[]) => ids.filter((id) => id !== member);
  switch (change.op) {
    case "addVoter":
      if (isVoter) return conf;
      return { voters: withId(conf.voters, member), learners: without(conf.learners) };
    case "addLearner":
      if (isVoter || isLearner) return conf;
      return { voters: conf.voters, learners: withId(conf.learners, member) };
    case "remove":
      if (!isVoter && !isLearner) return conf;
      if (isVoter && conf.voters.length === 1) return conf;
      return { voters: without(conf.voters), learners: without(conf.learners) };
    case "update":
      return conf;
    default:
      return unreachable(change.op);
  }
}

function withId(ids: readonly bigint[], id: bigint): bigint[] {
  assert(!ids.includes(id), "a member is named once");
  return [...ids, id].sort((a, b) => (a < b ? -1 : 1));
}
