import { join } from "node:path";
import type { Piscina } from "piscina";
import type { Config } from "../config/config.js";
import type { Topology } from "../messages/topology.js";
import { Bell } from "../ring/bell.js";
import { ringDepthBytes } from "../ring/ring.js";
import type { HashInput } from "./hash-worker.js";
import type { JobInput, SaveInput } from "./pool-worker.js";
import { ThreadCrash } from "./workers.js";

/** One each for snapshots, saved snapshots and passwords: none waits for another. */
const THREADS_MAX = 3;
/** A thread's start takes as long as a hash. */
const IDLE_MS = 10_000;

/**
 * Runs the jobs of the core on threads of piscina's: a snapshot (pool-worker.ts), or all passwords
 * that wait (hash-worker.ts).
 *
 * Never resolves; rejects when a job's thread dies or ends early: the rest of the job is still in
 * the ring then, and the core would wait for its outcome for ever.
 */
export function runPool(config: Config, topology: Topology): Promise<never> {
  const { jobs, outcomes, poolBell, hashJobs, hashOutcomes, hashBell, coreBell } = topology;
  const { saveJobs, saveOutcomes, saveBell } = topology;
  const snapshots: JobInput = {
    topology: { jobs, outcomes, poolBell, coreBell },
    snapDir: join(config.dataDir, "member", "snap"),
    maxSnapshots: config.maxSnapshots,
  };
  const hashes: HashInput = {
    topology: { hashJobs, hashOutcomes, hashBell, coreBell },
    bcryptCost: config.bcryptCost,
  };
  const saves: SaveInput = {
    topology: { jobs: saveJobs, outcomes: saveOutcomes, poolBell: saveBell, coreBell },
    files: config.savedSnapshots,
  };
  const pool = new LazyPool();
  return Promise.race([
    runRing(jobs, poolBell, () => pool.run("./pool-worker.js", "runJob", snapshots)),
    runRing(saveJobs, saveBell, () => pool.run("./pool-worker.js", "runSaveJob", saves)),
    runRing(hashJobs, hashBell, () => pool.run("./hash-worker.js", "runHashes", hashes)),
  ]);
}

/**
 * Awaits the ring's bell while no job runs; while one runs, its thread parks on the bell: one owner
 * at any time.
 */
async function runRing(
  ring: SharedArrayBuffer,
  memory: SharedArrayBuffer,
  run: () => Promise<void>,
): Promise<never> {
  const bell = new Bell(memory);
  const hasJob = () => ringDepthBytes(ring) > 0;
  for (;;) {
    // Checked after each wake-up: the core also rings when it made room in the outcomes ring.
    while (!hasJob()) await bell.parkAsync(hasJob);
    try {
      await run();
    } catch (error) {
      throw new ThreadCrash("pool", error);
    }
  }
}

/** Made with the first job: many runs of a member never have one. */
class LazyPool {
  #pool: Promise<Piscina> | undefined;

  async run(file: string, name: string, input: object): Promise<void> {
    this.#pool ??= makePool();
    const pool = await this.#pool;
    await pool.run(input, { filename: new URL(file, import.meta.url).href, name });
  }
}

async function makePool(): Promise<Piscina> {
  const { Piscina } = await import("piscina");
  return new Piscina({ minThreads: 0, maxThreads: THREADS_MAX, idleTimeout: IDLE_MS });
}
