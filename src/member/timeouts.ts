import { assert } from "../lib/assert.js";
import { NONE } from "../raft/entry.js";
import type { Raft } from "../raft/raft.js";
import type { PeerPort } from "./peer-port.js";

/** Request timeout on top of two election timeouts (etcd's ReqTimeout). */
const REQUEST_MS = 5000;

const TIMED_OUT = "etcdserver: request timed out";

/** The request timeout, and the error text of requests that time out. */
export class Timeouts {
  readonly requestMs: number;
  readonly #raft: Raft;
  readonly #peers: PeerPort;
  readonly #electionMs: number;
  #electedMs = 0;

  constructor(raft: Raft, peers: PeerPort, electionMs: number) {
    assert(electionMs > 0, "an election takes time");
    this.requestMs = REQUEST_MS + 2 * electionMs;
    this.#raft = raft;
    this.#peers = peers;
    this.#electionMs = electionMs;
  }

  /** A new leader is known. */
  onElected(monoMs: number): void {
    assert(monoMs >= this.#electedMs, "the monotonic clock never goes back");
    this.#electedMs = monoMs;
  }

  /** etcd's error text (parseProposeCtxErr) for a request that came at `startMs` and timed out. */
  cause(startMs: number): string {
    const { lead } = this.#raft;
    const lostMs = this.#electedMs - 2 * this.#electionMs;
    if (startMs > lostMs && startMs < this.#electedMs) {
      return `${TIMED_OUT}, possibly due to previous leader failure`;
    }
    const isReachable = lead === NONE || this.#peers.isUpSince(lead, startMs);
    return isReachable ? TIMED_OUT : `${TIMED_OUT}, possibly due to connection lost`;
  }
}
