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
  /** Whom the start plan names; they count until the log has named some. */
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
 * Passes on what the log says of the cluster, its members and its format level, to those who go by
 * it.
 */
export class ClusterView {
  readonly #parts: ClusterViewParts;

  constructor(parts: ClusterViewParts) {
    this.#parts = parts;
  }

  /** @returns the members, learners and this one included */
  membershipChanged(): readonly bigint[] {
    const { selfId, membership, expected, formats, peers, stats, metrics } = this.#parts;
    peers.tellMembers(membership, expected, formats.level);
    const ids = membership.members().map(({ id }) => id);
    stats.setPeers(ids.filter((id) => id !== selfId));
    metrics.setId(CLUSTER_VERSION, packVersion(membership.version));
    return ids;
  }

  /**
   * Once at each rise, and at a start: entries and the log's own files go over to the level's
   * format.
   */
  formatRaised(level: number): void {
    const { writes, append, formats, log } = this.#parts;
    assert(level === formats.level, "the level is in force");
    writes.format = level;
    writeFormat(append, level);
    log.info({ level }, "cluster format level set");
  }
}
