import type { ConfState } from "../raft/entry.js";
import { formatId } from "./ids.js";

/** The membership as a snapshot's metadata; ids as text, as JSON has no 64-bit numbers. */
export function encodeConf({ voters, learners }: ConfState): Buffer {
  const content = { voters: voters.map(formatId), learners: learners.map(formatId) };
  return Buffer.from(JSON.stringify(content));
}

/** @throws SyntaxError for bytes that encodeConf did not make */
export function decodeConf(bytes: Buffer): ConfState {
  const { voters, learners } = JSON.parse(bytes.toString()) as Record<string, string[]>;
  const ids = (texts: readonly string[] = []) => texts.map((id) => BigInt(`0x${id}`));
  return { voters: ids(voters), learners: ids(learners) };
}
