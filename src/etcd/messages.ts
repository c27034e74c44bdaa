import { ProtobufError, ProtobufReader } from "./protobuf.js";

/**
 * The messages of etcd's log and snapshots, as far as the v2 store depends on them (etcd's
 * raft/raftpb/raft.proto, wal/walpb/record.proto, etcdserver/api/snap/snappb/snap.proto,
 * etcdserver/etcdserverpb/etcdserver.proto and raft_internal.proto). All decoders throw
 * ProtobufError. Strings are bytes, one per character.
 */

/** walpb.Record. */
export interface EtcdRecord {
  readonly type: number;
  readonly crc: number;
  /** A view; undefined if the field is missing. */
  readonly data: Buffer | undefined;
}

/** Types of records. */
export const EtcdRecordType = { metadata: 1, entry: 2, state: 3, crc: 4, snapshot: 5 } as const;

export function decodeEtcdRecord(bytes: Uint8Array): EtcdRecord {
  let type = 0;
  let crc = 0;
  let data: Buffer | undefined;
  const reader = new ProtobufReader(bytes);
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) type = reader.uint();
    else if (field === 2) crc = reader.uint();
    else if (field === 3) data = reader.bytes();
    else reader.skip();
  }
  return { type, crc, data };
}

/** raftpb.Entry. */
export interface EtcdEntry {
  readonly index: number;
  readonly term: number;
  /** 0 normal, 1 conf change. */
  readonly type: number;
  /** A view. */
  readonly data: Buffer;
}

const NO_BYTES: Buffer = Buffer.alloc(0);

export function decodeEtcdEntry(bytes: Uint8Array): EtcdEntry {
  let type = 0;
  let term = 0;
  let index = 0;
  let data: Buffer = NO_BYTES;
  const reader = new ProtobufReader(bytes);
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) type = reader.uint();
    else if (field === 2) term = reader.uint();
    else if (field === 3) index = reader.uint();
    else if (field === 4) data = reader.bytes();
    else reader.skip();
  }
  return { type, term, index, data };
}

/** raftpb.HardState without the vote. */
export interface EtcdHardState {
  readonly term: number;
  readonly commit: number;
}

export function decodeEtcdHardState(bytes: Uint8Array): EtcdHardState {
  let term = 0;
  let commit = 0;
  const reader = new ProtobufReader(bytes);
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) term = reader.uint();
    else if (field === 3) commit = reader.uint();
    else reader.skip();
  }
  return { term, commit };
}

/** walpb.Snapshot: a snapshot file was written at this position. */
export interface EtcdSnapshotMark {
  readonly index: number;
  readonly term: number;
}

export function decodeEtcdSnapshotMark(bytes: Uint8Array): EtcdSnapshotMark {
  let index = 0;
  let term = 0;
  const reader = new ProtobufReader(bytes);
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) index = reader.uint();
    else if (field === 2) term = reader.uint();
    else reader.skip();
  }
  return { index, term };
}

/** etcdserverpb.Metadata. */
export interface EtcdMetadata {
  readonly memberId: bigint;
  readonly clusterId: bigint;
}

export function decodeEtcdMetadata(bytes: Uint8Array): EtcdMetadata {
  let memberId = 0n;
  let clusterId = 0n;
  const reader = new ProtobufReader(bytes);
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) memberId = reader.u64();
    else if (field === 2) clusterId = reader.u64();
    else reader.skip();
  }
  return { memberId, clusterId };
}

/** snappb.snapshot: the content of a snapshot file. */
export function decodeSnapshotFile(bytes: Uint8Array): { crc: number; data: Buffer } {
  let crc = 0;
  let data: Buffer = NO_BYTES;
  const reader = new ProtobufReader(bytes);
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) crc = reader.uint();
    else if (field === 2) data = reader.bytes();
    else reader.skip();
  }
  return { crc, data };
}

/** raftpb.Snapshot; `data` is the v2 store's JSON. */
export function decodeRaftSnapshot(bytes: Uint8Array): EtcdSnapshotMark & { data: Buffer } {
  let data: Buffer = NO_BYTES;
  let mark: EtcdSnapshotMark = { index: 0, term: 0 };
  const reader = new ProtobufReader(bytes);
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) data = reader.bytes();
    else if (field === 2) mark = decodeSnapshotMetadata(reader.bytes());
    else reader.skip();
  }
  return { ...mark, data };
}

function decodeSnapshotMetadata(bytes: Uint8Array): EtcdSnapshotMark {
  let index = 0;
  let term = 0;
  const reader = new ProtobufReader(bytes);
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 2) index = reader.uint();
    else if (field === 3) term = reader.uint();
    else reader.skip();
  }
  return { index, term };
}

/** raftpb.ConfChange. */
export interface EtcdConfChange {
  /** 0 add, 1 remove, 2 update, 3 add a learner. */
  readonly type: number;
  readonly memberId: bigint;
  /** JSON. */
  readonly context: Buffer;
}

export function decodeEtcdConfChange(bytes: Uint8Array): EtcdConfChange {
  let type = 0;
  let memberId = 0n;
  let context: Buffer = NO_BYTES;
  const reader = new ProtobufReader(bytes);
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 2) type = reader.uint();
    else if (field === 3) memberId = reader.u64();
    else if (field === 4) context = reader.bytes();
    else reader.skip();
  }
  return { type, memberId, context };
}

/** etcdserverpb.Request: a request to the v2 store. */
export interface EtcdRequest {
  method: string;
  path: string;
  value: string;
  isDirectory: boolean;
  prevValue: string;
  prevIndex: bigint;
  prevExist: boolean | undefined;
  /** Unix nanoseconds; 0 for none. */
  expirationNs: bigint;
  isRecursive: boolean;
  /** Unix nanoseconds; only in a SYNC. */
  timeNs: bigint;
  isRefresh: boolean;
}

export function decodeEtcdRequest(bytes: Uint8Array): EtcdRequest {
  const request: EtcdRequest = {
    ...{ method: "", path: "", value: "", isDirectory: false, prevValue: "", prevIndex: 0n },
    ...{ prevExist: undefined, expirationNs: 0n, isRecursive: false, timeNs: 0n, isRefresh: false },
  };
  const reader = new ProtobufReader(bytes);
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    const read = REQUEST_FIELDS[field];
    if (read === undefined) reader.skip();
    else read(request, reader);
  }
  return request;
}

const REQUEST_FIELDS: Readonly<
  Record<number, (request: EtcdRequest, reader: ProtobufReader) => void>
> = {
  1: (_, reader) => void reader.u64(),
  2: (request, reader) => (request.method = reader.latin1()),
  3: (request, reader) => (request.path = reader.latin1()),
  4: (request, reader) => (request.value = reader.latin1()),
  5: (request, reader) => (request.isDirectory = reader.bool()),
  6: (request, reader) => (request.prevValue = reader.latin1()),
  7: (request, reader) => (request.prevIndex = reader.u64()),
  8: (request, reader) => (request.prevExist = reader.bool()),
  9: (request, reader) => (request.expirationNs = reader.i64()),
  10: (_, reader) => void reader.bool(),
  11: (_, reader) => void reader.u64(),
  12: (request, reader) => (request.isRecursive = reader.bool()),
  13: (_, reader) => void reader.bool(),
  14: (_, reader) => void reader.bool(),
  15: (request, reader) => (request.timeNs = reader.i64()),
  16: (_, reader) => void reader.bool(),
  17: (request, reader) => (request.isRefresh = reader.bool()),
};

/** etcdserverpb.InternalRaftRequest, as far as it changes the v2 store. */
export type EtcdCommand =
  | { readonly kind: "v2"; readonly request: EtcdRequest }
  /** From 3.5 on; before, it is a v2 request. */
  | { readonly kind: "version"; readonly version: string }
  /** From 3.5 on; before, it is a v2 request. Text as in JSON. */
  | {
      readonly kind: "attributes";
      readonly memberId: bigint;
      readonly name: string;
      readonly clientUrls: readonly string[];
    }
  /** A request of the v3 API. */
  | { readonly kind: "v3" };

const HEADER = 100;
const VERSION_SET = 1300;
const ATTRIBUTES_SET = 1301;
const DOWNGRADE_SET = 1302;

/**
 * The command of a normal entry that is not empty. etcd 3 wraps it, and etcd 2 does not: what is
 * not a wrapped request is a bare one (etcdserver/server.go, applyEntryNormal).
 */
export function decodeEtcdCommand(bytes: Uint8Array): EtcdCommand {
  try {
    return decodeWrapped(bytes);
  } catch (error) {
    if (!(error instanceof ProtobufError)) throw error;
    return { kind: "v2", request: decodeEtcdRequest(bytes) };
  }
}

function decodeWrapped(bytes: Uint8Array): EtcdCommand {
  let command: EtcdCommand = { kind: "v3" };
  const reader = new ProtobufReader(bytes);
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) reader.u64();
    else if (field === 2) command = { kind: "v2", request: decodeEtcdRequest(reader.bytes()) };
    else if (field === VERSION_SET) command = decodeVersion(reader.bytes());
    else if (field === ATTRIBUTES_SET) command = decodeAttributes(reader.bytes());
    else if (field <= 11 || field === HEADER || field === DOWNGRADE_SET) reader.bytes();
    else reader.skip();
  }
  return command;
}

function decodeVersion(bytes: Uint8Array): EtcdCommand {
  let version = "";
  const reader = new ProtobufReader(bytes);
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) version = reader.latin1();
    else reader.skip();
  }
  return { kind: "version", version };
}

function decodeAttributes(bytes: Uint8Array): EtcdCommand {
  let memberId = 0n;
  let name = "";
  const clientUrls: string[] = [];
  const reader = new ProtobufReader(bytes);
  for (let field = reader.field(); field !== 0; field = reader.field()) {
    if (field === 1) memberId = reader.u64();
    else if (field === 2) {
      const inner = new ProtobufReader(reader.bytes());
      for (let part = inner.field(); part !== 0; part = inner.field()) {
        if (part === 1) name = inner.bytes().toString();
        else if (part === 2) clientUrls.push(inner.bytes().toString());
        else inner.skip();
      }
    } else reader.skip();
  }
  return { kind: "attributes", memberId, name, clientUrls };
}
