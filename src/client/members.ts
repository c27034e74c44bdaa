import type { Cluster } from "./cluster.js";
import { callJsonApi } from "./json-api.js";
import type { AddMemberOptions, CallOptions } from "./options.js";
import type { Member } from "./responses.js";

const PATH = "/v2/members";

/**
 * The members of a cluster. As in etcd's client, a change is repeated at the next member when one
 * fails: a repeated `add` is rejected for its peer URL (409), a repeated `remove` succeeds.
 */
export class Members {
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** By id. */
  async list(options: CallOptions = {}): Promise<readonly Member[]> {
    const json = await callJsonApi(this.#cluster, "GET", PATH, options);
    return (json as { members?: readonly Member[] | null }).members ?? [];
  }

  /** @throws UnavailableError during an election */
  async leader(options: CallOptions = {}): Promise<Member> {
    return (await callJsonApi(this.#cluster, "GET", `${PATH}/leader`, options)) as Member;
  }

  /** Adds a member, to be started afterwards. @returns it, with its id and no name yet */
  async add(peerUrl: string, options: AddMemberOptions = {}): Promise<Member> {
    const json = { peerURLs: [peerUrl], isLearner: options.isLearner || undefined };
    return (await callJsonApi(this.#cluster, "POST", PATH, options, json, [201])) as Member;
  }

  /**
   * Gives a learner its vote; ringd only.
   *
   * @throws ApiError with status 404, 412: it is not a learner, or not in sync with the leader
   */
  async promote(id: string, options: CallOptions = {}): Promise<Member> {
    const path = `${memberPath(id)}/promote`;
    return (await callJsonApi(this.#cluster, "POST", path, options)) as Member;
  }

  /** Permanently: the id is never used again. @throws ApiError with status 404 */
  async remove(id: string, options: CallOptions = {}): Promise<void> {
    await callJsonApi(this.#cluster, "DELETE", memberPath(id), options, undefined, [204, 410]);
  }

  /**
   * Makes another member the leader.
   *
   * @throws ApiError with status 404; 503: it did not become the leader in time
   */
  async moveLeader(id: string, options: CallOptions = {}): Promise<void> {
    const path = "/v2/admin/leader";
    await callJsonApi(this.#cluster, "POST", path, options, { id }, [204], true);
  }

  /** Replaces the peer URLs. @throws ApiError with status 404, 409 */
  async update(id: string, peerUrls: readonly string[], options: CallOptions = {}): Promise<void> {
    const json = { peerURLs: peerUrls };
    await callJsonApi(this.#cluster, "PUT", memberPath(id), options, json, [204]);
  }
}

function memberPath(id: string): string {
  return `${PATH}/${encodeURIComponent(id)}`;
}
