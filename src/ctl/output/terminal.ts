/**
 * Standard output and error. Writes to files and terminals are synchronous; a full pipe takes the
 * rest when its reader has read more.
 */

const PIPE_CLOSED_EXIT = 141;

export function out(text: string): void {
  process.stdout.write(text);
}

export function err(text: string): void {
  process.stderr.write(text);
}

/**
 * Exits silently when the reader of a pipe is gone, with the exit code that a shell shows for
 * SIGPIPE.
 */
export function exitWithPipe(): void {
  for (const stream of [process.stdout, process.stderr]) {
    if (stream.listenerCount("error") === 0) stream.on("error", exitUnread);
  }
}

/**
 * Waits until all output is written: exiting earlier would lose the output a slow reader has not
 * read.
 */
export async function flush(): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    const error = await new Promise<Error | null | undefined>((resolve) => {
      stream.write("", resolve);
    });
    if (error) exitUnread(error);
  }
}

function exitUnread(error: NodeJS.ErrnoException): never {
  process.exit(error.code === "EPIPE" ? PIPE_CLOSED_EXIT : 1);
}

/** Exits at Ctrl-C with code 0, like etcdctl's endless commands. */
export function exitAtInterrupt(cleanUp: () => void = () => {}): void {
  process.once("SIGINT", () => {
    cleanUp();
    process.exit(0);
  });
}
