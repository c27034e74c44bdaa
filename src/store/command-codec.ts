import { assert } from "../lib/assert.js";
import { RingdError } from "../lib/errors.js";
import { writeLatin1 } from "../lib/latin1.js";
import { type Command, CommandOp } from "./command.js";

/**
 *   offset  bytes  command, integers little-endian
 *   0       1      op, CommandOp
 *   1       1      flags: 1 directory, 2 recursive, 4 refresh
 *   2       2      zero
 *   4       4      path bytes
 *   8       4      value bytes
 *   12      4      prevValue bytes
 *   16      8      expiration, Unix milliseconds, f64; 0: permanent
 *   24      8      time, Unix milliseconds, f64
 *   32      8      prevIndex, u64
 *   40      -      path, value, prevValue
 */
const HEAD_BYTES = 40;
const DIRECTORY_FLAG = 1;
const RECURSIVE_FLAG = 2;
const REFRESH_FLAG = 4;
const OP_MAX = Math.max(...Object.values(CommandOp));

/** Bytes of a log or a peer cannot be decoded as a command. */
export class CommandDecodeError extends RingdError {
  override readonly name = "CommandDecodeError";
  readonly code = "COMMAND_MALFORMED";

  constructor(why: string) {
    super(`Cannot decode command: ${why}`);
  }
}

/** Exact size of the encoded command. */
export function encodedBytes(command: Command): number {
  return HEAD_BYTES + command.path.length + command.value.length + command.prevValue.length;
}

/** @returns the number of bytes written */
export function encodeCommand(command: Command, into: Buffer, view: DataView, at: number): number {
  const bytes = encodedBytes(command);
  // Writes silently end at the end of the buffer.
  assert(at + bytes <= into.length, "the buffer has room for the command");
  view.setUint8(at, command.op);
  view.setUint8(
    at + 1,
    (command.isDirectory ? DIRECTORY_FLAG : 0) |
      (command.isRecursive ? RECURSIVE_FLAG : 0) |
      (command.isRefresh ? REFRESH_FLAG : 0),
  );
  view.setUint16(at + 2, 0, true);
  view.setUint32(at + 4, command.path.length, true);
  view.setUint32(at + 8, command.value.length, true);
  view.setUint32(at + 12, command.prevValue.length, true);
  view.setFloat64(at + 16, command.expirationMs, true);
  view.setFloat64(at + 24, command.timeMs, true);
  writeUint64(view, at + 32, command.prevIndex);
  let end = at + HEAD_BYTES;
  end += writeLatin1(into, command.path, end);
  end += writeLatin1(into, command.value, end);
  end += writeLatin1(into, command.prevValue, end);
  assert(end - at === bytes, "a command has the size that was computed");
  return bytes;
}

function writeUint64(view: DataView, at: number, value: number | bigint): void {
  if (typeof value === "bigint") {
    view.setBigUint64(at, value, true);
    return;
  }
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 2 ** 32), true);
}

/** A number, or a bigint from 2^53 on, where numbers round. */
function readUint64(bytes: Buffer, at: number): number | bigint {
  const high = bytes.readUInt32LE(at + 4);
  if (high >= 2 ** 21) return bytes.readBigUInt64LE(at);
  return high * 2 ** 32 + bytes.readUInt32LE(at);
}

/** @throws CommandDecodeError */
export function decodeCommand(data: Uint8Array, at = 0): Command {
  if (data.length - at < HEAD_BYTES) throw new CommandDecodeError("shorter than its header");
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
  const op = bytes.readUInt8(at);
  if (op < 1 || op > OP_MAX) throw new CommandDecodeError(`unknown operation ${op}`);
  const flags = bytes.readUInt8(at + 1);
  const pathEnd = at + HEAD_BYTES + bytes.readUInt32LE(at + 4);
  const valueEnd = pathEnd + bytes.readUInt32LE(at + 8);
  const end = valueEnd + bytes.readUInt32LE(at + 12);
  if (end !== data.length) throw new CommandDecodeError("lengths do not add up");
  return {
    op: op as CommandOp,
    path: bytes.latin1Slice(at + HEAD_BYTES, pathEnd),
    value: bytes.latin1Slice(pathEnd, valueEnd),
    isDirectory: (flags & DIRECTORY_FLAG) !== 0,
    isRecursive: (flags & RECURSIVE_FLAG) !== 0,
    isRefresh: (flags & REFRESH_FLAG) !== 0,
    expirationMs: bytes.readDoubleLE(at + 16),
    prevValue: bytes.latin1Slice(valueEnd, end),
    prevIndex: readUint64(bytes, at + 32),
    timeMs: bytes.readDoubleLE(at + 24),
  };
}
