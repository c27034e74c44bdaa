import type { StartMember } from "../bootstrap/start-plan.js";
import type { FormatLevels } from "../cluster/format.js";
import type { Membership } from "../cluster/membership.js";
import { assert } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import { writeFormat } from "../messages/log.js";
import type { MetricCells } from "../metrics/cells.js";
import { idCellOf } from "../metrics/families.js";
import { packVersion } from "../metrics/version-id.js";
import type { Outlet } from "../ring/fragments.js";
import type { RaftStats } from "../v2/raft-stats.js";
import type { PeerPort } from "./peer-port.js";
import type { Writes } from "./writes.js";

const CLUSTER_VERSION = idCellOf("clusterVersion");

export interface ClusterViewParts {
  readonly selfId: bigint;
  readonly membership: Membership;
  /** Members from the start plan; used until the log has named this member. */
  readonly expected: readonly StartMember[];
  readonly formats: FormatLevels;
  readonly writes: Writes;
  readonly peers: PeerPort;
  readonly append: Outlet;
  readonly stats: RaftStats;
  readonly metrics: MetricCells;
  readonly log: Pick<Logger, "info">;
}

/**
 * Passes changes of the membership and of the format level to the parts and threads that depend on
 * them.
 */
export class ClusterView {
  readonly #parts: ClusterViewParts;

  constructor(parts: ClusterViewParts) {
    this.#parts = parts;
  }

  /** @returns ids of all members, including learners and this one */
  membershipChanged(): readonly bigint[] {
    const { selfId, membership, expected, formats, peers, stats, metrics } = this.#parts;
    peers.tellMembers(membership, expected, formats.level);
    const ids = membership.members().map(({ id }) => id);
    assert(!ids.some((id) => membership.isRemoved(id)), "no removed member is a member");
    stats.setPeers(ids.filter((id) => id !== selfId));
    metrics.setId(CLUSTER_VERSION, packVersion(membership.version));
    return ids;
  }

  /** Once per rise and at start: new entries and WAL files use the level's format. */
  formatRaised(level: number): void {
    const { writes, append, formats, log } = this.#parts;
    assert(level >= 1, "formats count from 1");
    assert(level === formats.level, "the raised level is the current one");
    writes.format = level;
    writeFormat(append, level);
    log.info({ level }, "cluster format level set");
  }
}
