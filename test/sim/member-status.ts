import type { MetricCells } from "#ringd/metrics/cells.js";
import { cellOf, idCellOf, idCellOfSlot, PEER_SLOTS, slotCellOf } from "#ringd/metrics/families.js";
import { packVersion } from "#ringd/metrics/version-id.js";
import type { Raft } from "#ringd/raft/raft.js";
import { Method } from "#ringd/v2/request.js";
import type { Life, SimMember } from "./member-node.js";

const CLUSTER_VERSION = packVersion("3.4.0");
const STATES = ["probe", "replicate", "snapshot"];
const ROLES = ["follower", "candidate", "leader", "preCandidate"];

/**
 * Checks what operators see once all is well: /v2/stats/self and the metrics, against each member's
 * raft.
 */
export class StatusCheck {
  /** "" until the response arrives. */
  readonly #answers = new Map<Life, string>();
  /** The error in the last response. */
  readonly #wrong = new Map<Life, string>();

  /** @returns "" if all values are correct; wrong ones may be correct a little later */
  whyWrong(members: Iterable<SimMember>): string {
    for (const { name, life, applied } of members) {
      const { raft } = life ?? {};
      if (life === undefined || raft === undefined || !life.isReady) continue;
      const wrong = wrongMetric(life.metrics, raft, applied);
      if (wrong !== "") return `${name} shows a wrong ${wrong}`;
      const body = this.#ask(life);
      if (body === "") return this.#wrong.get(life) ?? `${name} has not told its statistics`;
      const { state, leaderInfo } = JSON.parse(body) as {
        state: string;
        leaderInfo: { leader: string };
      };
      const isRight =
        leaderInfo.leader === raft.lead.toString(16) &&
        state === (raft.isLeader ? "StateLeader" : "StateFollower");
      if (isRight) continue;
      this.#answers.delete(life);
      const lead = raft.lead.toString(16);
      const why = `${name} says it is ${state} of ${leaderInfo.leader}, and its leader is ${lead}`;
      this.#wrong.set(life, why);
      return why;
    }
    return "";
  }

  #ask(life: Life): string {
    const known = this.#answers.get(life);
    if (known !== undefined) return known;
    this.#answers.set(life, "");
    life.request(0, Method.get, "/v2/stats/self", "", undefined, {
      answer: (_status, _etcdIndex, body) => this.#answers.set(life, body),
      chunk: () => undefined,
      cut: () => undefined,
    });
    return "";
  }
}

/** @returns the name of the first wrong metric, or "" */
function wrongMetric(metrics: MetricCells, raft: Raft, applied: number): string {
  const { role, term, lead, vote, lastIndex, commit } = raft.status();
  const figures: [string, number | bigint, number | bigint][] = [
    ["hasLeader", metrics.get(cellOf("hasLeader")), 1],
    ["isLeader", metrics.get(cellOf("isLeader")), raft.isLeader ? 1 : 0],
    ["isLearner", metrics.get(cellOf("isLearner")), raft.conf.learners.includes(raft.id) ? 1 : 0],
    ["raftTerm", metrics.get(cellOf("raftTerm")), term],
    ["raftRole", metrics.get(cellOf("raftRole")), ROLES.indexOf(role)],
    ["raftLastIndex", metrics.get(cellOf("raftLastIndex")), lastIndex],
    ["proposalsCommitted", metrics.get(cellOf("proposalsCommitted")), commit],
    ["proposalsApplied", metrics.get(cellOf("proposalsApplied")), applied],
    ["proposalsPending", metrics.get(cellOf("proposalsPending")), 0],
    ["snapshotApplying", metrics.get(cellOf("snapshotApplying")), 0],
    ["lead", metrics.getId(idCellOf("lead")), lead],
    ["vote", metrics.getId(idCellOf("vote")), vote],
    ["clusterVersion", metrics.getId(idCellOf("clusterVersion")), CLUSTER_VERSION],
  ];
  return figures.find(([, shown, is]) => shown !== is)?.[0] ?? wrongProgress(metrics, raft);
}

/** Checks the progress of all members on the leader, and its absence elsewhere. */
function wrongProgress(metrics: MetricCells, raft: Raft): string {
  const shown = new Map<bigint, string>();
  for (let slot = 0; slot < PEER_SLOTS; slot++) {
    const id = metrics.getId(idCellOfSlot("progress", slot));
    if (id === 0n) continue;
    const figures = (["peerMatch", "peerNext", "peerState"] as const).map((name) =>
      metrics.get(slotCellOf(name, slot)),
    );
    shown.set(id, figures.join());
  }
  const { peers } = raft.status();
  if (shown.size !== peers.length) return "number of peers";
  const wrong = peers.find(({ id, match, next, state }) => {
    return shown.get(id) !== [match, next, STATES.indexOf(state)].join();
  });
  return wrong === undefined ? "" : `progress of ${wrong.id.toString(16)}`;
}
