import { setTimeout as sleep } from "node:timers/promises";
import { formatId, memberId } from "../cluster/ids.js";
import type { Config } from "../config/config.js";
import {
  type InitialMember,
  initialClusterText,
  parseInitialCluster,
} from "../config/initial-cluster.js";
import { compareBytes } from "../go/url-list.js";
import { messageOf, RingdError } from "../lib/errors.js";
import type { ClusterToken, StartIdentity, StartIo } from "./io.js";
import { isCompatible, type RemoteCluster, readRemoteMembers } from "./remote-members.js";
import { hostsToResolve, type Resolution, type Resolutions } from "./same-urls.js";
import {
  checkAdvertised,
  checkDuplicateUrls,
  checkNotBootstrapped,
  foundingPlan,
  joiningPlan,
  ownEntry,
  type StartPlan,
  StartPlanError,
} from "./start-plan.js";

/** The configuration that a start depends on. */
export type StartConfig = Pick<
  Config,
  | "name"
  | "initialCluster"
  | "initialClusterState"
  | "initialClusterToken"
  | "initialAdvertisePeerUrls"
  | "dataDir"
  | "walDir"
> & {
  /** "" without one. */
  readonly discoveryUrl: string;
};

/** Timeout of asking a founding member whether this one was already bootstrapped. */
const BOOTSTRAPPED_MS = 1000;
/** Timeout of fetching the member list from a running member. */
const MEMBERS_MS = 10_000;
const VERSION_MS = 3000;
/** Retries of unresolved names, as DNS entries often appear shortly after their hosts. */
const RESOLVE_MS = 30_000;
const RESOLVE_AGAIN_MS = 1000;

/**
 * Decides how a member without a log starts. A new cluster's plan depends on the configuration
 * alone, and the other founders need not run; to join a running cluster, its members are queried.
 *
 * @throws StartPlanError with etcd's error text
 */
export async function planStart(config: StartConfig, io: StartIo): Promise<StartPlan> {
  const left = io.identityLeft(config.dataDir, config.walDir);
  const { token } = io;
  if (left !== undefined) return planAgain(await asRegistered(config, io), left, io);
  if (token !== undefined) return await planByToken(config, token, io);
  const parsed = parseInitialCluster(config.initialCluster);
  if (parsed.kind === "invalid") {
    throw new StartPlanError(`error setting up initial cluster: ${parsed.message}`);
  }
  const { members } = parsed;
  return config.initialClusterState === "existing"
    ? await planToJoin(config, members, io)
    : await planToFound(config, members, io);
}

/** Founds a cluster with the members that register with the same discovery URL. */
async function planByToken(
  config: StartConfig,
  token: ClusterToken,
  io: StartIo,
): Promise<StartPlan> {
  const { name, initialAdvertisePeerUrls: peerUrls, discoveryUrl } = config;
  if (config.initialClusterState === "existing") {
    throw new StartPlanError(
      "discovery URL should not be set when joining existing initial cluster",
    );
  }
  const id = formatId(memberId(peerUrls, discoveryUrl, io.sha1));
  const text = await token.join(id, initialClusterText([{ name, peerUrls }]));
  const parsed = parseInitialCluster(text);
  if (parsed.kind === "invalid") throw new StartPlanError(parsed.message);
  // As in etcd, the discovery URL stands in for --initial-cluster-token.
  return await planToFound({ ...config, initialClusterToken: discoveryUrl }, parsed.members, io);
}

/** The configuration that stands for what an interrupted first start found at the token. */
async function asRegistered(config: StartConfig, { token, warn }: StartIo): Promise<StartConfig> {
  if (token === undefined) return config;
  try {
    const initialCluster = await token.cluster();
    return { ...config, initialCluster, initialClusterToken: config.discoveryUrl };
  } catch (error) {
    // The token may be gone, and its cluster alive.
    if (!(error instanceof RingdError)) throw error;
    warn(error.message);
    return config;
  }
}

/**
 * Resumes an interrupted first start under its recorded identity, even if the flags have changed:
 * as the same founder if the flags still produce it, otherwise as a member that waits for the
 * leader's log. Founding another cluster would write a second history under an id that a running
 * cluster relies on.
 */
function planAgain(config: StartConfig, left: StartIdentity, io: StartIo): StartPlan {
  const { name, initialCluster, initialClusterToken, initialAdvertisePeerUrls: peerUrls } = config;
  try {
    const parsed = parseInitialCluster(initialCluster);
    if (parsed.kind === "members") {
      const plan = foundingPlan(parsed.members, name, initialClusterToken, io.sha1);
      if (plan.memberId === left.memberId && plan.clusterId === left.clusterId) return plan;
    }
  } catch (error) {
    if (!(error instanceof StartPlanError)) throw error;
    io.warn(`the flags match no founding member: ${error.message}`);
  }
  return { kind: "join", ...left, members: [{ id: left.memberId, name, peerUrls }] };
}

async function planToFound(
  config: StartConfig,
  members: readonly InitialMember[],
  io: StartIo,
): Promise<StartPlan> {
  const { name, initialAdvertisePeerUrls: advertised, initialClusterToken: token } = config;
  const own = ownEntry(members, name);
  checkAdvertised(own, advertised, await resolveAll(hostsToResolve(advertised, own.peerUrls), io));
  checkDuplicateUrls(members);
  const plan = foundingPlan(members, name, token, io.sha1);
  const asked = urlsOfOthers(members, name).map((url) => fetchMembers(url, BOOTSTRAPPED_MS, io));
  for (const remote of await Promise.all(asked)) {
    if (typeof remote !== "string") checkNotBootstrapped(plan, remote);
  }
  return plan;
}

async function planToJoin(
  config: StartConfig,
  members: readonly InitialMember[],
  io: StartIo,
): Promise<StartPlan> {
  ownEntry(members, config.name);
  checkDuplicateUrls(members);
  // Query all concurrently and check in order, as some may lag; the first matching one counts.
  const urls = urlsOfOthers(members, config.name);
  const asked = urls.map((url) => fetchMembers(url, MEMBERS_MS, io));
  let mismatch: StartPlanError | undefined;
  let knowsNobody = false;
  for (const [i, answer] of asked.entries()) {
    const remote = await answer;
    if (typeof remote === "string") {
      io.warn(`could not get cluster response from ${urls[i]}: ${remote}`);
      continue;
    }
    knowsNobody ||= remote.members.length === 0;
    if (remote.members.length === 0) continue;
    try {
      const plan = joiningPlan(members, config.name, remote, await resolveFor(members, remote, io));
      await checkVersions(remote, plan.memberId, io);
      return plan;
    } catch (error) {
      if (!(error instanceof StartPlanError)) throw error;
      mismatch ??= error;
    }
  }
  if (mismatch !== undefined) throw mismatch;
  throw new StartPlanError(
    `cannot fetch cluster info from peer urls: ${
      knowsNobody
        ? "failed to get raft cluster member(s) from the given URLs"
        : "could not retrieve cluster information from the given URLs"
    }`,
  );
}

/** In byte order, as etcd queries them. */
function urlsOfOthers(members: readonly InitialMember[], name: string): readonly string[] {
  return members
    .filter((member) => member.name !== name)
    .flatMap((member) => member.peerUrls)
    .sort(compareBytes);
}

/** @returns the cluster, or the reason as text */
async function fetchMembers(
  url: string,
  timeoutMs: number,
  io: StartIo,
): Promise<RemoteCluster | string> {
  try {
    const { body, clusterId } = await io.get(url, "/members", timeoutMs);
    const answer = readRemoteMembers(body, clusterId);
    return answer.kind === "cluster" ? answer.cluster : answer.why;
  } catch (error) {
    return messageOf(error);
  }
}

async function checkVersions(remote: RemoteCluster, ownId: bigint, io: StartIo): Promise<void> {
  const others = remote.members.filter((member) => member.id !== ownId);
  const versions = await Promise.all(others.map(({ peerUrls }) => clusterVersionOf(peerUrls, io)));
  if (!isCompatible(versions))
    throw new StartPlanError("incompatible with current running cluster");
}

/** The member's cluster version; "" if no URL returns one. */
async function clusterVersionOf(peerUrls: readonly string[], io: StartIo): Promise<string> {
  for (const url of peerUrls) {
    try {
      const { body } = await io.get(url, "/version", VERSION_MS);
      const content: unknown = JSON.parse(body);
      if (typeof content !== "object" || content === null) continue;
      const { etcdcluster } = content as Record<string, unknown>;
      if (typeof etcdcluster === "string") return etcdcluster;
    } catch (error) {
      const why = messageOf(error);
      io.warn(`could not get the version from ${url}: ${why}`);
    }
  }
  return "";
}

async function resolveFor(
  members: readonly InitialMember[],
  remote: RemoteCluster,
  io: StartIo,
): Promise<Resolutions> {
  // Usually both sides have the same text, and no lookup is needed.
  const key = (urls: readonly string[]) => [...urls].sort(compareBytes).join();
  const known = new Set(remote.members.map(({ peerUrls }) => key(peerUrls)));
  if (members.every(({ peerUrls }) => known.has(key(peerUrls)))) return new Map();
  const hosts = members.flatMap((one) =>
    remote.members.flatMap((other) => hostsToResolve(one.peerUrls, other.peerUrls)),
  );
  return await resolveAll([...new Set(hosts)], io);
}

async function resolveAll(hosts: readonly string[], io: StartIo): Promise<Resolutions> {
  const resolved = await Promise.all(
    hosts.map(async (host) => [host, await resolvePatiently(host, io)] as const),
  );
  return new Map(resolved);
}

async function resolvePatiently(host: string, io: StartIo): Promise<Resolution> {
  for (let waitedMs = 0; ; waitedMs += RESOLVE_AGAIN_MS) {
    try {
      return { kind: "addresses", addresses: await io.resolve(host) };
    } catch (error) {
      const why = messageOf(error);
      if (waitedMs >= (io.resolveMs ?? RESOLVE_MS)) return { kind: "failed", why };
      io.warn(`failed to resolve host ${host}, trying again: ${why}`);
    }
    await sleep(RESOLVE_AGAIN_MS);
  }
}
