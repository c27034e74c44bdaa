import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { ListenError } from "./listen-error.js";

const IN_USE = "address already in use";
const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: IN_USE,
  EADDRNOTAVAIL: "cannot assign requested address",
  EACCES: "permission denied",
};
/** A listening socket in /proc/net/tcp. */
const LISTEN = "0A";

/** Binds again to learn the reason, which uWebSockets.js hides. */
export function whyNotBound(host: string, port: number, error: unknown): Promise<string> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", ({ code = "", message }: NodeJS.ErrnoException) => {
      resolve(REASONS[code] ?? message);
    });
    server.listen({ host, port, exclusive: true }, () => {
      server.close(() => resolve(error instanceof ListenError ? error.why : IN_USE));
    });
  });
}

/**
 * Threads share a port with SO_REUSEPORT, and so could another process of this user that was
 * started at the same instant. Checked before this process listens a second time.
 *
 * @throws ListenError
 */
export function checkSoleListener(host: string, port: number): void {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const seen = new Set<string>();
  for (const file of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const line of linesOf(file)) {
      const [, local = "", , state] = line.trim().split(/\s+/);
      if (state !== LISTEN || !local.endsWith(suffix)) continue;
      if (seen.has(local)) throw new ListenError(`${host}:${port}`, IN_USE);
      seen.add(local);
    }
  }
}

function linesOf(file: string): string[] {
  try {
    return readFileSync(file, "latin1").split("\n");
  } catch {
    return []; // No IPv6, or no /proc.
  }
}
