import type { ConfState } from "../raft/entry.js";
import { formatId } from "./ids.js";

const ID = /^[0-9a-f]{1,16}$/;

/**
 * Encodes the membership for a snapshot's metadata. Ids are text, as JSON has no 64-bit integers.
 */
export function encodeConf({ voters, learners }: ConfState): Buffer {
  const content = { voters: voters.map(formatId), learners: learners.map(formatId) };
  return Buffer.from(JSON.stringify(content));
}

/** @throws SyntaxError for bytes not written by encodeConf */
export function decodeConf(bytes: Buffer): ConfState {
  const content: unknown = JSON.parse(bytes.toString());
  if (typeof content !== "object" || content === null) throw new SyntaxError("not an object");
  const { voters, learners } = content as Record<string, unknown>;
  return { voters: idsOf(voters), learners: idsOf(learners) };
}

function idsOf(texts: unknown = []): bigint[] {
  if (!Array.isArray(texts)) throw new SyntaxError("ids are in an array");
  return texts.map((id) => {
    if (typeof id !== "string" || !ID.test(id))
      throw new SyntaxError("an id has 16 digits at most");
    return BigInt(`0x${id}`);
  });
}
