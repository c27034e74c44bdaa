import { formatId } from "../cluster/ids.js";
import { goDuration, goJsonString, goTimestamp } from "../go/text.js";
import { compareBytes } from "../go/url-list.js";
import { STAT_NAMES } from "../store/stats.js";
import { type ApiResponse, messageResponse, plainResponse, refuseMethod } from "./plain.js";
import { type ApiRequest, Method } from "./request.js";
import { ContentKind } from "./response.js";

/** Messages and bytes per second; both 0 if unknown. */
export interface Rate {
  readonly perSecond: number;
  readonly bytesPerSecond: number;
}

/** A member's statistics of itself. Times are Unix nanoseconds. */
export interface SelfStats {
  readonly name: string;
  readonly id: bigint;
  readonly state: "StateFollower" | "StateCandidate" | "StateLeader" | "StatePreCandidate";
  readonly startTimeNs: bigint;
  /** 0 if no leader is known. */
  readonly leaderId: bigint;
  /** When that leader was first seen. */
  readonly leaderStartTimeNs: bigint;
  readonly nowNs: bigint;
  readonly recvAppendRequests: number;
  readonly recvRate: Rate;
  readonly sendAppendRequests: number;
  readonly sendRate: Rate;
}

/** The leader's latency statistics of one follower, in milliseconds. */
export interface FollowerStats {
  readonly current: number;
  readonly average: number;
  readonly standardDeviation: number;
  readonly minimum: number;
  readonly maximum: number;
  readonly fail: number;
  readonly success: number;
}

/** The store's counters, in output order. */
export const STORE_STATS = [...STAT_NAMES, "watchers"] as const;
export type StoreCounts = Readonly<Record<(typeof STORE_STATS)[number], number>>;

/** `GET /v2/stats/self`. No stats body ends in a newline. */
export function handleSelfStats(request: ApiRequest, stats: SelfStats): ApiResponse {
  return refuseMethod(request.method, [Method.get]) ?? json(selfStatsJson(stats));
}

/**
 * `GET /v2/stats/leader`.
 *
 * @param followers by id; undefined unless this member leads
 */
export function handleLeaderStats(
  request: ApiRequest,
  leaderId: bigint,
  followers: ReadonlyMap<bigint, FollowerStats> | undefined,
): ApiResponse {
  const refusal = refuseMethod(request.method, [Method.get]);
  if (refusal !== undefined) return refusal;
  if (followers === undefined) return messageResponse(403, "not current leader");
  const fields = [...followers]
    .map(([id, stats]) => ({ id: formatId(id), stats }))
    .sort((a, b) => compareBytes(a.id, b.id))
    .map(({ id, stats }) => `"${id}":${followerJson(stats)}`);
  return json(`{"leader":"${formatId(leaderId)}","followers":{${fields.join(",")}}}`);
}

/** `GET /v2/stats/store`. */
export function handleStoreStats(request: ApiRequest, stats: StoreCounts): ApiResponse {
  const refusal = refuseMethod(request.method, [Method.get]);
  if (refusal !== undefined) return refusal;
  return json(`{${STORE_STATS.map((name) => `"${name}":${stats[name]}`).join(",")}}`);
}

function json(body: string): ApiResponse {
  return plainResponse(200, ContentKind.json, body);
}

function selfStatsJson(stats: SelfStats): string {
  const leader = stats.leaderId === 0n ? "" : formatId(stats.leaderId);
  const uptime = goDuration(stats.nowNs - stats.leaderStartTimeNs);
  return (
    `{"name":${goJsonString(stats.name)},"id":"${formatId(stats.id)}","state":"${stats.state}"` +
    `,"startTime":"${goTimestamp(stats.startTimeNs)}","leaderInfo":{"leader":"${leader}"` +
    `,"uptime":"${uptime}","startTime":"${goTimestamp(stats.leaderStartTimeNs)}"}` +
    `,"recvAppendRequestCnt":${stats.recvAppendRequests}${rateJson("recv", stats.recvRate)}` +
    `,"sendAppendRequestCnt":${stats.sendAppendRequests}${rateJson("send", stats.sendRate)}}`
  );
}

/** Omits a rate of 0. JavaScript and Go print floating-point numbers alike in JSON. */
function rateJson(direction: "recv" | "send", rate: Rate): string {
  const packages = rate.perSecond === 0 ? "" : `,"${direction}PkgRate":${rate.perSecond}`;
  const bytes =
    rate.bytesPerSecond === 0 ? "" : `,"${direction}BandwidthRate":${rate.bytesPerSecond}`;
  return packages + bytes;
}

function followerJson(stats: FollowerStats): string {
  return (
    `{"latency":{"current":${stats.current},"average":${stats.average}` +
    `,"standardDeviation":${stats.standardDeviation}` +
    `,"minimum":${stats.minimum},"maximum":${stats.maximum}}` +
    `,"counts":{"fail":${stats.fail},"success":${stats.success}}}`
  );
}
