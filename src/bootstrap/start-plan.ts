import { clusterId, formatId, memberId, type Sha1 } from "../cluster/ids.js";
import type { Member } from "../cluster/membership.js";
import { type InitialMember, initialClusterText } from "../config/initial-cluster.js";
import { goQuote } from "../go/text.js";
import { RingdError } from "../lib/errors.js";
import type { RemoteCluster } from "./remote-members.js";
import { goList, type Resolutions, sameUrls } from "./same-urls.js";

/** A member as the cluster's other members list it, or as --initial-cluster names it. */
export interface StartMember {
  readonly id: bigint;
  /** "" where it is not known yet. */
  readonly name: string;
  readonly peerUrls: readonly string[];
}

/**
 * How a member begins. Made before the threads start, and only where there is no log yet: what the
 * data directory holds comes first.
 */
export interface StartPlan {
  /**
   * `found`: `members` are the first of a new cluster. `join`: they run already, and expect this
   * one.
   */
  readonly kind: "found" | "join";
  readonly memberId: bigint;
  readonly clusterId: bigint;
  /** This member included, ascending by id. */
  readonly members: readonly StartMember[];
}

/** A start that cannot be, told in etcd's words: always one line. */
export class StartPlanError extends RingdError {
  override readonly name = "StartPlanError";
  readonly code = "START_REFUSED";

  constructor(message: string) {
    // Parts of it may come from another member.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it replaces.
    super(message.replace(/[\u0000-\u001f\u007f]/g, "?"));
  }
}

/** @throws StartPlanError if `name` is not in the initial cluster */
export function ownEntry(members: readonly InitialMember[], name: string): InitialMember {
  const own = members.find((member) => member.name === name);
  if (own !== undefined) return own;
  throw new StartPlanError(
    `couldn't find local name ${goQuote(name)} in the initial cluster configuration`,
  );
}

/** No peer URL belongs to two members, or twice to one. @throws StartPlanError */
export function checkDuplicateUrls(members: readonly InitialMember[]): void {
  const urls = members.flatMap((member) => member.peerUrls);
  if (new Set(urls).size < urls.length) {
    throw new StartPlanError(`initial cluster ${initialClusterText(members)} has duplicate url`);
  }
}

/**
 * What --initial-advertise-peer-urls says must be what --initial-cluster says of this member; names
 * of hosts count as their addresses (etcdserver/config.go, advertiseMatchesCluster).
 *
 * @throws StartPlanError
 */
export function checkAdvertised(
  own: InitialMember,
  advertised: readonly string[],
  resolutions: Resolutions,
): void {
  const match = sameUrls(advertised, own.peerUrls, resolutions);
  if (match.isSame) return;
  const named = (urls: readonly string[]) => urls.map((url) => `${own.name}=${url}`).join(",");
  const unadvertised = own.peerUrls.filter((url) => !advertised.includes(url));
  if (unadvertised.length > 0) {
    throw new StartPlanError(
      `--initial-cluster has ${named(unadvertised)} but missing from --initial-advertise-peer-urls=${advertised.join(",")} (${match.why})`,
    );
  }
  const unlisted = advertised.filter((url) => !own.peerUrls.includes(url));
  if (unlisted.length === 0) {
    throw new StartPlanError(
      `failed to resolve ${advertised.join(",")} to match --initial-cluster=${named(own.peerUrls)} (${match.why})`,
    );
  }
  throw new StartPlanError(
    `--initial-advertise-peer-urls has ${unlisted.join(",")} but missing from --initial-cluster=${named(own.peerUrls)}`,
  );
}

/** Ids come from the configuration alone, so all founders find the same. @throws StartPlanError */
export function foundingPlan(
  members: readonly InitialMember[],
  name: string,
  token: string,
  sha1: Sha1,
): StartPlan {
  const own = ownEntry(members, name);
  const withIds = members
    .map((member) => ({ ...member, id: memberId(member.peerUrls, token, sha1) }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
  for (const [i, { id }] of withIds.entries()) {
    if (id === 0n) throw new StartPlanError("cannot use 0 as member id");
    if (id === withIds[i + 1]?.id) {
      throw new StartPlanError(`member exists with identical ID ${formatId(id)}`);
    }
  }
  return {
    kind: "found",
    memberId: memberId(own.peerUrls, token, sha1),
    clusterId: clusterId(
      withIds.map(({ id }) => id),
      sha1,
    ),
    members: withIds,
  };
}

/** A founder that a running cluster knows has lost its data. @throws StartPlanError */
export function checkNotBootstrapped(plan: StartPlan, remote: RemoteCluster): void {
  const known = remote.members.find((member) => member.id === plan.memberId);
  if (known === undefined || known.clientUrls.length === 0) return;
  throw new StartPlanError(`member ${formatId(plan.memberId)} has already been bootstrapped`);
}

/**
 * The plan of a member that was added to a running cluster: ids are the cluster's. Both sides must
 * list the same members; names do not count (etcdserver/api/membership/cluster.go,
 * ValidateClusterAndAssignIDs).
 *
 * @throws StartPlanError
 */
export function joiningPlan(
  members: readonly InitialMember[],
  name: string,
  remote: RemoteCluster,
  resolutions: Resolutions,
): StartPlan {
  const invalid = (why: string) =>
    new StartPlanError(`error validating peerURLs ${remoteText(remote)}: ${why}`);
  if (members.length !== remote.members.length) throw invalid("member count is unequal");
  let own: Member | undefined;
  for (const member of remote.members) {
    const { id, peerUrls } = member;
    let why = "";
    const local = members.find((entry) => {
      const match = sameUrls(peerUrls, entry.peerUrls, resolutions);
      if (!match.isSame) why = match.why;
      return match.isSame;
    });
    if (local === undefined) {
      throw invalid(
        `PeerURLs: no match found for existing member (${formatId(id)}, ${goList(peerUrls)}), last resolver error (${why})`,
      );
    }
    if (local.name === name) own = member;
  }
  // Another entry of --initial-cluster resolves to the URLs of this member's.
  if (own === undefined) throw invalid(`no member has the peer URLs of ${goQuote(name)}`);
  checkNotStarted(own);
  return {
    kind: "join",
    memberId: own.id,
    clusterId: remote.clusterId,
    members: [...remote.members].sort((a, b) => (a.id < b.id ? -1 : 1)),
  };
}

/**
 * A member that has published its name has run. Without its data it has forgotten votes it gave and
 * entries that it helped to commit, and the others count on both: started like this, etcd panics or
 * loses writes, depending on who leads.
 */
function checkNotStarted({ id, name }: Member): void {
  if (name === "") return;
  throw new StartPlanError(
    `member ${formatId(id)} has already been bootstrapped and its data is gone; remove it from the cluster and add it again`,
  );
}

/** As etcd prints a cluster: the operator sees what the others list. */
function remoteText(remote: RemoteCluster): string {
  const members = remote.members.map(
    ({ id, name, peerUrls, clientUrls }) =>
      `&{ID:${formatId(id)} RaftAttributes:{PeerURLs:${goList(peerUrls)} IsLearner:false} Attributes:{Name:${name} ClientURLs:${goList(clientUrls)}}}`,
  );
  return `{ClusterID:${formatId(remote.clusterId)} Members:${goList(members)} RemovedMemberIDs:[]}`;
}
