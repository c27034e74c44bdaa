import { ByteWriter } from "../v2/byte-writer.js";
import { type ApiResponse, bytesMessageResponse, plainResponse } from "../v2/plain.js";
import { ContentKind } from "../v2/response.js";
import { isTooLong } from "./model.js";

const HEADERS = { hasClusterId: true };

/** Of everything outside /v2/keys. Alone without a cluster id. */
export const NO_CREDENTIALS: ApiResponse = bytesMessageResponse(401, "Insufficient credentials");

export const INVALID_PATH: ApiResponse = bytesMessageResponse(400, "Invalid path");

export const EMPTY: ApiResponse = plainResponse(200, ContentKind.json, "", HEADERS);

/** @param message latin1 bytes */
export function authMessage(status: number, message: string): ApiResponse {
  return bytesMessageResponse(status, message, HEADERS);
}

/** A rule's error. @param message latin1 bytes */
export function authError(status: number, message: string): ApiResponse {
  return authMessage(status, `auth: ${message}`);
}

/** What Go's json.Encoder writes: the value and a newline. A text that is too long is an error. */
export function authJson(status: number, write: (writer: ByteWriter) => void): ApiResponse {
  const writer = new ByteWriter();
  write(writer);
  if (isTooLong(writer)) return authError(500, "The users and roles are too many to be shown");
  writer.byte(0x0a);
  const { head } = plainResponse(status, ContentKind.json, "", HEADERS);
  return { head, body: Buffer.from(writer.bytes.subarray(0, writer.length)) };
}

/** Of a step that failed, as by a timeout. */
export function authFailure(): ApiResponse {
  return authMessage(500, "Internal Server Error");
}
