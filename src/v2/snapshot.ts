import { parseGoBool } from "../go/bool.js";
import { parseForm } from "./form.js";
import { type ApiResponse, messageResponse, plainResponse, refuseMethod } from "./plain.js";
import { type ApiRequest, Method } from "./request.js";
import { ContentKind, type ResponseHead } from "./response.js";

/** The whole state of the member as one file. */
export const ADMIN_SNAPSHOT_PATH = "/v2/admin/snapshot";

const FIELDS: ReadonlySet<string> = new Set(["quorum"]);
const HEADERS = { hasClusterId: true } as const;

/** What a request for a snapshot asks for, or the response that rejects it. */
export type SnapshotAsked =
  | { readonly kind: "snapshot"; readonly isLinearizable: boolean }
  | { readonly kind: "answer"; readonly answer: ApiResponse };

/** `GET /v2/admin/snapshot`; with `quorum=true` after a read index. */
export function readSnapshotRequest({ method, query }: ApiRequest): SnapshotAsked {
  const refusal = refuseMethod(method, [Method.get]);
  if (refusal !== undefined) return { kind: "answer", answer: refusal };
  const parsed = parseForm(query, undefined, FIELDS);
  if (parsed.kind === "invalid") return refused(`invalid query: ${parsed.cause}`);
  const text = parsed.form.get("quorum") ?? "false";
  const isLinearizable = parseGoBool(text);
  if (isLinearizable === undefined) return refused('invalid value for "quorum"');
  return { kind: "snapshot", isLinearizable };
}

function refused(message: string): SnapshotAsked {
  return { kind: "answer", answer: messageResponse(400, message, HEADERS) };
}

/** Of a response whose body is the snapshot. */
export function snapshotHead(etcdIndex: number): ResponseHead {
  const extra = { hasClusterId: true, etcdIndex, hasRaft: true };
  return plainResponse(200, ContentKind.octetStream, "", extra).head;
}

/** This member cannot serve one now. @param message etcd's text of the reason */
export function snapshotUnavailable(message: string): ApiResponse {
  return messageResponse(503, message, HEADERS);
}
