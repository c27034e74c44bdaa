import { assert, unreachable } from "../lib/assert.js";
import type { ConfState, Entry } from "./entry.js";
import type { ForwardedProposal, Message, NumberedProposal } from "./message.js";
import { MessageError, Reader, Writer } from "./message-bytes.js";

/**
 * A message between members, without the frame around it. Integers are little-endian; an index,
 * term or number is a u64 below 2^53, an id a u64 that is not 0.
 *
 *   offset  bytes  field
 *   0       1      type   position in TYPES
 *   1       8      to
 *   9       8      from
 *   17      8      term
 *   25      n      the rest by type, nothing behind it:
 *
 *   preVote                       lastIndex u64, lastTerm u64
 *   vote                          lastIndex u64, lastTerm u64, transfer flag
 *   preVoteReply, voteReply       granted flag, commit u64, commitTerm u64
 *   append                        prevIndex u64, prevTerm u64, commit u64, count u32,
 *                                 count x (term u64, type u8, length u32, data)
 *   appendReply                   index u64
 *   appendReject                  rejectedIndex u64, hintIndex u64, hintTerm u64
 *   heartbeat                     commit u64, round u64
 *   heartbeatReply                round u64
 *   snapshot                      index u64, term u64, voters, learners: each count u32, count x id
 *   timeoutNow                    -
 *   forward                       count u32, count x (type u8, length u32, data)
 *   readIndex                     request u64
 *   readIndexReply                request u64, index u64
 *   transfer                      target id
 *   forwardOnce                   life u64, oldest u64, count u32,
 *                                 count x (number u64, type u8, length u32, data)
 *
 * An entry's index is not sent: it follows from `prevIndex`. A flag is a byte, 0 or 1.
 */
const TYPES = [
  "preVote",
  "preVoteReply",
  "vote",
  "voteReply",
  "append",
  "appendReply",
  "appendReject",
  "heartbeat",
  "heartbeatReply",
  "snapshot",
  "timeoutNow",
  "forward",
  "readIndex",
  "readIndexReply",
  "transfer",
  "forwardOnce",
] as const satisfies readonly Message["type"][];

const ENVELOPE_BYTES = 25;
const ENTRY_HEADER_BYTES = 13;
const PROPOSAL_HEADER_BYTES = 5;
const NUMBERED_HEADER_BYTES = 13;

/** These may leave whatever the term of the members is; all other messages carry one. */
const TERMLESS: ReadonlySet<Message["type"]> = new Set([
  "forward",
  "readIndex",
  "readIndexReply",
  "transfer",
]);

/** The size of the encoded message. */
export function messageBytes(message: Message): number {
  switch (message.type) {
    case "preVote":
    case "heartbeat":
    case "readIndexReply":
      return ENVELOPE_BYTES + 16;
    case "vote":
      return ENVELOPE_BYTES + 17;
    case "preVoteReply":
    case "voteReply":
      return ENVELOPE_BYTES + 17;
    case "append":
      return ENVELOPE_BYTES + 28 + dataBytes(message.entries, ENTRY_HEADER_BYTES);
    case "appendReject":
      return ENVELOPE_BYTES + 24;
    case "appendReply":
    case "heartbeatReply":
    case "readIndex":
    case "transfer":
      return ENVELOPE_BYTES + 8;
    case "snapshot": {
      const { voters, learners } = message.meta.conf;
      return ENVELOPE_BYTES + 24 + 8 * (voters.length + learners.length);
    }
    case "timeoutNow":
      return ENVELOPE_BYTES;
    case "forward":
      return ENVELOPE_BYTES + 4 + dataBytes(message.proposals, PROPOSAL_HEADER_BYTES);
    case "forwardOnce":
      return ENVELOPE_BYTES + 20 + dataBytes(message.proposals, NUMBERED_HEADER_BYTES);
    default:
      return unreachable(message);
  }
}

function dataBytes(items: readonly { readonly data: Uint8Array }[], headerBytes: number): number {
  let bytes = items.length * headerBytes;
  for (const { data } of items) bytes += data.length;
  return bytes;
}

/** Into memory of its own. */
export function encodeMessage(message: Message): Uint8Array {
  const bytes = new Uint8Array(messageBytes(message));
  encodeMessageInto(message, bytes);
  return bytes;
}

/** @param target exactly `messageBytes(message)` long */
export function encodeMessageInto(message: Message, target: Uint8Array): void {
  const out = new Writer(target);
  out.u8(TYPES.indexOf(message.type));
  out.id(message.to);
  out.id(message.from);
  out.number(message.term);
  writeBody(out, message);
  assert(out.at === target.length, "a message has the size that was announced");
}

function writeBody(out: Writer, message: Message): void {
  switch (message.type) {
    case "preVote":
    case "vote":
      out.number(message.lastIndex);
      out.number(message.lastTerm);
      if (message.type === "vote") out.flag(message.transfer);
      return;
    case "preVoteReply":
    case "voteReply":
      out.flag(message.granted);
      out.number(message.commit);
      out.number(message.commitTerm);
      return;
    case "append":
      out.number(message.prevIndex);
      out.number(message.prevTerm);
      out.number(message.commit);
      out.u32(message.entries.length);
      for (const entry of message.entries) {
        out.number(entry.term);
        out.proposal(entry);
      }
      return;
    case "appendReply":
      out.number(message.index);
      return;
    case "appendReject":
      out.number(message.rejectedIndex);
      out.number(message.hintIndex);
      out.number(message.hintTerm);
      return;
    case "heartbeat":
      out.number(message.commit);
      out.number(message.round);
      return;
    case "heartbeatReply":
      out.number(message.round);
      return;
    case "snapshot":
      out.number(message.meta.index);
      out.number(message.meta.term);
      out.ids(message.meta.conf.voters);
      out.ids(message.meta.conf.learners);
      return;
    case "timeoutNow":
      return;
    case "forward":
      out.u32(message.proposals.length);
      for (const proposal of message.proposals) out.proposal(proposal);
      return;
    case "forwardOnce":
      out.number(message.life);
      out.number(message.oldest);
      out.u32(message.proposals.length);
      for (const proposal of message.proposals) {
        out.number(proposal.number);
        out.proposal(proposal);
      }
      return;
    case "readIndex":
      out.number(message.request);
      return;
    case "readIndexReply":
      out.number(message.request);
      out.number(message.index);
      return;
    case "transfer":
      out.id(message.target);
      return;
    default:
      unreachable(message);
  }
}

/**
 * @param bytes one whole message; the entries' data are views into it, so it must not be reused
 * @throws MessageError
 */
export function decodeMessage(bytes: Uint8Array): Message {
  const input = new Reader(bytes);
  const number = input.u8();
  const type = TYPES[number];
  if (type === undefined) throw new MessageError(`Cannot read a message: no type ${number}`);
  const to = input.id();
  const from = input.id();
  const term = input.number();
  if ((term === 0) !== TERMLESS.has(type)) {
    throw new MessageError(`Cannot read a message: ${type} with term ${term}`);
  }
  const message = readBody(input, type, { to, from, term });
  input.end();
  return message;
}

/** Who sends what to whom, for a carrier that does not look further. */
export interface MessageAddress {
  readonly type: Message["type"];
  readonly to: bigint;
  readonly from: bigint;
}

/**
 * Reads the beginning of an encoded message.
 *
 * @returns undefined for what cannot be a message
 */
export function readMessageAddress(bytes: Uint8Array): MessageAddress | undefined {
  if (bytes.length < ENVELOPE_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, ENVELOPE_BYTES);
  const type = TYPES[view.getUint8(0)];
  if (type === undefined) return undefined;
  return { type, to: view.getBigUint64(1, true), from: view.getBigUint64(9, true) };
}

interface Envelope {
  readonly to: bigint;
  readonly from: bigint;
  readonly term: number;
}

function readBody(input: Reader, type: Message["type"], envelope: Envelope): Message {
  switch (type) {
    case "preVote":
      return { type, ...envelope, lastIndex: input.number(), lastTerm: input.number() };
    case "vote": {
      const last = { lastIndex: input.number(), lastTerm: input.number() };
      return { type, ...envelope, ...last, transfer: input.flag() };
    }
    case "preVoteReply":
    case "voteReply": {
      const granted = input.flag();
      const commit = input.number();
      return { type, ...envelope, granted, commit, commitTerm: input.number() };
    }
    case "append": {
      const prevIndex = input.number();
      const prevTerm = input.number();
      const commit = input.number();
      const entries = readEntries(input, prevIndex, prevTerm, envelope.term);
      return { type, ...envelope, prevIndex, prevTerm, commit, entries };
    }
    case "appendReply":
      return { type, ...envelope, index: input.number() };
    case "appendReject": {
      const rejectedIndex = input.number();
      const hintIndex = input.number();
      return { type, ...envelope, rejectedIndex, hintIndex, hintTerm: input.number() };
    }
    case "heartbeat":
      return { type, ...envelope, commit: input.number(), round: input.number() };
    case "heartbeatReply":
      return { type, ...envelope, round: input.number() };
    case "snapshot": {
      const index = input.number();
      const term = input.number();
      return { type, ...envelope, meta: { index, term, conf: readConf(input) } };
    }
    case "timeoutNow":
      return { type, ...envelope };
    case "forward": {
      const proposals: ForwardedProposal[] = [];
      const count = input.count(PROPOSAL_HEADER_BYTES);
      for (let i = 0; i < count; i++) proposals.push(input.proposal());
      return { type, ...envelope, proposals };
    }
    case "forwardOnce": {
      const life = input.number();
      const oldest = input.number();
      const proposals: NumberedProposal[] = [];
      const count = input.count(NUMBERED_HEADER_BYTES);
      for (let i = 0; i < count; i++)
        proposals.push({ number: input.number(), ...input.proposal() });
      return { type, ...envelope, life, oldest, proposals };
    }
    case "readIndex":
      return { type, ...envelope, request: input.number() };
    case "readIndexReply":
      return { type, ...envelope, request: input.number(), index: input.number() };
    case "transfer":
      return { type, ...envelope, target: input.id() };
    default:
      return unreachable(type);
  }
}

/** Terms must not decrease from entry to entry, nor pass the leader's. */
function readEntries(input: Reader, prevIndex: number, prevTerm: number, termMax: number): Entry[] {
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
}

function readConf(input: Reader): ConfState {
  const voters = input.ids();
  const learners = input.ids();
  if (new Set([...voters, ...learners]).size !== voters.length + learners.length) {
    throw new MessageError("Cannot read a snapshot: a member is named twice");
  }
  return { voters, learners };
}
