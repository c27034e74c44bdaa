/**
 * Removes what must not outlive this process: children, directories. Synchronous, as nothing else
 * runs at exit.
 */
type Cleanup = () => void;

const cleanups = new Set<Cleanup>();
let installed = false;

/** The cleanups run however this process ends, except by SIGKILL. */
function install(): void {
  if (installed) return;
  installed = true;
  process.on("exit", () => {
    for (const cleanup of cleanups) cleanup();
  });
  const signals = [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const;
  for (const [signal, code] of signals) process.on(signal, () => process.exit(code));
}

/** @returns cancels it, for a cleanup done in the ordinary way */
export function atExit(cleanup: Cleanup): () => void {
  install();
  cleanups.add(cleanup);
  return () => cleanups.delete(cleanup);
}

/** Runs a benchmark and exits: 0, 2 for an invalid command line, or 1 with the error's message. */
export async function run(main: () => Promise<void>): Promise<never> {
  try {
    await main();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    process.stderr.write(`${message}\n`);
    process.exit(code?.startsWith("ERR_PARSE_ARGS") ? 2 : 1);
  }
  process.exit(0);
}
