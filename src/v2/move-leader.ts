import { formatId, parseId } from "../cluster/ids.js";
import { parseScanned, scanJson } from "../go/json-scanner.js";
import { noSuchMember, refuseJsonBody } from "./members.js";
import { type ApiResponse, messageResponse, plainResponse, refuseMethod } from "./plain.js";
import { type ApiRequest, Method } from "./request.js";
import { ContentKind } from "./response.js";

export const MOVE_LEADER_PATH = "/v2/admin/leader";
const HEADERS = { hasClusterId: true };
const EXPECTED = 'expected {"id":"ID"}, a member\'s id in hex';

export type MoveLeaderOutcome =
  | { readonly kind: "answer"; readonly answer: ApiResponse }
  /** After a read index, to be judged by `refuseTransferee`. */
  | { readonly kind: "moveLeader"; readonly id: bigint };

/** `POST /v2/admin/leader` with `{"id":"HEX"}`: another member is to lead. */
export function handleMoveLeader(request: ApiRequest): MoveLeaderOutcome {
  const refusal = refuseMethod(request.method, [Method.post]) ?? refuseJsonBody(request);
  if (refusal !== undefined) return { kind: "answer", answer: refusal };
  const text = readId(request.body);
  if (typeof text !== "string") return { kind: "answer", answer: text.refusal };
  const id = parseId(text);
  if (id !== undefined && id !== 0n) return { kind: "moveLeader", id };
  return { kind: "answer", answer: noSuchMember(Buffer.from(text).toString("latin1")) };
}

function readId(body: Buffer): string | { readonly refusal: ApiResponse } {
  const scan = scanJson(body, "whole");
  const refused = (message: string) => ({ refusal: messageResponse(400, message, HEADERS) });
  if (scan.kind === "invalid") return refused(scan.message);
  const value = parseScanned(body, scan);
  const id = typeof value === "object" && value !== null ? Reflect.get(value, "id") : undefined;
  return typeof id === "string" && id !== "" ? id : refused(EXPECTED);
}

/** A member of the cluster, to whom leadership may go or not. */
export interface Transferee {
  readonly isMember: boolean;
  readonly isVoter: boolean;
}

/** The response to a transfer that cannot be, whoever leads. */
export function refuseTransferee(
  id: bigint,
  { isMember, isVoter }: Transferee,
): ApiResponse | undefined {
  if (!isMember) return noSuchMember(formatId(id));
  if (isVoter) return undefined;
  const why = `etcdserver: bad leader transferee: member ${formatId(id)} is a learner`;
  return messageResponse(412, why, HEADERS);
}

/** The member leads now. */
export const LEADER_MOVED = plainResponse(204, ContentKind.none, "", HEADERS);

/** The member does not lead. */
export function leaderNotMoved(why: string): ApiResponse {
  return messageResponse(503, why, HEADERS);
}
