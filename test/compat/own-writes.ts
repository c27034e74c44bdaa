import { setTimeout as sleep } from "node:timers/promises";

const POLL_MS = 10;

/**
 * Waits until a fresh server has written what it writes for itself. The last of it is the cluster's
 * version, which comes soon after the server says it is ready: the client's first index depends on it.
 */
export async function untilOwnWritesDone(clientUrl: string): Promise<void> {
  for (;;) {
    const answer = await fetch(`${clientUrl}/version`);
    const { etcdcluster } = (await answer.json()) as { etcdcluster: string };
    if (etcdcluster !== "not_decided") return;
    await sleep(POLL_MS);
  }
}
