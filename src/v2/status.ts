import { goJsonString } from "../go/text.js";
import { parseForm } from "./form.js";
import { type ApiResponse, plainResponse, refuseMethod } from "./plain.js";
import { type ApiRequest, Method } from "./request.js";
import { ContentKind } from "./response.js";

/** The etcd release that ringd is compatible with; clients choose their requests by it. */
export const COMPAT_VERSION = "3.4.23";
/** The cluster version that a leader sets. */
export const COMPAT_CLUSTER_VERSION = "3.4.0";

/**
 * `GET /version`. The body has no newline.
 *
 * @param clusterVersion "" until the leader has set one
 */
export function handleVersion(request: ApiRequest, clusterVersion: string): ApiResponse {
  const refusal = refuseMethod(request.method, [Method.get]);
  if (refusal !== undefined) return refusal;
  return plainResponse(200, ContentKind.json, versionJson(clusterVersion));
}

/** @param clusterVersion "" until the leader has set one */
export function versionJson(clusterVersion: string): string {
  const cluster = goJsonString(clusterVersion === "" ? "not_decided" : clusterVersion);
  return `{"etcdserver":"${COMPAT_VERSION}","etcdcluster":${cluster}}`;
}

/** Rejects methods other than GET; for GET the caller makes a quorum read first. */
export function refuseHealthMethod(request: ApiRequest): ApiResponse | undefined {
  return refuseMethod(request.method, [Method.get]);
}

const SCOPE: ReadonlySet<string> = new Set(["serializable", "exclude"]);

/** What a health check asks, as in etcd 3.5. */
export interface HealthScope {
  /** `serializable=true`: about this member alone, with a leader or without. */
  readonly isSerializable: boolean;
  /** `exclude=NOSPACE` leaves out whether there is room for writes. */
  readonly ignoresSpace: boolean;
}

export function healthScope(query: string): HealthScope {
  const parsed = parseForm(query, undefined, SCOPE);
  const form = parsed.kind === "form" ? parsed.form : undefined;
  return {
    isSerializable: form?.get("serializable") === "true",
    ignoresSpace: form?.get("exclude") === "NOSPACE",
  };
}

/**
 * `GET /health` as in etcd 3.4: plain text although it is JSON, with a newline only on errors.
 *
 * @param isHealthy a leader is known, and a quorum read succeeded within a second
 */
export function healthResponse(isHealthy: boolean): ApiResponse {
  if (isHealthy) return plainResponse(200, ContentKind.text, '{"health":"true"}');
  return plainResponse(503, ContentKind.textError, '{"health":"false"}\n');
}
