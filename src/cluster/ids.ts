import { compareBytes } from "../go/url-list.js";
import { assert } from "../lib/assert.js";

/** SHA-1, 20 bytes. Passed in, as this folder imports no library. */
export type Sha1 = (bytes: Uint8Array) => Uint8Array;

/** Ids have 64 bits; 0 means none. Text form: lower-case hex without leading zeros. */
export function formatId(id: bigint): string {
  return id.toString(16);
}

/**
 * Parses hex in any case, with any leading zeros; undefined for other text or more than 64 bits.
 */
export function parseId(text: string): bigint | undefined {
  if (!/^[0-9a-fA-F]+$/.test(text)) return undefined;
  const digits = text.replace(/^0+/, "");
  if (digits.length > 16) return undefined;
  return BigInt(`0x0${digits}`);
}

/**
 * A member's id: the first eight bytes of SHA-1(sorted, joined peer URLs, then `salt`).
 *
 * @param salt the cluster token at bootstrap; decimal Unix seconds for a member added at run time
 */
export function memberId(peerUrls: readonly string[], salt: string, sha1: Sha1): bigint {
  const text = [...peerUrls].sort(compareBytes).join("") + salt;
  return firstEightBytes(sha1(Buffer.from(text)));
}

/**
 * A cluster's id: the first eight bytes of SHA-1(the founding members' ids, ascending, big-endian).
 */
export function clusterId(memberIds: readonly bigint[], sha1: Sha1): bigint {
  const bytes = Buffer.alloc(8 * memberIds.length);
  const sorted = [...memberIds].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  for (const [i, id] of sorted.entries()) bytes.writeBigUInt64BE(id, 8 * i);
  return firstEightBytes(sha1(bytes));
}

function firstEightBytes(hash: Uint8Array): bigint {
  assert(hash.length === 20, "a SHA-1 hash has 20 bytes");
  return new DataView(hash.buffer, hash.byteOffset, 8).getBigUint64(0);
}
