import { until } from "../support/until.js";

const OWN_WRITES_MS = 10_000;
const POLL_MS = 10;

/**
 * Waits until a new server has made its own writes, on which the client's first index depends. The
 * last is the cluster version, shortly after the server is ready.
 */
export async function untilOwnWritesDone(clientUrl: string): Promise<void> {
  const hasVersion = async () => {
    const answer = await fetch(`${clientUrl}/version`);
    const { etcdcluster } = (await answer.json()) as { etcdcluster: string };
    return etcdcluster !== "not_decided";
  };
  await until("the cluster has a version", OWN_WRITES_MS, hasVersion, POLL_MS);
}
