import { existsSync, readFileSync } from "node:fs";
import { parentPort } from "node:worker_threads";

/**
 * Preloaded with `--import` into each thread of a process under test: makes one thread die. Once
 * the file named by DYING_THREADS exists, it says which and how:
 *
 *   <thread> throw     an uncaught exception: "wal throw"
 *   <thread> reject    an unhandled rejection
 *   <thread> exit      it exits, with code 0
 *
 * The thread "pool" is any of piscina's; the others are those of src/thread, bundled.
 *
 * A thread checks the file when it reads the clock, as each thread does when it has work.
 */
const orders = process.env.DYING_THREADS ?? "";
/** In a worker this is the worker's own file. */
const program = process.argv[1] ?? "";
const own = /\/piscina\/.*worker\.js$/.test(program)
  ? "pool"
  : /\/bin\/(\w+)\.js$/.exec(program)?.[1];

function look(): void {
  if (!existsSync(orders)) return;
  const [thread, how] = readFileSync(orders, "utf8").trim().split(" ");
  if (thread !== own) return;
  if (how === "exit") process.exit(0);
  const error = new Error(`planted: ${thread} dies`);
  if (how === "throw") throw error;
  void Promise.reject(error);
}

if (parentPort !== null && own !== undefined) {
  const { now } = Date;
  Date.now = () => {
    look();
    return now();
  };
  const monotonic = performance.now.bind(performance);
  performance.now = () => {
    look();
    return monotonic();
  };
}
