import type { LocalResponse } from "../messages/local.js";
import { ResponseRecord } from "../messages/requests.js";
import type { ApiResponse } from "../v2/plain.js";
import { ContentKind } from "../v2/response.js";
import type { Exchange } from "./frontend.js";

/** Responses of a frontend without its gateway. */

export function localHead(status: number, contentKind: ContentKind): ResponseRecord {
  const head = new ResponseRecord();
  head.status = status;
  head.contentKind = contentKind;
  return head;
}

/** Too many incoming bodies, or requests not yet read by the core. etcd's text. */
export const NO_ROOM: ResponseRecord = localHead(500, ContentKind.json);
export const NO_ROOM_BODY: Buffer = Buffer.from(
  '{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: too many requests","index":0}\n',
);

/** A request target that etcd's server cannot parse. */
export const BAD_REQUEST: ResponseRecord = localHead(400, ContentKind.bare);
export const BAD_REQUEST_BODY: Buffer = Buffer.from("400 Bad Request");

/** Request line and headers are above their limit. */
export const HEAD_TOO_LONG: ResponseRecord = localHead(431, ContentKind.bare);
export const HEAD_TOO_LONG_BODY: Buffer = Buffer.from(
  "431 Request Header Fields Too Large: too long",
);

/** For OPTIONS, on any path. */
export const NOTHING_TO_SAY: ResponseRecord = localHead(200, ContentKind.none);

export function answerLocally(exchange: Exchange, local: LocalResponse): void {
  const head = localHead(local.status, local.contentKind);
  head.allow = local.allow ?? "";
  exchange.answer(head, typeof local.body === "string" ? Buffer.from(local.body) : local.body);
}

/** Rejects a request whose Host is not in the whitelist. */
export function answerMisdirected(
  exchange: Pick<Exchange, "answer">,
  { head, body }: ApiResponse,
): void {
  exchange.answer(localHead(head.status, head.contentKind), body);
}

/** Closes the connection if there will be no response. */
export function answerLater(exchange: Exchange, local: Promise<LocalResponse>): void {
  local.then(
    (response) => answerLocally(exchange, response),
    () => exchange.cut(),
  );
}
