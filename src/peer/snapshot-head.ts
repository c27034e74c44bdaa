import type { SnapshotId } from "../snap/format.js";

/** A transfer's headers besides the hello: the raft message without the file. */
export interface SnapshotTransferHead extends SnapshotId {
  /** The sender's raft term. */
  readonly senderTerm: number;
  /** Size of the file in the body. */
  readonly fileBytes: number;
}

const SENDER_TERM_HEADER = "x-ringd-term";
const TERM_HEADER = "x-ringd-snapshot-term";
const INDEX_HEADER = "x-ringd-snapshot-index";
const BYTES_HEADER = "content-length";

export function snapshotHeaders(head: SnapshotTransferHead): Record<string, string> {
  return {
    [SENDER_TERM_HEADER]: String(head.senderTerm),
    [TERM_HEADER]: String(head.term),
    [INDEX_HEADER]: String(head.index),
    [BYTES_HEADER]: String(head.fileBytes),
    "content-type": "application/octet-stream",
  };
}

/** @param headers as of node:http. @returns undefined if they are not a transfer's */
export function readSnapshotHead(
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
): SnapshotTransferHead | undefined {
  const [senderTerm, term, index, fileBytes] = [
    SENDER_TERM_HEADER,
    TERM_HEADER,
    INDEX_HEADER,
    BYTES_HEADER,
  ].map((name) => numberOf(headers[name]));
  if (senderTerm === undefined || term === undefined) return undefined;
  if (index === undefined || fileBytes === undefined) return undefined;
  // An entry's term is never above its sender's; terms and indexes start at 1.
  if (term < 1 || index < 1 || senderTerm < term) return undefined;
  return { senderTerm, term, index, fileBytes };
}

function numberOf(text: string | readonly string[] | undefined): number | undefined {
  if (typeof text !== "string" || !/^\d{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}
