/** The measured requests. Every run uses the same 1000 keys with 256-byte values. */
export const WORKLOADS = ["put", "get", "qget", "mix"] as const;
export type Workload = (typeof WORKLOADS)[number];

export const WORKLOAD_TITLES: Readonly<Record<Workload, string>> = {
  put: "PUT",
  get: "GET",
  qget: "quorum GET",
  mix: "90% GET, 10% PUT",
};

export const KEYS = 1000;
export const VALUE = "v".repeat(256);
export const PUT_BODY = `value=${VALUE}`;
export const FORM = "application/x-www-form-urlencoded";
/** Of the mix: every tenth request is a PUT. */
const MIX_PERIOD = 10;

export interface Request {
  readonly method: "GET" | "PUT";
  readonly path: string;
}

export function keyPath(key: number): string {
  return `/v2/keys/bench/key-${String(key % KEYS).padStart(4, "0")}`;
}

/**
 * The `n`-th request of a workload. Keys advance in steps of 387, coprime to 1000: every key is
 * used, and consecutive requests touch keys far apart.
 */
export function requestAt(workload: Workload, n: number): Request {
  const path = keyPath(n * 387);
  switch (workload) {
    case "put":
      return { method: "PUT", path };
    case "get":
      return { method: "GET", path };
    case "qget":
      return { method: "GET", path: `${path}?quorum=true` };
    case "mix":
      return { method: n % MIX_PERIOD === 0 ? "PUT" : "GET", path };
  }
}
