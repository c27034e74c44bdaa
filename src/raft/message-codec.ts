import { assert } from "../lib/assert.js";
import type { Message } from "./message.js";
import { MessageError, Reader, Writer } from "./message-bytes.js";
import {
  ENTRIES,
  type Field,
  FLAG,
  ID,
  NUMBER,
  NUMBERED_PROPOSALS,
  PROPOSALS,
  SNAPSHOT_META,
} from "./message-fields.js";

type Type = Message["type"];
type EnvelopeField = "type" | "to" | "from" | "term";
type Body<T extends Type> = Omit<Extract<Message, { type: T }>, EnvelopeField>;
type Layouts = {
  readonly [T in Type]: { readonly [Name in keyof Body<T>]-?: Field<Body<T>[Name]> };
};

/**
 * A message between members, without the frame around it.
 *
 *   offset  bytes  field
 *   0       1      type   its place in this table
 *   1       8      to     ID
 *   9       8      from   ID
 *   17      8      term   NUMBER
 *   25      n      the fields of the type in the order of the table, nothing after them
 *
 * Members of other versions know this order, of types and of fields: a new one comes last.
 */
const LAYOUTS: Layouts = {
  preVote: { lastIndex: NUMBER, lastTerm: NUMBER },
  preVoteReply: { granted: FLAG, commit: NUMBER, commitTerm: NUMBER },
  vote: { lastIndex: NUMBER, lastTerm: NUMBER, transfer: FLAG },
  voteReply: { granted: FLAG, commit: NUMBER, commitTerm: NUMBER },
  append: { prevIndex: NUMBER, prevTerm: NUMBER, commit: NUMBER, entries: ENTRIES },
  appendReply: { index: NUMBER },
  appendReject: { rejectedIndex: NUMBER, hintIndex: NUMBER, hintTerm: NUMBER },
  heartbeat: { commit: NUMBER, round: NUMBER },
  heartbeatReply: { round: NUMBER },
  snapshot: { meta: SNAPSHOT_META },
  timeoutNow: {},
  forward: { proposals: PROPOSALS },
  readIndex: { request: NUMBER },
  readIndexReply: { request: NUMBER, index: NUMBER },
  transfer: { target: ID },
  forwardOnce: { life: NUMBER, oldest: NUMBER, proposals: NUMBERED_PROPOSALS },
};

/** Independent of terms, sent with term 0; all other messages carry a term. */
const TERMLESS: ReadonlySet<Type> = new Set(["forward", "readIndex", "readIndexReply", "transfer"]);

const ENVELOPE_BYTES = 25;

/** A line of the table, as it is worked through. */
interface Layout {
  readonly type: Type;
  readonly number: number;
  readonly isTermless: boolean;
  readonly names: readonly string[];
  readonly fields: readonly Field<unknown>[];
  /** Of the message, the items of its list left out. */
  readonly bytes: number;
  readonly list: List | undefined;
}

/** The field that has items. */
interface List {
  readonly name: string;
  readonly itemBytes: (value: unknown) => number;
}

function toLayout(type: Type, number: number): Layout {
  const line = Object.entries<Field<unknown>>(LAYOUTS[type]);
  const lists = line.flatMap(([name, { itemBytes }]) =>
    itemBytes === undefined ? [] : [{ name, itemBytes }],
  );
  assert(lists.length <= 1, "a message has one list at most");
  return {
    type,
    number,
    isTermless: TERMLESS.has(type),
    names: line.map(([name]) => name),
    fields: line.map(([, field]) => field),
    bytes: line.reduce((sum, [, { bytes }]) => sum + bytes, ENVELOPE_BYTES),
    list: lists[0],
  };
}

const BY_NUMBER: readonly Layout[] = (Object.keys(LAYOUTS) as Type[]).map(toLayout);
assert(BY_NUMBER.length <= 256, "a message's type is one byte");
const BY_TYPE: ReadonlyMap<Type, Layout> = new Map(
  BY_NUMBER.map((layout) => [layout.type, layout]),
);

function layoutOf(message: Message): Layout {
  const layout = BY_TYPE.get(message.type);
  assert(layout !== undefined, "every type of message has a layout");
  return layout;
}

/** A message by the names of its fields. */
type Fields = Record<string, unknown>;

/** The size of the encoded message. */
export function messageBytes(message: Message): number {
  const { bytes, list } = layoutOf(message);
  if (list === undefined) return bytes;
  return bytes + list.itemBytes((message as unknown as Fields)[list.name]);
}

/** Encodes into a new array. */
export function encodeMessage(message: Message): Uint8Array {
  const bytes = new Uint8Array(messageBytes(message));
  const end = encodeMessageInto(message, bytes, new DataView(bytes.buffer), 0);
  assert(end === bytes.length, "a message has the size that was announced");
  return bytes;
}

/**
 * Writes a message in place, `messageBytes(message)` long.
 *
 * @param view over `bytes`
 * @param at where it begins
 * @returns where it ends
 */
export function encodeMessageInto(
  message: Message,
  bytes: Uint8Array,
  view: DataView,
  at: number,
): number {
  const { number, names, fields } = layoutOf(message);
  const out = new Writer(bytes, view, at);
  out.u8(number);
  out.id(message.to);
  out.id(message.from);
  out.number(message.term);
  for (let i = 0; i < names.length; i++) {
    const value = (message as unknown as Fields)[names[i] as string];
    const field = fields[i] as Field<unknown>;
    // Most fields are numbers, and this call is inlined.
    if (field === NUMBER) out.number(value as number);
    else field.write(out, value);
  }
  return out.at;
}

/**
 * @param bytes one whole message; the entries' data are views into it, so it must not be reused
 * @throws MessageError
 */
export function decodeMessage(bytes: Uint8Array): Message {
  const input = new Reader(bytes);
  const number = input.u8();
  const layout = BY_NUMBER[number];
  if (layout === undefined) throw new MessageError(`Cannot read a message: no type ${number}`);
  const { type, isTermless, names, fields } = layout;
  const to = input.id();
  const from = input.id();
  const term = input.number();
  if ((term === 0) !== isTermless) {
    throw new MessageError(`Cannot read a message: ${type} with term ${term}`);
  }
  const message: Fields = { type, to, from, term };
  for (let i = 0; i < names.length; i++) {
    const field = fields[i] as Field<unknown>;
    message[names[i] as string] = field === NUMBER ? input.number() : field.read(input, message);
  }
  input.end();
  return message as unknown as Message;
}

/** Type, sender and receiver, for a transport that does not decode the rest. */
export interface MessageAddress {
  readonly type: Message["type"];
  readonly to: bigint;
  readonly from: bigint;
}

/**
 * Reads the beginning of an encoded message.
 *
 * @returns undefined if the bytes cannot be a message
 */
export function readMessageAddress(bytes: Uint8Array): MessageAddress | undefined {
  if (bytes.length < ENVELOPE_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, ENVELOPE_BYTES);
  const layout = BY_NUMBER[view.getUint8(0)];
  if (layout === undefined) return undefined;
  const { type } = layout;
  return { type, to: view.getBigUint64(1, true), from: view.getBigUint64(9, true) };
}
