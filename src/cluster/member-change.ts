import { RingdError } from "../lib/errors.js";

/**
 * A membership change in a log entry. A member is added as a learner and promoted once it has
 * caught up, which clients do not see; `addLearner` adds one that a client has to promote.
 */
export type MemberChange =
  | {
      readonly kind: "add" | "addLearner";
      readonly id: bigint;
      readonly peerUrls: readonly string[];
    }
  | { readonly kind: "remove"; readonly id: bigint }
  | { readonly kind: "promote"; readonly id: bigint }
  | {
      readonly kind: "update";
      readonly id: bigint;
      readonly peerUrls: readonly string[];
    };

/**
 * The proposing member and its number for the change, by which it finds the client to respond to.
 */
export interface ChangeOrigin {
  /** 0 if no client is waiting. */
  readonly memberId: bigint;
  /** A safe integer; 0 if and only if `memberId` is 0. */
  readonly number: number;
}

export const NO_ORIGIN: ChangeOrigin = { memberId: 0n, number: 0 };

/** A change decoded from a log entry. */
export type CarriedConfChange = MemberChange & { readonly origin: ChangeOrigin };

/** Limits of one change; decoders reject more. */
export const PEER_URLS_MAX = 1024;
export const PEER_URL_BYTES_MAX = 65_535;

const VERSION = 1;
const HEADER_BYTES = 28;
const KIND_NUMBERS = { add: 1, remove: 2, update: 3, promote: 4, addLearner: 5 } as const;

/** Bytes cannot be decoded as a membership change. */
export class MemberChangeError extends RingdError {
  override readonly name = "ConfChangeError";
  readonly code = "CONF_CHANGE_DAMAGED";

  constructor(reason: string) {
    super(`Cannot read conf change: ${reason}`);
  }
}

/**
 * Payload of a conf-change entry. Integers are little-endian.
 *
 *   offset  bytes  field
 *   0       1      version   1
 *   1       1      kind      1 add, 2 remove, 3 update, 4 promote, 5 addLearner
 *   2       2      count     of peer URLs; 0 for remove and promote
 *   4       8      id        of the member
 *   12      8      origin    id of the member that proposed it, or 0
 *   20      8      number    that member's number for the proposal, f64; 0 without an origin
 *   28      -      count times: u16 length, then that many bytes of UTF-8
 *
 * The caller has checked `PEER_URLS_MAX` and `PEER_URL_BYTES_MAX`.
 */
export function encodeMemberChange(change: MemberChange, origin: ChangeOrigin = NO_ORIGIN): Buffer {
  const peerUrls = "peerUrls" in change ? change.peerUrls : [];
  const urls = peerUrls.map((url) => Buffer.from(url));
  const bytes = urls.reduce((sum, url) => sum + 2 + url.length, HEADER_BYTES);
  const out = Buffer.alloc(bytes);
  out.writeUInt8(VERSION, 0);
  out.writeUInt8(KIND_NUMBERS[change.kind], 1);
  out.writeUInt16LE(urls.length, 2);
  out.writeBigUInt64LE(change.id, 4);
  out.writeBigUInt64LE(origin.memberId, 12);
  out.writeDoubleLE(origin.number, 20);
  let at = HEADER_BYTES;
  for (const url of urls) {
    out.writeUInt16LE(url.length, at);
    at += 2 + url.copy(out, at + 2);
  }
  return out;
}

/** @throws MemberChangeError for anything `encodeMemberChange` does not write */
export function decodeMemberChange(data: Uint8Array): CarriedConfChange {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  if (bytes.length < HEADER_BYTES) throw new MemberChangeError("too short for its header");
  if (bytes.readUInt8(0) !== VERSION) throw new MemberChangeError("unknown version");
  const kind = bytes.readUInt8(1);
  const id = bytes.readBigUInt64LE(4);
  const origin = readOrigin(bytes);
  const peerUrls = readPeerUrls(bytes);
  switch (kind) {
    case KIND_NUMBERS.add:
      return { kind: "add", id, peerUrls, origin };
    case KIND_NUMBERS.addLearner:
      return { kind: "addLearner", id, peerUrls, origin };
    case KIND_NUMBERS.update:
      return { kind: "update", id, peerUrls, origin };
    case KIND_NUMBERS.remove:
      if (peerUrls.length > 0) throw new MemberChangeError("a removal with peer URLs");
      return { kind: "remove", id, origin };
    case KIND_NUMBERS.promote:
      if (peerUrls.length > 0) throw new MemberChangeError("a promotion with peer URLs");
      return { kind: "promote", id, origin };
    default:
      throw new MemberChangeError("unknown kind");
  }
}

function readOrigin(bytes: Buffer): ChangeOrigin {
  const memberId = bytes.readBigUInt64LE(12);
  const number = bytes.readDoubleLE(20);
  if (!Number.isSafeInteger(number) || number < 0 || Object.is(number, -0)) {
    throw new MemberChangeError("invalid proposal number");
  }
  if ((memberId === 0n) !== (number === 0))
    throw new MemberChangeError("an origin needs both id and number");
  return { memberId, number };
}

function readPeerUrls(bytes: Buffer): string[] {
  const count = bytes.readUInt16LE(2);
  if (count > PEER_URLS_MAX) throw new MemberChangeError("too many peer URLs");
  const peerUrls: string[] = [];
  let at = HEADER_BYTES;
  for (let i = 0; i < count; i++) {
    if (at + 2 > bytes.length) throw new MemberChangeError("a peer URL is truncated");
    const end = at + 2 + bytes.readUInt16LE(at);
    if (end > bytes.length) throw new MemberChangeError("a peer URL is truncated");
    const sent = bytes.subarray(at + 2, end);
    const url = sent.toString("utf8");
    if (!Buffer.from(url).equals(sent)) throw new MemberChangeError("a peer URL is not UTF-8");
    peerUrls.push(url);
    at = end;
  }
  if (at !== bytes.length) throw new MemberChangeError("bytes after the last peer URL");
  return peerUrls;
}
