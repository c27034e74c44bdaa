import type { Config } from "../config/config.js";
import { NONE } from "../raft/entry.js";
import { majority } from "../raft/quorum.js";
import type { Raft } from "../raft/raft.js";

/**
 * The wait for a leader after a start (--initial-election-tick-advance, etcdserver/server.go).
 *
 * A leader sends heartbeats, so it shows itself as soon as there are streams: once a majority is
 * connected, waiting a whole election time-out more would only lengthen the time without service
 * when all members start. Once in the life of a process; later a silence means more.
 */
export class FirstElection {
  #isOver: boolean;

  /** Without pre-votes a hasty candidate would depose a leader whose stream is not back yet. */
  constructor({ initialElectionTickAdvance, preVote }: Config) {
    this.#isOver = !initialElectionTickAdvance || !preVote;
  }

  /** A stream to another member opened. */
  onPeerUp(raft: Raft, isConnected: (id: bigint) => boolean): void {
    if (this.#isOver) return;
    const { voters } = raft.conf;
    if (raft.lead === NONE && voters.filter(isConnected).length < majority(voters.length)) return;
    this.#isOver = true;
    raft.hurryElection();
  }
}
