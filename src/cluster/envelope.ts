import { assert } from "../lib/assert.js";
import { CommandOp } from "../store/command.js";
import { CommandDecodeError, decodeCommand } from "../store/command-codec.js";
import { NewerFormatError } from "./format.js";

/**
 * Data of a normal log entry. Little-endian.
 *
 *   offset  bytes  field
 *   0       8      id of the member that proposed it
 *   8       8      that member's number for the proposal, f64; from format 2 on negative
 *   16      n      format 1: encoded command of the v2 store
 *
 * From format 2 on (a negative number says so: those of format 1 are above 0):
 *
 *   16      1      128 + format
 *   17      1      state machine, MachineId
 *   18      2      zero
 *   20      n      encoded command of that machine
 */
export const ENVELOPE_1_BYTES = 16;
export const ENVELOPE_2_BYTES = 20;
const FORMAT_AT = 16;
const MACHINE_AT = 17;
/** Above all operations of format 1, so a build that reads only format 1 rejects the entry. */
const FORMAT_BASE = 128;
const FORMAT = 2;

/** State machines on the log. The numbers are on disk and on the wire: never reuse one. */
export const MachineId = { v2Store: 0 } as const;
export type MachineId = (typeof MachineId)[keyof typeof MachineId];
const KNOWN_MACHINES: readonly number[] = Object.values(MachineId);

/** Whether this build has the machine; newer builds may have more. */
export function isKnownMachine(machine: number): machine is MachineId {
  return KNOWN_MACHINES.includes(machine);
}

/** @param format 1 or 2 */
export function envelopeBytes(format: number): number {
  return format === 1 ? ENVELOPE_1_BYTES : ENVELOPE_2_BYTES;
}

export function writeEnvelope(
  view: DataView,
  at: number,
  format: number,
  machine: MachineId,
  origin: bigint,
  number: number,
): void {
  assert(format > 1 || machine === MachineId.v2Store, "format 1 supports only the v2 store");
  view.setBigUint64(at, origin, true);
  if (format === 1) {
    view.setFloat64(at + 8, number, true);
    return;
  }
  view.setFloat64(at + 8, -number, true);
  view.setUint8(at + FORMAT_AT, FORMAT_BASE + FORMAT);
  view.setUint8(at + MACHINE_AT, machine);
  view.setUint16(at + MACHINE_AT + 1, 0, true);
}

export interface Envelope {
  readonly origin: bigint;
  readonly number: number;
  readonly machine: MachineId;
  /** Offset of the machine's command. */
  readonly payloadAt: number;
}

/** @throws NewerFormatError, CommandDecodeError */
export function readEnvelope(data: Uint8Array, newest = FORMAT): Envelope {
  if (data.length < ENVELOPE_2_BYTES) throw new CommandDecodeError("an entry ends in its envelope");
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const origin = view.getBigUint64(0, true);
  const number = view.getFloat64(8, true);
  if (number >= 0) {
    return { origin, number, machine: MachineId.v2Store, payloadAt: ENVELOPE_1_BYTES };
  }
  const format = view.getUint8(FORMAT_AT) - FORMAT_BASE;
  if (format !== FORMAT || newest < FORMAT)
    throw new NewerFormatError("the log", format, "", newest);
  const machine = view.getUint8(MACHINE_AT);
  if (!isKnownMachine(machine)) {
    throw new NewerFormatError(`an entry of state machine ${machine}`, format, "", newest);
  }
  return { origin, number: -number, machine, payloadAt: ENVELOPE_2_BYTES };
}

/** A command of the v2 store in format 2 that raises no level: nearly every entry. */
function isUsual(data: Uint8Array): boolean {
  const isNegative = ((data[ENVELOPE_1_BYTES - 1] as number) & 0x80) !== 0;
  return (
    isNegative &&
    data.length > ENVELOPE_2_BYTES &&
    data[FORMAT_AT] === FORMAT_BASE + FORMAT &&
    data[MACHINE_AT] === MachineId.v2Store &&
    data[ENVELOPE_2_BYTES] !== CommandOp.raise
  );
}

/**
 * Rejects an entry of a recovered log that only a newer ringd reads, before any is applied. Cheap:
 * decodes only commands that raise the level.
 *
 * @param data of a normal entry
 * @throws NewerFormatError
 */
export function checkEntryFormat(data: Uint8Array, newest: number): void {
  if (data.length <= ENVELOPE_1_BYTES || (newest >= FORMAT && isUsual(data))) return;
  const { machine, payloadAt } = readEnvelope(data, newest);
  if (machine !== MachineId.v2Store || data[payloadAt] !== CommandOp.raise) return;
  const { prevIndex, value } = decodeCommand(data, payloadAt);
  if (Number(prevIndex) > newest) {
    throw new NewerFormatError("the log", Number(prevIndex), value, newest);
  }
}
