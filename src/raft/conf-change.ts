import { assert, unreachable } from "../lib/assert.js";
import { RingdError } from "../lib/errors.js";
import { type ConfState, NONE } from "./entry.js";

/** `update` changes only the shell's data about a member (its URLs), not the voters. */
const OPS = ["addVoter", "addLearner", "remove", "update"] as const;
export type ConfChangeOp = (typeof OPS)[number];

/**
 * A single-server membership change (Raft thesis, 4.1): at most one voter differs, so any majority
 * before and any after share a member. `addVoter` promotes a learner.
 */
export interface ConfChange {
  readonly op: ConfChangeOp;
  readonly member: bigint;
  /** Opaque here; the shell's names, URLs and origin of the request. */
  readonly context: Uint8Array;
}

/** The data of a confChange entry cannot be decoded. */
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
  assert(change.member !== NONE, "a membership change names a member");
  const bytes = new Uint8Array(HEADER_BYTES + change.context.length);
  bytes[0] = OPS.indexOf(change.op);
  new DataView(bytes.buffer).setBigUint64(1, change.member, true);
  bytes.set(change.context, HEADER_BYTES);
  return bytes;
}

/**
 * @returns the change; its context is a view into `bytes`
 * @throws ConfChangeError
 */
export function decodeConfChange(bytes: Uint8Array): ConfChange {
  if (bytes.length < HEADER_BYTES) {
    throw new ConfChangeError(`Cannot read a membership change of ${bytes.length} bytes`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const op = OPS[view.getUint8(0)];
  if (op === undefined) {
    throw new ConfChangeError(
      `Cannot read a membership change: unknown operation ${view.getUint8(0)}`,
    );
  }
  const member = view.getBigUint64(1, true);
  if (member === NONE) throw new ConfChangeError("Cannot read a membership change: member id is 0");
  return { op, member, context: bytes.subarray(HEADER_BYTES) };
}

/**
 * The membership after `change`. Returns `conf` itself for changes without effect (adding a voter
 * twice, removing a non-member) and for forbidden ones: demoting a voter to learner, and removing
 * the last voter, after which nothing could be committed.
 */
export function nextConf(conf: ConfState, change: ConfChange): ConfState {
  const { member } = change;
  const isVoter = conf.voters.includes(member);
  const isLearner = conf.learners.includes(member);
  assert(!isVoter || !isLearner, "a member is either a voter or a learner");
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
