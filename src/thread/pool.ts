import { join } from "node:path";
import type { Piscina } from "piscina";
import type { Config } from "../config/config.js";
import type { Topology } from "../messages/topology.js";
import { Bell } from "../ring/bell.js";
import { ringDepthBytes } from "../ring/ring.js";
import type { JobInput } from "./pool-worker.js";
import { ThreadCrash } from "./workers.js";

/**
 * Runs each job in the jobs ring on a thread of piscina's (pool-worker.ts). Awaits the pool's bell
 * while no job runs; while one runs, its thread parks on the bell: one owner at any time.
 *
 * Never resolves; rejects when a job's thread dies or ends early: the rest of the job is still in
 * the ring then, and the core would wait for its outcome for ever.
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
    // Checked after each wake-up: the core also rings when it made room in the outcomes ring.
    while (!hasJob()) await bell.parkAsync(hasJob);
    try {
      pool ??= await makePool();
      await pool.run(input);
    } catch (error) {
      throw new ThreadCrash("pool", error);
    }
  }
}

/** Lazily, with the first job: many runs of a member never have one. */
async function makePool(): Promise<Piscina> {
  const { Piscina } = await import("piscina");
  return new Piscina({
    filename: new URL("./pool-worker.js", import.meta.url).href,
    name: "runJob",
    minThreads: 0,
    maxThreads: 1, // A ring has one consumer.
  });
}
