import { existsSync, readFileSync } from "node:fs";
import { parentPort } from "node:worker_threads";

/**
 * Loaded into a process under test with `--import`, into each of its threads: makes one of them
 * die. Once the file named by DYING_THREADS exists it says which and how:
 *
 *   <thread> throw     an exception that nobody catches: "wal throw"
 *   <thread> reject    a promise that nobody looks at
 *   <thread> exit      it just ends, with code 0
 *
 * The thread "pool" is any of piscina's; the others are those of src/thread.
 *
 * A thread looks whenever it asks for the time, which each of them does when it has something to
 * do.
 */
const orders = process.env.DYING_THREADS ?? "";
/** A worker's own file stands where that of the program does on the main thread. */
const program = process.argv[1] ?? "";
const own = /\/piscina\/.*worker\.js$/.test(program)
  ? "pool"
  : /\/thread\/(\w+)\.js$/.exec(program)?.[1];

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
