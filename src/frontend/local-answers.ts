import { ContentKind } from "../api/answer.js";
import { AnswerRecord } from "./records.js";

/** Answers a frontend gives without its gateway. */

export function localHead(status: number, contentKind: ContentKind): AnswerRecord {
  const head = new AnswerRecord();
  head.status = status;
  head.contentKind = contentKind;
  return head;
}

/** etcd's words for a member that cannot keep up. */
export const TOO_MANY_REQUESTS =
  '{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: too many requests","index":0}\n';

/** Too many bodies are under way. */
export const NO_ROOM: AnswerRecord = localHead(500, ContentKind.json);
export const NO_ROOM_BODY: Buffer = Buffer.from(TOO_MANY_REQUESTS);
