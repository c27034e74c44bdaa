import { RingdError } from "../lib/errors.js";

export type DiscoveryReason =
  | "full"
  | "duplicate id"
  | "duplicate name"
  | "size not found"
  | "bad size"
  | "bad endpoint"
  | "invalid URL"
  | "rejected";

/** etcd's texts (etcdserver/api/v2discovery); "rejected" has the service's own. */
const TEXTS: Readonly<Record<Exclude<DiscoveryReason, "rejected">, string>> = {
  full: "discovery: cluster is full",
  "duplicate id": "discovery: found duplicate id",
  "duplicate name": "discovery: found duplicate name",
  "size not found": "discovery: size key not found",
  "bad size": "discovery: size key is bad",
  "bad endpoint": "discovery: bad discovery endpoint",
  "invalid URL": "discovery: invalid URL",
};

/** What to do, behind etcd's text. */
const ADVICE: Readonly<Record<DiscoveryReason, string>> = {
  full: "the token was used by another cluster; generate a new one to bootstrap a cluster",
  "duplicate id":
    "this member has registered with the token before, and --data-dir holds none of its data; check " +
    "--data-dir if that start succeeded, or use a new token if it failed",
  "duplicate name": "do not reuse the token; generate a new one to bootstrap a cluster",
  "size not found": "check the URL of --discovery, or generate a new token",
  "bad size": "its size is not a number above 0; generate a new token",
  "bad endpoint": "its response is not one of etcd's v2 API; check the URL of --discovery",
  "invalid URL": "a member has registered with an invalid list of URLs; generate a new token",
  rejected: "do not reuse the token; generate a new one to bootstrap a cluster",
};

/** The token does not lead to a cluster that this process may join. One line. */
export class DiscoveryError extends RingdError {
  override readonly name = "DiscoveryError";
  readonly code = "DISCOVERY_FAILED";
  readonly reason: DiscoveryReason;

  /** @param shown the service's text, for "rejected" */
  constructor(reason: DiscoveryReason, url: string, shown = "") {
    const text = reason === "rejected" ? shown : TEXTS[reason];
    const line = `failed to join discovery cluster (${text}): --discovery=${url}: ${ADVICE[reason]}`;
    // Parts of the text come from the service.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it replaces.
    super(line.replace(/[\u0000-\u001f\u007f]/g, "?"));
    this.reason = reason;
  }
}

/** No usable response: the request is repeated. */
export class DiscoveryUnreachableError extends RingdError {
  override readonly name = "DiscoveryUnreachableError";
  readonly code = "DISCOVERY_UNREACHABLE";
}
