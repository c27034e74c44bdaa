import { until } from "../support/until.js";

const OWN_WRITES_MS = 10_000;
const POLL_MS = 10;

/**
 * Waits until a fresh server has written what it writes for itself. The last of it is the cluster's
 * version, which comes soon after the server says it is ready: the client's first index depends on
 * it.
 */
export async function untilOwnWritesDone(clientUrl: string): Promise<void> {
  const hasVersion = async () => {
    const answer = await fetch(`${clientUrl}/version`);
    const { etcdcluster } = (await answer.json()) as { etcdcluster: string };
    return etcdcluster !== "not_decided";
  };
  await until("the cluster has a version", OWN_WRITES_MS, hasVersion, POLL_MS);
}
