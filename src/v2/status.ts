import { goJsonString } from "../go/text.js";
import { type ApiResponse, plainResponse, refuseMethod } from "./plain.js";
import { type ApiRequest, Method } from "./request.js";
import { ContentKind } from "./response.js";

/** The release whose behaviour this server keeps; clients choose their requests by it. */
export const COMPAT_VERSION = "3.4.23";
/** The cluster version a leader sets: major and minor of the lowest member. */
export const COMPAT_CLUSTER_VERSION = "3.4.0";

/**
 * `GET /version`. The body has no newline.
 *
 * @param clusterVersion "" while the leader has not set one
 */
export function handleVersion(request: ApiRequest, clusterVersion: string): ApiResponse {
  const refusal = refuseMethod(request.method, [Method.get]);
  if (refusal !== undefined) return refusal;
  return plainResponse(200, ContentKind.json, versionJson(clusterVersion));
}

/** @param clusterVersion "" while the leader has not set one */
export function versionJson(clusterVersion: string): string {
  const cluster = goJsonString(clusterVersion === "" ? "not_decided" : clusterVersion);
  return `{"etcdserver":"${COMPAT_VERSION}","etcdcluster":${cluster}}`;
}

/** `/health` has its answer at once, or the caller makes a quorum read first. */
export function refuseHealthMethod(request: ApiRequest): ApiResponse | undefined {
  return refuseMethod(request.method, [Method.get]);
}

/**
 * `GET /health`, as 3.4 writes it: text although it is JSON, and a newline only where it is an
 * error.
 *
 * @param isHealthy there is a leader, and a quorum read came back within a second
 */
export function healthResponse(isHealthy: boolean): ApiResponse {
  if (isHealthy) return plainResponse(200, ContentKind.text, '{"health":"true"}');
  return plainResponse(503, ContentKind.textError, '{"health":"false"}\n');
}
