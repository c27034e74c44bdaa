import { Client, NoAnswerError } from "../../support/client.js";
import { type ClusterOptions, TestCluster } from "../../support/cluster.js";

const PROBE_EVERY_MS = 10;
const PROBES_MAX = 500;

export interface FailoverOptions extends ClusterOptions {
  readonly rounds: number;
  readonly say: (line: string) => void;
}

/**
 * Kills the leader with SIGKILL, repeatedly, and measures the outage: from the kill until a write
 * sent after it, to any other member, is acknowledged.
 *
 * @returns milliseconds, one per round
 */
export async function measureFailover(options: FailoverOptions): Promise<number[]> {
  const cluster = await TestCluster.create(options);
  const results: number[] = [];
  try {
    for (let round = 1; round <= options.rounds; round++) {
      const leader = await cluster.leader();
      const others = cluster.members.filter((member) => member !== leader);
      const clients = others.map(({ clientUrl }) => new Client(clientUrl, PROBES_MAX));
      // Opens the connections before the measurement.
      await Promise.all(clients.map((client) => write(client)));
      const killedMs = performance.now();
      const ended = leader.end("SIGKILL");
      await firstWrite(clients);
      const ms = performance.now() - killedMs;
      await ended;
      results.push(ms);
      options.say(`failover ${round}: ${Math.round(ms)} ms without service`);
      for (const client of clients) client.close();
      cluster.heal();
      await cluster.untilHealthy();
    }
  } finally {
    await cluster.destroy();
  }
  return results;
}

async function write(client: Client): Promise<boolean> {
  try {
    const options = { form: "value=1", timeoutMs: 20_000 };
    return (await client.call("PUT", "/v2/keys/probe", options)).status < 300;
  } catch (error) {
    if (error instanceof NoAnswerError) return false;
    throw error;
  }
}

/**
 * Sends a write through each client every 10 ms, whatever the outcome of earlier ones, until one is
 * acknowledged.
 */
function firstWrite(clients: readonly Client[]): Promise<void> {
  return new Promise((resolve) => {
    const probe = async () => {
      const answers = clients.map((client) => write(client));
      for (const answer of answers) {
        if (!(await answer)) continue;
        clearInterval(timer);
        resolve();
      }
    };
    const timer = setInterval(() => void probe(), PROBE_EVERY_MS);
  });
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
