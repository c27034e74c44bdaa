import type { Config } from "../config/config.js";
import { assert } from "../lib/assert.js";
import { NONE } from "../raft/entry.js";
import { majority } from "../raft/quorum.js";
import type { Raft } from "../raft/raft.js";

/**
 * Shortens the wait for a leader after a start (--initial-election-tick-advance, etcd's
 * etcdserver/server.go).
 *
 * A leader's heartbeats arrive as soon as streams are open. So once a majority is connected and no
 * leader was heard, waiting out a whole election timeout only prolongs the outage of a full
 * restart. Only once per process, after its start.
 */
export class FirstElection {
  #isOver: boolean;

  /**
   * Off without pre-vote: an early candidate would depose a leader whose stream is not open yet.
   */
  constructor({ initialElectionTickAdvance, preVote }: Config) {
    this.#isOver = !initialElectionTickAdvance || !preVote;
  }

  /** A stream to another member opened. */
  onPeerUp(raft: Raft, isConnected: (id: bigint) => boolean): void {
    if (this.#isOver) return;
    assert(isConnected(raft.id), "a member reaches itself");
    const { voters } = raft.conf;
    if (raft.lead === NONE && voters.filter(isConnected).length < majority(voters.length)) return;
    this.#isOver = true;
    raft.hurryElection();
  }
}
