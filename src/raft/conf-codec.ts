import type { ConfState } from "./entry.js";

/** Who replicates, as a snapshot file's metadata: `{"voters":["a1"],"learners":[]}`, hexadecimal. */
export function encodeConf({ voters, learners }: ConfState): Buffer {
  const hex = (ids: readonly bigint[]) => ids.map((id) => id.toString(16));
  return Buffer.from(JSON.stringify({ voters: hex(voters), learners: hex(learners) }));
}

/** @throws SyntaxError or TypeError for bytes that encodeConf did not make */
export function decodeConf(bytes: Uint8Array): ConfState {
  const { voters, learners } = JSON.parse(Buffer.from(bytes).toString()) as Record<
    keyof ConfState,
    string[]
  >;
  const ids = (texts: readonly string[]) => texts.map((id) => BigInt(`0x${id}`));
  return { voters: ids(voters), learners: ids(learners) };
}
