import { join } from "node:path";
import type { Piscina } from "piscina";
import type { Config } from "../config/config.js";
import type { Topology } from "../messages/topology.js";
import { Bell } from "../ring/bell.js";
import { ringDepthBytes } from "../ring/ring.js";
import type { JobInput } from "./pool-worker.js";
import { ThreadCrash } from "./workers.js";

/**
 * Runs each job that the core puts into the jobs ring, in a thread of piscina's; see
 * pool-worker.ts. This thread only sees that there is one: it awaits the pool's bell while no job
 * runs, and the job's thread parks on it meanwhile, so the bell has one owner at any time.
 *
 * A promise that rejects when a job's thread dies, or ends in the middle: part of the job is left
 * in the ring then, and the core waits for an outcome that never comes. It never resolves.
 */
export async function runPool(config: Config, topology: Topology): Promise<never> {
  const { jobs, outcomes, poolBell, coreBell } = topology;
  const input: JobInput = {
    topology: { jobs, outcomes, poolBell, coreBell },
    snapDir: join(config.dataDir, "member", "snap"),
    maxSnapshots: config.maxSnapshots,
  };
  const bell = new Bell(poolBell);
  const hasJob = () => ringDepthBytes(jobs) > 0;
  let pool: Piscina | undefined;
  for (;;) {
    // Looked at again after each wake-up: the core also rings for room in the outcomes ring.
    while (!hasJob()) await bell.parkAsync(hasJob);
    try {
      pool ??= await makePool();
      await pool.run(input);
    } catch (error) {
      throw new ThreadCrash("pool", error);
    }
  }
}

/** With the first job: most starts of a member never come to one. */
async function makePool(): Promise<Piscina> {
  const { Piscina } = await import("piscina");
  return new Piscina({
    filename: new URL("./pool-worker.js", import.meta.url).href,
    name: "runJob",
    minThreads: 0,
    maxThreads: 1, // A ring has one consumer.
  });
}
