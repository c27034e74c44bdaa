/** Standard output and error. Both are written synchronously where they are files, pipes or terminals. */

const PIPE_CLOSED_EXIT = 141;

export function out(text: string): void {
  process.stdout.write(text);
}

export function err(text: string): void {
  process.stderr.write(text);
}

/** Ends quietly when nobody reads what is printed, with the exit code a shell shows for SIGPIPE. */
export function endWithPipe(): void {
  for (const stream of [process.stdout, process.stderr]) {
    if (stream.listenerCount("error") > 0) continue;
    stream.on("error", (error: NodeJS.ErrnoException) => {
      process.exit(error.code === "EPIPE" ? PIPE_CLOSED_EXIT : 1);
    });
  }
}

/** Ends the process at Ctrl-C with exit code 0, as etcdctl's endless commands do. */
export function endAtInterrupt(cleanUp: () => void = () => {}): void {
  process.once("SIGINT", () => {
    cleanUp();
    process.exit(0);
  });
}
