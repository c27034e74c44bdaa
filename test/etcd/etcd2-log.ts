import { writeFileSync } from "node:fs";
import { crc32c } from "#ringd/storage/crc32c.js";

/** Writes logs as etcd 2.0 to 2.2 did. */

export interface Etcd2Request {
  readonly method: string;
  readonly path: string;
  readonly value?: string;
  readonly prevValue?: string;
  readonly expirationNs?: bigint;
  readonly timeNs?: bigint;
}

const MEMBER = 0x8e9e05c52164694dn;

/**
 * @param others number of other members
 * @param commit index of the hard state; all entries by default
 */
export function writeEtcd2(
  file: string,
  requests: readonly Etcd2Request[],
  others = 0,
  commit = requests.length + others + 1,
): void {
  const records: (readonly [number, Buffer | undefined])[] = [];
  const record = (type: number, data: Buffer | undefined) => records.push([type, data]);
  const entry = (index: number, type: number, data: Buffer) => {
    const head = [uint(1, BigInt(type)), uint(2, 1n), uint(3, BigInt(index))];
    record(2, Buffer.concat([...head, bytes(4, data)]));
  };
  record(4, undefined);
  record(1, Buffer.concat([uint(1, MEMBER), uint(2, 0x1234n)]));
  record(5, Buffer.concat([uint(1, 0n), uint(2, 0n)]));
  for (let i = 0; i <= others; i++) {
    const id = MEMBER + BigInt(i);
    const context = { id: id.toString(), peerURLs: [`http://localhost:${2380 + i}`] };
    const change = [uint(1, 0n), uint(2, 0n), uint(3, id)];
    const json = Buffer.from(JSON.stringify(context));
    entry(i + 1, 1, Buffer.concat([...change, bytes(4, json)]));
  }
  for (const [i, request] of requests.entries()) entry(i + others + 2, 0, encode(request));
  record(3, Buffer.concat([uint(1, 1n), uint(2, MEMBER), uint(3, BigInt(commit))]));
  writeRecords(file, records);
}

/** @param records their types and data */
export function writeRecords(
  file: string,
  records: readonly (readonly [number, Buffer | undefined])[],
): void {
  let crc = 0;
  const frames: Buffer[] = [];
  for (const [type, data] of records) {
    if (data !== undefined) crc = crc32c(data, crc);
    const parts = [uint(1, BigInt(type)), uint(2, BigInt(crc))];
    if (data !== undefined) parts.push(bytes(3, data));
    const body = Buffer.concat(parts);
    const head = Buffer.alloc(8);
    head.writeBigUInt64LE(BigInt(body.length));
    frames.push(head, body);
  }
  writeFileSync(file, Buffer.concat(frames));
}

/** etcd writes all fields, also those that are zero. */
function encode(request: Etcd2Request): Buffer {
  const { method, path, value = "", prevValue = "", expirationNs = 0n, timeNs = 0n } = request;
  const text = (field: number, content: string) => bytes(field, Buffer.from(content));
  return Buffer.concat([
    ...[uint(1, 77n), text(2, method), text(3, path), text(4, value), uint(5, 0n)],
    ...[text(6, prevValue), uint(7, 0n), uint(9, expirationNs), uint(10, 0n), uint(11, 0n)],
    ...[uint(12, 0n), uint(13, 0n), uint(14, 0n), uint(15, timeNs), uint(16, 0n)],
  ]);
}

/** A field of a message: a number. */
export function uint(field: number, value: bigint): Buffer {
  return Buffer.concat([varint(BigInt(field * 8)), varint(value)]);
}

/** A field of a message: bytes, text or another message. */
export function bytes(field: number, content: Buffer): Buffer {
  return Buffer.concat([varint(BigInt(field * 8 + 2)), varint(BigInt(content.length)), content]);
}

function varint(value: bigint): Buffer {
  const out: number[] = [];
  let rest = value;
  for (; rest > 127n; rest >>= 7n) out.push(Number(rest & 127n) | 128);
  return Buffer.from([...out, Number(rest)]);
}
