/**
 * Messages between a frontend and the core: layouts, encoders and decoders. Integers are
 * little-endian; strings are latin1 bytes.
 */
import { assert } from "../lib/assert.js";
import { writeUtf8 } from "../lib/latin1.js";
import type { Outlet } from "../ring/fragments.js";
import type { RecordCursor } from "../ring/record-cursor.js";
import { type ApiRequest, FORM_TYPE, type Method } from "../v2/request.js";
import { type ContentKind, LOCATION_BYTES_MAX, type ResponseHead } from "../v2/response.js";

/** Frontend to core. */
export const RequestType = {
  /** A complete HTTP request. */
  request: 1,
  /** u32 request id: its client disconnected; end its watch or listing. */
  abort: 2,
  /** u32 request id: the client has caught up after `hold`. */
  resume: 3,
  /** u32 request id: the client reads more slowly than its listing is rendered; pause it. */
  hold: 4,
  /** Finish accepted requests, then stop wal and core. Sent by the main frontend only. */
  stop: 5,
} as const;
export type RequestType = (typeof RequestType)[keyof typeof RequestType];

/** Core to frontend. */
export const ResponseType = {
  /** Status, headers and body of a response, or its first part (OPEN_FLAG). */
  answer: 1,
  /** The next part of the body of open responses: one body, many request ids. */
  chunk: 2,
  /** Disconnect these clients mid-response. */
  cut: 3,
  /** A line of the audit log, UTF-8. Sent to the main frontend only. */
  audit: 4,
} as const;
export type ResponseType = (typeof ResponseType)[keyof typeof ResponseType];

/**
 *   offset  bytes  request
 *   0       4      request id, the frontend's
 *   4       1      Method
 *   5       1      flags: 1 the body was over the limit and is not here,
 *                  2 the Content-Type is FORM_TYPE and not here
 *   6       2      Content-Type bytes
 *   8       4      path bytes
 *   12      4      query bytes
 *   16      4      body bytes
 *   20      2      Authorization bytes
 *   22      1      bytes of the common name of the client's certificate
 *   23      1      bytes of the client's address
 *   24      -      path, query, Content-Type, Authorization, common name, address, body
 */
const REQUEST_HEAD_BYTES = 24;
const BODY_TOO_LARGE_FLAG = 1;
const FORM_FLAG = 2;

/** Maximum UTF-8 bytes per UTF-16 code unit. */
const UTF8_BYTES_MAX = 3;

const NO_BODY = Buffer.alloc(0);

/** Longer types are truncated, as the API knows none of them. */
const CONTENT_TYPE_CHARACTERS_MAX = 1024;
/** Longer credentials are nobody's, as passwords are shorter; they become UNUSABLE. */
const AUTHORIZATION_CHARACTERS_MAX = 16 * 1024;
const UNUSABLE = "too long";
/** X.520 allows 64 characters; a longer name is none. */
const COMMON_NAME_BYTES_MAX = 255;
/** An IPv6 address with a zone is shorter. */
const REMOTE_BYTES_MAX = 255;

/**
 * One HTTP request as framed by a frontend, with the HTTP library's raw path and query. It and its
 * body are valid only during the call.
 */
export interface FramedRequest {
  readonly method: Method;
  /** Up to the "?". */
  readonly path: string;
  /** After the "?"; "" if there is none. */
  readonly query: string;
  /** "" without one. */
  readonly contentType: string;
  /** The value of Authorization; "" without one. */
  readonly authorization: string;
  /** Of the client's certificate, latin1 bytes of its UTF-8; "" without one. */
  readonly commonName: string;
  /** The client's address; "" unless there is an audit log. */
  readonly remote: string;
  /** The complete body; undefined for methods that ignore it. */
  readonly body: Uint8Array | undefined;
  /** The body exceeded the limit, and `body` is without it. */
  readonly isBodyTooLarge: boolean;
}

/**
 * Writes a request. Strings that the HTTP library decoded from UTF-8 are encoded back.
 *
 * @param requestId u32, assigned by the frontend
 */
export function writeRequest(outlet: Outlet, requestId: number, request: FramedRequest): void {
  const { method, path, query, contentType, body, isBodyTooLarge } = request;
  const bodyBytes = body === undefined ? 0 : body.length;
  const isForm = contentType === FORM_TYPE;
  const type = isForm ? "" : contentType.slice(0, CONTENT_TYPE_CHARACTERS_MAX);
  const { authorization, commonName, remote } = request;
  const sent = authorization.length > AUTHORIZATION_CHARACTERS_MAX ? UNUSABLE : authorization;
  const name = commonName.length > COMMON_NAME_BYTES_MAX ? "" : commonName;
  const address = remote.length > REMOTE_BYTES_MAX ? "" : remote;
  const characters = path.length + query.length + type.length + sent.length;
  outlet.open(
    REQUEST_HEAD_BYTES + characters * UTF8_BYTES_MAX + name.length + address.length + bodyBytes,
  );
  const { bytes, view, at } = outlet;
  let end = at + REQUEST_HEAD_BYTES;
  const pathBytes = writeUtf8(bytes, path, end);
  end += pathBytes;
  const queryBytes = writeUtf8(bytes, query, end);
  end += queryBytes;
  const typeBytes = writeUtf8(bytes, type, end);
  end += typeBytes;
  const sentBytes = writeUtf8(bytes, sent, end);
  end += sentBytes;
  if (name !== "") end += bytes.latin1Write(name, end);
  if (address !== "") end += bytes.latin1Write(address, end);
  if (body !== undefined) bytes.set(body, end);
  end += bodyBytes;
  view.setUint32(at, requestId, true);
  view.setUint8(at + 4, method);
  view.setUint8(at + 5, (isBodyTooLarge ? BODY_TOO_LARGE_FLAG : 0) | (isForm ? FORM_FLAG : 0));
  view.setUint16(at + 6, typeBytes, true);
  view.setUint32(at + 8, pathBytes, true);
  view.setUint32(at + 12, queryBytes, true);
  view.setUint32(at + 16, bodyBytes, true);
  view.setUint16(at + 20, sentBytes, true);
  view.setUint8(at + 22, name.length);
  view.setUint8(at + 23, address.length);
  outlet.close(RequestType.request, end - at);
}

/** Of any record from a frontend but `stop`. */
export function readRequestId(record: RecordCursor): number {
  return record.u32(0);
}

/** Copies the strings; the body is a view, valid as long as the record. */
export function readRequest(record: RecordCursor): ApiRequest {
  const flags = record.u8(5);
  const pathEnd = REQUEST_HEAD_BYTES + record.u32(8);
  const queryEnd = pathEnd + record.u32(12);
  const typeEnd = queryEnd + record.u16(6);
  const sentEnd = typeEnd + record.u16(20);
  const nameEnd = sentEnd + record.u8(22);
  const addressEnd = nameEnd + record.u8(23);
  const bodyBytes = record.u32(16);
  const hasForm = (flags & FORM_FLAG) !== 0;
  return {
    method: record.u8(4) as Method,
    path: record.text(REQUEST_HEAD_BYTES, pathEnd),
    query: queryEnd === pathEnd ? "" : record.text(pathEnd, queryEnd),
    contentType: hasForm ? FORM_TYPE : record.text(queryEnd, typeEnd),
    // Nearly always empty: a comparison here costs less than a call.
    authorization: sentEnd === typeEnd ? "" : record.text(typeEnd, sentEnd),
    commonName: nameEnd === sentEnd ? "" : record.text(sentEnd, nameEnd),
    remote: addressEnd === nameEnd ? "" : record.text(nameEnd, addressEnd),
    body: bodyBytes === 0 ? NO_BODY : record.bytes(addressEnd, addressEnd + bodyBytes),
    isBodyTooLarge: (flags & BODY_TOO_LARGE_FLAG) !== 0,
  };
}

/** Writes an abort, hold or resume record. */
export function writeRequestId(outlet: Outlet, type: number, requestId: number): void {
  outlet.open(4);
  outlet.view.setUint32(outlet.at, requestId, true);
  outlet.close(type, 4);
}

/**
 *   offset  bytes  response
 *   0       4      request id
 *   4       2      HTTP status
 *   6       1      ContentKind
 *   7       1      flags: 1 cluster id, 2 etcd index, 4 raft index and term, 8 open: chunks follow,
 *                  16 to HEAD, with the length of the body and without the body,
 *                  32 the client's credentials are wrong, 64 the frontend serves it itself
 *   8       8      etcd index, f64
 *   16      8      raft index, f64
 *   24      8      raft term, f64
 *   32      2      bytes of the value of Allow
 *   34      2      bytes of the value of Location
 *   36      4      body bytes
 *   40      -      Allow, Location, body
 */
const ANSWER_HEAD_BYTES = 40;
const CLUSTER_ID_FLAG = 1;
const ETCD_INDEX_FLAG = 2;
const RAFT_FLAG = 4;
const OPEN_FLAG = 8;
const HEAD_ONLY_FLAG = 16;
const WRONG_CREDENTIALS_FLAG = 32;
const FOR_FRONTEND_FLAG = 64;
const BODY_BYTES_SHOWN_MAX = 0xffff_ffff;

/** The raft position, for the headers of responses. */
export interface RaftPosition {
  readonly index: number;
  readonly term: number;
}

export function writeResponse(
  outlet: Outlet,
  requestId: number,
  head: ResponseHead,
  raft: RaftPosition,
  body: Buffer,
  bodyBytes: number,
  isOpen: boolean,
): void {
  const { location } = head;
  assert(location.length <= LOCATION_BYTES_MAX, "the length of a location has two bytes");
  outlet.open(ANSWER_HEAD_BYTES + head.allow.length + location.length + bodyBytes);
  const end = writeHead(outlet, requestId, head, location, raft, isOpen ? OPEN_FLAG : 0);
  outlet.view.setUint32(outlet.at + 36, bodyBytes, true);
  body.copy(outlet.bytes, end, 0, bodyBytes);
  outlet.close(ResponseType.answer, end + bodyBytes - outlet.at);
}

/** Writes all but the body and its length. @returns offset of the body */
function writeHead(
  outlet: Outlet,
  requestId: number,
  head: ResponseHead,
  location: string,
  raft: RaftPosition,
  flags: number,
): number {
  const { bytes, view, at } = outlet;
  view.setUint32(at, requestId, true);
  view.setUint16(at + 4, head.status, true);
  view.setUint8(at + 6, head.contentKind);
  view.setUint8(
    at + 7,
    (head.hasClusterId ? CLUSTER_ID_FLAG : 0) |
      (head.etcdIndex >= 0 ? ETCD_INDEX_FLAG : 0) |
      (head.hasRaft ? RAFT_FLAG : 0) |
      (head.hasWrongCredentials === true ? WRONG_CREDENTIALS_FLAG : 0) |
      (head.isForFrontend === true ? FOR_FRONTEND_FLAG : 0) |
      flags,
  );
  view.setFloat64(at + 8, head.etcdIndex, true);
  view.setFloat64(at + 16, raft.index, true);
  view.setFloat64(at + 24, raft.term, true);
  view.setUint16(at + 32, head.allow.length, true);
  view.setUint16(at + 34, location.length, true);
  let end = at + ANSWER_HEAD_BYTES;
  if (head.allow !== "") end += bytes.latin1Write(head.allow, end);
  if (location !== "") end += bytes.latin1Write(location, end);
  return end;
}

/** Writes the response to a HEAD, whose body of `bodyBytes` was never rendered as a whole. */
export function writeHeadOnly(
  outlet: Outlet,
  requestId: number,
  head: ResponseHead,
  raft: RaftPosition,
  bodyBytes: number,
): void {
  const { length: allowBytes } = head.allow;
  outlet.open(ANSWER_HEAD_BYTES + allowBytes + head.location.length);
  writeHead(outlet, requestId, head, head.location, raft, HEAD_ONLY_FLAG);
  outlet.view.setUint32(outlet.at + 36, Math.min(bodyBytes, BODY_BYTES_SHOWN_MAX), true);
  outlet.close(ResponseType.answer, ANSWER_HEAD_BYTES + allowBytes + head.location.length);
}

/** A decoded response record; the body stays in place. Reused for all records. */
export class ResponseRecord implements ResponseHead {
  requestId = 0;
  status = 0;
  contentKind: ContentKind = 0;
  hasClusterId = false;
  etcdIndex = -1;
  hasRaft = false;
  raftIndex = 0;
  raftTerm = 0;
  allow = "";
  location = "";
  isOpen = false;
  /** The response to a HEAD: the record has the body's length without the body. */
  isHeadOnly = false;
  hasWrongCredentials = false;
  isForFrontend = false;
  /** Where the body stands in the record. */
  bodyAt = 0;
  bodyBytes = 0;

  read(record: RecordCursor): void {
    const flags = record.u8(7);
    this.requestId = record.u32(0);
    this.status = record.u16(4);
    this.contentKind = record.u8(6) as ContentKind;
    this.hasClusterId = (flags & CLUSTER_ID_FLAG) !== 0;
    this.etcdIndex = (flags & ETCD_INDEX_FLAG) !== 0 ? record.f64(8) : -1;
    this.hasRaft = (flags & RAFT_FLAG) !== 0;
    this.raftIndex = record.f64(16);
    this.raftTerm = record.f64(24);
    this.isOpen = (flags & OPEN_FLAG) !== 0;
    this.isHeadOnly = (flags & HEAD_ONLY_FLAG) !== 0;
    this.hasWrongCredentials = (flags & WRONG_CREDENTIALS_FLAG) !== 0;
    this.isForFrontend = (flags & FOR_FRONTEND_FLAG) !== 0;
    const allowEnd = ANSWER_HEAD_BYTES + record.u16(32);
    this.bodyAt = allowEnd + record.u16(34);
    // Nearly always empty: a comparison here costs less than a call.
    this.allow = allowEnd === ANSWER_HEAD_BYTES ? "" : record.text(ANSWER_HEAD_BYTES, allowEnd);
    this.location = this.bodyAt === allowEnd ? "" : record.text(allowEnd, this.bodyAt);
    this.bodyBytes = record.u32(36);
  }
}

/**
 *   offset  bytes  chunk and cut
 *   0       4      number of request ids, n
 *   4       1      flags: 1 the responses end with this chunk
 *   8       4 n    request ids
 *   -       -      body
 */
const END_FLAG = 1;

export function writeChunk(
  outlet: Outlet,
  type: number,
  requestIds: readonly number[],
  isEnd: boolean,
  body: Buffer,
  bodyBytes: number,
): void {
  const bytes = 8 + requestIds.length * 4 + bodyBytes;
  outlet.open(bytes);
  const { view, at } = outlet;
  view.setUint32(at, requestIds.length, true);
  view.setUint8(at + 4, isEnd ? END_FLAG : 0);
  let end = at + 8;
  for (const id of requestIds) {
    view.setUint32(end, id, true);
    end += 4;
  }
  body.copy(outlet.bytes, end, 0, bodyBytes);
  outlet.close(type, bytes);
}

export interface ChunkRecord {
  readonly requestIds: readonly number[];
  readonly isEnd: boolean;
  /** In place: dies with the record. */
  readonly body: Uint8Array;
}

/** The ids of a chunk as they were written, to compare two records' recipients; in place. */
export function chunkRecipients(record: RecordCursor): Buffer {
  return record.bytes(8, 8 + record.u32(0) * 4);
}

export function readChunk(record: RecordCursor): ChunkRecord {
  const count = record.u32(0);
  return {
    requestIds: Array.from({ length: count }, (_, i) => record.u32(8 + i * 4)),
    isEnd: (record.u8(4) & END_FLAG) !== 0,
    body: record.bytes(8 + count * 4),
  };
}
