import { clusterId, formatId, memberId, type Sha1 } from "../cluster/ids.js";
import type { Member } from "../cluster/membership.js";
import { type InitialMember, initialClusterText } from "../config/initial-cluster.js";
import { goQuote } from "../go/text.js";
import { RingdError } from "../lib/errors.js";
import type { RemoteCluster } from "./remote-members.js";
import { goList, type Resolutions, sameUrls } from "./same-urls.js";

/** A member as listed by the cluster's other members or by --initial-cluster. */
export interface StartMember {
  readonly id: bigint;
  /** "" if not known yet. */
  readonly name: string;
  readonly peerUrls: readonly string[];
}

/**
 * How a member without a log starts. Made before the threads start; an existing log takes
 * precedence.
 */
export interface StartPlan {
  /** `found`: `members` found a new cluster. `join`: they are running and expect this member. */
  readonly kind: "found" | "join";
  readonly memberId: bigint;
  readonly clusterId: bigint;
  /** Includes this member; ascending by id. */
  readonly members: readonly StartMember[];
}

/** A start is impossible. Has etcd's error text, always one line. */
export class StartPlanError extends RingdError {
  override readonly name = "StartPlanError";
  readonly code = "START_REFUSED";

  constructor(message: string) {
    // Parts of the text may come from another member.
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

/** Rejects a peer URL that is listed twice. @throws StartPlanError */
export function checkDuplicateUrls(members: readonly InitialMember[]): void {
  const urls = members.flatMap((member) => member.peerUrls);
  if (new Set(urls).size < urls.length) {
    throw new StartPlanError(`initial cluster ${initialClusterText(members)} has duplicate url`);
  }
}

/**
 * --initial-advertise-peer-urls must match this member's URLs in --initial-cluster, where host
 * names match by their addresses (etcdserver/config.go, advertiseMatchesCluster).
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

/**
 * Ids depend on the configuration alone, so all founders compute the same.
 *
 * @throws StartPlanError
 */
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

/** A founder that a running cluster already knows has lost its data. @throws StartPlanError */
export function checkNotBootstrapped(plan: StartPlan, remote: RemoteCluster): void {
  const known = remote.members.find((member) => member.id === plan.memberId);
  if (known === undefined || known.clientUrls.length === 0) return;
  throw new StartPlanError(`member ${formatId(plan.memberId)} has already been bootstrapped`);
}

/**
 * The plan of a member that was added to a running cluster, with the cluster's ids. Both sides must
 * list the same members by URL; names are ignored (etcdserver/api/membership/cluster.go,
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
  // The URLs of this member's entry in --initial-cluster resolve to another member's.
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
 * A member that has published its name has run before. Without its data it has lost votes and
 * acknowledged entries that the others rely on: in this case etcd panics or loses writes, depending
 * on who leads.
 */
function checkNotStarted({ id, name }: Member): void {
  if (name === "") return;
  throw new StartPlanError(
    `member ${formatId(id)} has already been bootstrapped and its data is gone; remove it from the cluster and add it again`,
  );
}

/** The remote cluster in etcd's text form, for the error message. */
function remoteText(remote: RemoteCluster): string {
  const members = remote.members.map(
    ({ id, name, peerUrls, clientUrls }) =>
      `&{ID:${formatId(id)} RaftAttributes:{PeerURLs:${goList(peerUrls)} IsLearner:false} Attributes:{Name:${name} ClientURLs:${goList(clientUrls)}}}`,
  );
  return `{ClusterID:${formatId(remote.clusterId)} Members:${goList(members)} RemovedMemberIDs:[]}`;
}
