import { assert } from "../lib/assert.js";
import type { ResponseRecord } from "../messages/requests.js";
import { putDecimal } from "../v2/byte-writer.js";
import { type HeadText, statusText } from "./head-text.js";

const ETCD_INDEX = "X-Etcd-Index: ";
const RAFT_INDEX = "X-Raft-Index: ";

/** A head as it was sent, of which the next one differs in digits at most. */
interface Sent {
  readonly bytes: Buffer;
  /** The lines that are the same for all heads of a kind. */
  readonly prefix: string;
  readonly term: number;
  readonly etcd: Digits;
  readonly raft: Digits;
}

/** A number in a head. */
interface Digits {
  readonly at: number;
  readonly length: number;
  /** The numbers of that length. */
  readonly min: number;
  readonly max: number;
}

/**
 * Heads for uWebSockets.js: status and header lines, without the last line end. One call takes the
 * whole head, as the library writes "HTTP/1.1 ", this and a line end.
 */
export class UwsHeads {
  readonly #heads: HeadText;
  /** By status, the last one that was sent. */
  readonly #sent = new Map<number, Sent>();

  constructor(heads: HeadText) {
    this.#heads = heads;
  }

  /** @param last more lines */
  text(head: ResponseRecord, origin: string, last = ""): string {
    const lines = this.#heads.lines(head, origin) + last;
    return `${statusText(head.status)}\r\n${lines}`.slice(0, -2);
  }

  /**
   * Nearly all responses have the head of an earlier one but for its indexes: these are written
   * over the earlier ones, which takes a fifth of the time of new strings.
   *
   * @returns valid until the next call
   */
  of(head: ResponseRecord, origin: string): string | Uint8Array {
    const { etcdIndex, raftIndex } = head;
    const isUsual = head.hasRaft && etcdIndex >= 0 && head.allow === "" && head.location === "";
    if (!isUsual || origin !== "") return this.text(head, origin);
    const prefix = this.#heads.prefix(head);
    let sent = this.#sent.get(head.status);
    if (sent?.prefix !== prefix || sent.term !== head.raftTerm || !fits(sent, head)) {
      sent = this.#make(head, prefix);
      this.#sent.set(head.status, sent);
    }
    putDecimal(sent.bytes, sent.etcd.at, sent.etcd.length, etcdIndex);
    putDecimal(sent.bytes, sent.raft.at, sent.raft.length, raftIndex);
    return sent.bytes;
  }

  #make(head: ResponseRecord, prefix: string): Sent {
    const text = this.text(head, "");
    const etcd = digitsAfter(text, ETCD_INDEX, head.etcdIndex);
    const raft = digitsAfter(text, RAFT_INDEX, head.raftIndex);
    return { bytes: Buffer.from(text, "latin1"), prefix, term: head.raftTerm, etcd, raft };
  }
}

function fits({ etcd, raft }: Sent, { etcdIndex, raftIndex }: ResponseRecord): boolean {
  if (etcdIndex < etcd.min || etcdIndex > etcd.max) return false;
  return raftIndex >= raft.min && raftIndex <= raft.max;
}

function digitsAfter(text: string, name: string, value: number): Digits {
  const at = text.indexOf(name) + name.length;
  const { length } = String(value);
  assert(text.startsWith(String(value), at), "a head with an index shows it in digits");
  return { at, length, min: length === 1 ? 0 : 10 ** (length - 1), max: 10 ** length - 1 };
}
