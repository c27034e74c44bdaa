import { assert } from "../lib/assert.js";
import { NONE } from "../raft/entry.js";
import type { Raft } from "../raft/raft.js";
import type { PeerPort } from "./peer-port.js";

/** What a request may take beyond two election time-outs. */
const REQUEST_MS = 5000;

const TIMED_OUT = "etcdserver: request timed out";

/** How long requests wait, and what those are told that waited in vain. */
export class Timeouts {
  readonly requestMs: number;
  readonly #raft: Raft;
  readonly #peers: PeerPort;
  readonly #electionMs: number;
  #electedMs = 0;

  constructor(raft: Raft, peers: PeerPort, electionMs: number) {
    this.requestMs = REQUEST_MS + 2 * electionMs;
    this.#raft = raft;
    this.#peers = peers;
    this.#electionMs = electionMs;
  }

  /** A leader is known again. */
  onElected(monoMs: number): void {
    assert(monoMs >= this.#electedMs, "elections follow one another");
    this.#electedMs = monoMs;
  }

  /**
   * Why a request that came at `startMs` is not answered by now, in etcd's words
   * (parseProposeCtxErr).
   */
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
