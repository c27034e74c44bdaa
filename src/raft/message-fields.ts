import { assert } from "../lib/assert.js";
import type { ConfState, Entry, SnapshotMeta } from "./entry.js";
import type { Append, ForwardedProposal, NumberedProposal } from "./message.js";
import { MessageError, type Reader, type Writer } from "./message-bytes.js";

/**
 * How one field of a message stands on the wire: its size, its way out and its way in, of which
 * message-codec.ts makes the layouts of messages. Integers are little-endian.
 */
export interface Field<V> {
  /** Bytes of an empty list, or of any other value. */
  readonly bytes: number;
  /** What the items of a list add to that. */
  itemBytes?(value: V): number;
  write(out: Writer, value: V): void;
  /**
   * @param before the message as far as it was read
   * @throws MessageError
   */
  read(input: Reader, before: object): V;
}

/** u64, below 2^53: an index, term or number. */
export const NUMBER: Field<number> = {
  bytes: 8,
  write: (out, value) => out.number(value),
  read: (input) => input.number(),
};

/** u64, not 0: a member. */
export const ID: Field<bigint> = {
  bytes: 8,
  write: (out, value) => out.id(value),
  read: (input) => input.id(),
};

/** A byte, 0 or 1. */
export const FLAG: Field<boolean> = {
  bytes: 1,
  write: (out, value) => out.flag(value),
  read: (input) => input.flag(),
};

const PROPOSAL_HEADER_BYTES = 5;

/** count u32, count x (type u8, length u32, data) */
export const PROPOSALS: Field<readonly ForwardedProposal[]> = {
  bytes: 4,
  itemBytes: (proposals) => dataBytes(proposals, PROPOSAL_HEADER_BYTES),
  write: (out, proposals) => {
    out.u32(proposals.length);
    for (const proposal of proposals) out.proposal(proposal);
  },
  read: (input) => {
    const proposals: ForwardedProposal[] = [];
    for (let left = input.count(PROPOSAL_HEADER_BYTES); left > 0; left--) {
      proposals.push(input.proposal());
    }
    return proposals;
  },
};

const NUMBERED_HEADER_BYTES = 8 + PROPOSAL_HEADER_BYTES;

/** count u32, count x (number u64, type u8, length u32, data) */
export const NUMBERED_PROPOSALS: Field<readonly NumberedProposal[]> = {
  bytes: 4,
  itemBytes: (proposals) => dataBytes(proposals, NUMBERED_HEADER_BYTES),
  write: (out, proposals) => {
    out.u32(proposals.length);
    for (const proposal of proposals) {
      out.number(proposal.number);
      out.proposal(proposal);
    }
  },
  read: (input) => {
    const proposals: NumberedProposal[] = [];
    for (let left = input.count(NUMBERED_HEADER_BYTES); left > 0; left--) {
      const number = input.number();
      const { type, data } = input.proposal();
      proposals.push({ number, type, data });
    }
    return proposals;
  },
};

const ENTRY_HEADER_BYTES = 8 + PROPOSAL_HEADER_BYTES;

/**
 * count u32, count x (term u64, type u8, length u32, data)
 *
 * An entry's index is not sent: it follows from `prevIndex`. Terms must not decrease from entry to
 * entry, nor pass the leader's.
 */
export const ENTRIES: Field<readonly Entry[]> = {
  bytes: 4,
  itemBytes: (entries) => dataBytes(entries, ENTRY_HEADER_BYTES),
  write: (out, entries) => {
    out.u32(entries.length);
    let index = entries[0]?.index ?? 0;
    for (const entry of entries) {
      assert(entry.index === index++, "entries are consecutive, as no index is sent");
      out.number(entry.term);
      out.proposal(entry);
    }
  },
  read: (input, before) => {
    const { prevIndex, prevTerm, term: termMax } = before as Omit<Append, "entries">;
    const entries: Entry[] = [];
    const count = input.count(ENTRY_HEADER_BYTES);
    let last = prevTerm;
    for (let i = 0; i < count; i++) {
      const term = input.number();
      if (term < last || term > termMax) {
        throw new MessageError(`Cannot read an append: term ${term} after ${last} of ${termMax}`);
      }
      last = term;
      const { type, data } = input.proposal();
      entries.push({ index: prevIndex + 1 + i, term, type, data });
    }
    return entries;
  },
};

/** index u64, term u64, voters, learners: each count u32, count x id */
export const SNAPSHOT_META: Field<SnapshotMeta> = {
  bytes: 24,
  itemBytes: ({ conf }) => 8 * (conf.voters.length + conf.learners.length),
  write: (out, { index, term, conf }) => {
    out.number(index);
    out.number(term);
    out.ids(conf.voters);
    out.ids(conf.learners);
  },
  read: (input) => {
    const index = input.number();
    const term = input.number();
    return { index, term, conf: readConf(input) };
  },
};

function readConf(input: Reader): ConfState {
  const voters = input.ids();
  const learners = input.ids();
  if (new Set([...voters, ...learners]).size !== voters.length + learners.length) {
    throw new MessageError("Cannot read a snapshot: a member is named twice");
  }
  return { voters, learners };
}

function dataBytes(items: readonly { readonly data: Uint8Array }[], headerBytes: number): number {
  let bytes = items.length * headerBytes;
  for (const { data } of items) bytes += data.length;
  return bytes;
}
