/**
 * Standard output and error. Both are written synchronously where they are files or terminals; a pipe takes what
 * it has room for, and the rest when its reader gets on.
 */

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
    if (stream.listenerCount("error") === 0) stream.on("error", endUnread);
  }
}

/** Waits until all that was printed is written: what still waits for a slow reader would be lost with the process. */
export async function written(): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    const error = await new Promise<Error | null | undefined>((resolve) => {
      stream.write("", resolve);
    });
    if (error) endUnread(error);
  }
}

function endUnread(error: NodeJS.ErrnoException): never {
  process.exit(error.code === "EPIPE" ? PIPE_CLOSED_EXIT : 1);
}

/** Ends the process at Ctrl-C with exit code 0, as etcdctl's endless commands do. */
export function endAtInterrupt(cleanUp: () => void = () => {}): void {
  process.once("SIGINT", () => {
    cleanUp();
    process.exit(0);
  });
}
