import type { ConfState } from "../raft/entry.js";
import { formatId } from "./ids.js";

/**
 * Encodes the membership for a snapshot's metadata. Ids are text, as JSON has no 64-bit integers.
 */
export function encodeConf({ voters, learners }: ConfState): Buffer {
  const content = { voters: voters.map(formatId), learners: learners.map(formatId) };
  return Buffer.from(JSON.stringify(content));
}

/** @throws SyntaxError for bytes not written by encodeConf */
export function decodeConf(bytes: Buffer): ConfState {
  const { voters, learners } = JSON.parse(bytes.toString()) as Record<string, string[]>;
  const ids = (texts: readonly string[] = []) => texts.map((id) => BigInt(`0x${id}`));
  return { voters: ids(voters), learners: ids(learners) };
}
