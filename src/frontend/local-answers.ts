import { AnswerRecord } from "../messages/requests.js";
import { ContentKind } from "../v2/answer.js";

/** Answers a frontend gives without its gateway. */

export function localHead(status: number, contentKind: ContentKind): AnswerRecord {
  const head = new AnswerRecord();
  head.status = status;
  head.contentKind = contentKind;
  return head;
}

/** Too much is under way: bodies that come in, or requests that the core has not taken. In etcd's words. */
export const NO_ROOM: AnswerRecord = localHead(500, ContentKind.json);
export const NO_ROOM_BODY: Buffer = Buffer.from(
  '{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: too many requests","index":0}\n',
);

/** A target that no server of etcd's would parse. */
export const BAD_REQUEST: AnswerRecord = localHead(400, ContentKind.bare);
export const BAD_REQUEST_BODY: Buffer = Buffer.from("400 Bad Request");

/** To OPTIONS, whatever the path. */
export const NOTHING_TO_SAY: AnswerRecord = localHead(200, ContentKind.none);
