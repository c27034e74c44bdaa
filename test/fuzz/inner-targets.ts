import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readEnvelope } from "#ringd/cluster/envelope.js";
import { decodeSnapshotHead } from "#ringd/cluster/snapshot-head.js";
import { readConfig } from "#ringd/config/config.js";
import { ConfigError } from "#ringd/config/config-error.js";
import { AssertionError } from "#ringd/lib/assert.js";
import { RingdError } from "#ringd/lib/errors.js";
import { encodeFrameHead, FRAME_HEAD_BYTES, FrameKind, FrameReader } from "#ringd/peer/frame.js";
import { formatOf, judgeHello } from "#ringd/peer/hello.js";
import { readSnapshotHead } from "#ringd/peer/snapshot-head.js";
import { decodeMessage, encodeMessage, readMessageAddress } from "#ringd/raft/message-codec.js";
import { Bell } from "#ringd/ring/bell.js";
import { Inlet, Outlet } from "#ringd/ring/fragments.js";
import { TYPE_MAX } from "#ringd/ring/layout.js";
import { createRing, RingReader, RingWriter } from "#ringd/ring/ring.js";
import { decodeSnapshotHeader } from "#ringd/snap/format.js";
import { decodeCommand } from "#ringd/store/command-codec.js";
import { SnapshotDecoder } from "#ringd/store/snapshot.js";
import { RECORD_BATCH, RECORD_HEADER_BYTES, sealRecord } from "#ringd/wal/record.js";
import { LogReplay } from "#ringd/wal/recover.js";
import {
  encodeSegmentHeader,
  recordForm,
  SEGMENT_HEADER_BYTES,
  segmentName,
} from "#ringd/wal/segment.js";
import type { FuzzTarget } from "./engine.js";

/** Decoders of what other threads, members, disks and operators send. */

/** Runs it, and takes errors of ringd's own for an answer: they name the fault. */
function orRejected<T>(
  run: () => T,
  isExpected: (error: unknown) => boolean = isOwn,
): T | undefined {
  try {
    return run();
  } catch (error) {
    if (!isExpected(error)) throw error;
    return undefined;
  }
}

/** An assertion is a bug: bytes from outside are rejected by errors with a code. */
function isOwn(error: unknown): boolean {
  return error instanceof RingdError && !(error instanceof AssertionError);
}

const RING_BYTES = 4096;

/** Two bytes of length and a byte of type each; 0 is a turn of the reader. */
function checkRing(change: (bytes: Buffer) => Buffer, input: Buffer): void {
  const memory = createRing(RING_BYTES);
  const bell = new Bell(Bell.create());
  const outlet = new Outlet(new RingWriter(memory, bell));
  const sent: string[] = [];
  const seen: string[] = [];
  const inlet = Inlet.withCursor(new RingReader(memory, bell), (record) => {
    seen.push(`${record.type} ${change(Buffer.from(record.bytes(0))).toString("hex")}`);
  });
  const turn = () => {
    outlet.publish();
    inlet.drain(3);
  };
  for (let at = 0; at + 3 <= input.length; at += 3) {
    const length = input.readUInt16LE(at) % 6000;
    const type = (input[at + 2] as number) % (TYPE_MAX + 1);
    if (length === 0) turn();
    const payload = Buffer.alloc(length, at & 0xff);
    outlet.open(length);
    outlet.bytes.set(payload, outlet.at);
    outlet.close(type, length);
    sent.push(`${type} ${payload.toString("hex")}`);
  }
  while (!outlet.isEmpty || inlet.hasWork()) turn();
  turn();
  while (inlet.hasWork()) turn();
  assert.deepEqual(seen, sent);
}

const METADATA = { memberId: 7n, clusterId: 9n };
const SEGMENT = segmentName(0, 1);

function segmentHeader() {
  return encodeSegmentHeader({
    ...{ sequence: 0, firstIndex: 1, prevTerm: 0, prevCrc: 0, version: 2, salt: 5 },
    hardState: { term: 0, vote: 0n, commit: 0 },
    metadata: METADATA,
  });
}

/** A segment whose only record, a batch, has this payload and right checksums. */
function sealed(payload: Buffer): Uint8Array {
  const { bytes, crc } = segmentHeader();
  const record = Buffer.alloc(RECORD_HEADER_BYTES + payload.length + 32);
  payload.copy(record, RECORD_HEADER_BYTES);
  const form = recordForm(2, crc);
  sealRecord(record, 0, RECORD_BATCH, payload.length, SEGMENT_HEADER_BYTES, crc, form, false);
  return Buffer.concat([bytes, record, Buffer.alloc(4096)]);
}

/** 0: a whole file follows; else the payload of a batch. */
function checkWal(spoil: (payload: Buffer) => void, input: Buffer): void {
  const rest = Buffer.from(input.subarray(1));
  const isFile = (input[0] ?? 0) === 0 || rest.length === 0;
  orRejected(() => {
    const log = new LogReplay("wal", 1);
    if (!isFile) spoil(rest);
    log.segment(SEGMENT, isFile ? rest : sealed(rest), true);
    const { entries } = log.finish(0);
    for (const [i, entry] of entries.entries()) {
      assert.equal(entry.index, (entries[0]?.index ?? 0) + i, "entries are in order");
      orRejected(() => {
        const { payloadAt } = readEnvelope(entry.data);
        decodeCommand(entry.data, payloadAt);
      });
    }
  });
}

/** Two bytes of length before each block. 0: a file's header; 1: a head's metadata. */
function checkSnapshot(finish: (decoder: SnapshotDecoder) => void, input: Buffer): void {
  const rest = Buffer.from(input.subarray(1));
  if (input[0] === 0) {
    orRejected(() => decodeSnapshotHeader(Buffer.concat([rest, Buffer.alloc(48)]), "file"));
    return;
  }
  if (input[0] === 1) {
    orRejected(
      () => decodeSnapshotHead(rest, 2),
      (error) => isOwn(error) || error instanceof SyntaxError,
    );
    return;
  }
  orRejected(() => {
    const decoder = new SnapshotDecoder({});
    for (let at = 0; at + 2 <= rest.length; ) {
      const end = at + 2 + rest.readUInt16LE(at);
      decoder.push(rest.subarray(at + 2, end));
      at = end;
    }
    finish(decoder);
  });
}

function framesOf(pieces: readonly Buffer[]): string[] {
  const frames: string[] = [];
  const reader = new FrameReader((kind, payload) => {
    frames.push(`${kind} ${payload.toString("hex")}`);
  });
  orRejected(() => {
    for (const piece of pieces) reader.push(Buffer.from(piece));
  });
  return frames;
}

/** 0: bytes of a stream; else a raft message. */
function checkFrame(decode: typeof decodeMessage, input: Buffer): void {
  const rest = input.subarray(1);
  const head = Buffer.alloc(FRAME_HEAD_BYTES);
  encodeFrameHead(head, 0, FrameKind.message, rest);
  const stream = (input[0] ?? 0) === 0 ? rest : Buffer.concat([head, rest, rest]);
  const whole = framesOf([stream]);
  assert.deepEqual(framesOf(Array.from(stream, (byte) => Buffer.of(byte))), whole);
  if ((input[0] ?? 0) !== 0) assert.equal(whole[0], `1 ${rest.toString("hex")}`);
  readMessageAddress(rest);
  const message = orRejected(() => decode(rest));
  if (message !== undefined) {
    assert.deepEqual(Buffer.from(encodeMessage(message)), rest, "it encodes to the same bytes");
  }
}

const SELF = { memberId: 0xabcn, clusterId: 0x123n };
const ROSTER = {
  ...{ isKnown: true, formatLevel: 2 },
  has: (id: bigint) => id === 0xdefn,
  isRemoved: (id: bigint) => id === 0xbadn,
};

/** Lines of headers. */
function checkHello(judge: typeof judgeHello, input: Buffer): void {
  const headers: Record<string, string> = Object.create(null);
  for (const line of input.toString("latin1").split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  assert.ok(formatOf(headers) >= 1);
  const head = readSnapshotHead(headers);
  if (head !== undefined) assert.ok(head.term >= 1 && head.senderTerm >= head.term);
  const verdict = judge(headers, SELF, ROSTER);
  if (verdict.kind === "refused") {
    assert.ok(verdict.status >= 400 && verdict.reason !== "");
    return;
  }
  assert.ok(verdict.from !== SELF.memberId && !ROSTER.isRemoved(verdict.from));
  assert.ok(formatOf(headers) >= ROSTER.formatLevel, "it reads what the cluster writes");
  assert.equal(Number.parseInt(headers["x-etcd-cluster-id"] ?? "", 16), Number(SELF.clusterId));
}

type ReadConfig = typeof readConfig;

/** Lines: arguments, `NAME=value` variables; after a line "---", a file. */
function checkConfig(read: ReadConfig, input: Buffer): void {
  const [before = "", yaml] = input.toString("utf8").split("\n---\n", 2);
  const lines = before.split("\n").filter((line) => !line.includes("config-file"));
  const argv = lines.filter((line) => line.startsWith("-"));
  const variables = lines
    .filter((line) => /^(?:ETCD|RINGD)_[A-Z_]+=/.test(line))
    .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]);
  const environment = Object.fromEntries(variables);
  const isExpected = (error: unknown) => error instanceof ConfigError;
  if (yaml === undefined) {
    orRejected(() => read(argv, environment), isExpected);
    return;
  }
  const dir = mkdtempSync(join(tmpdir(), "ringd-fuzz-"));
  try {
    const file = join(dir, "ringd.yml");
    writeFileSync(file, yaml);
    const request = orRejected(() => read([`--config-file=${file}`], {}), isExpected);
    if (request?.kind === "run") structuredClone(request.config);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

export const INNER_TARGETS: readonly FuzzTarget[] = [
  {
    name: "ring",
    run: (input) => checkRing((bytes) => bytes, input),
    // A message joined from fragments loses a byte if its length is a multiple of eight.
    planted: (input) =>
      checkRing(
        (bytes) => (bytes.length > 512 && bytes.length % 8 === 0 ? bytes.subarray(1) : bytes),
        input,
      ),
  },
  {
    name: "wal",
    run: (input) => checkWal(() => undefined, input),
    planted: (input) =>
      checkWal((payload) => {
        // The count of a batch's entries is believed.
        if (payload.length >= 16) payload.readUInt8(payload.readUInt16LE(0));
      }, input),
  },
  {
    name: "snapshot",
    run: (input) => checkSnapshot((decoder) => decoder.finish(), input),
    planted: (input) =>
      checkSnapshot((decoder) => {
        // A complete state is required, by a mere assertion.
        orRejected(() => {
          decoder.finish();
          throw new TypeError("planted");
        });
      }, input),
  },
  {
    name: "frame",
    run: (input) => checkFrame(decodeMessage, input),
    planted: (input) =>
      checkFrame((bytes) => {
        // The last byte of a long message is not read.
        return decodeMessage(bytes.length > 60 ? bytes.subarray(0, bytes.length - 1) : bytes);
      }, input),
  },
  {
    name: "hello",
    run: (input) => checkHello(judgeHello, input),
    planted: (input) =>
      checkHello((headers, self, roster) => {
        // Builds that are too old are let in.
        return judgeHello(headers, self, { ...ROSTER, ...roster, formatLevel: 1 });
      }, input),
  },
  {
    name: "config",
    run: (input) => checkConfig(readConfig, input),
    planted: (input) =>
      checkConfig((argv, environment) => {
        const request = readConfig(argv, environment);
        // An IPv6 address is not expected.
        if (request.kind === "run") {
          for (const { host } of request.config.listenClientUrls) {
            if (host.includes(":")) throw new RangeError("planted");
          }
        }
        return request;
      }, input),
  },
];
