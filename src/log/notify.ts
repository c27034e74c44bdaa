import { spawn } from "node:child_process";
import { RingdError } from "../lib/errors.js";

/**
 * Tells systemd about the state of the service (sd_notify(3)), when it asked for that by setting
 * NOTIFY_SOCKET. A unit with the default NotifyAccess=main believes the main process alone, so this
 * process sends the datagram itself, through node-unix-socket, as Node has no such sockets. Where
 * that package does not load, and for abstract sockets, systemd's own tool speaks for this process,
 * which takes NotifyAccess=all in units that do not run as root.
 *
 * @param state "READY=1", "STOPPING=1"
 */
export function notifySupervisor(state: string, log: NotifyLog): void {
  const path = process.env.NOTIFY_SOCKET ?? "";
  if (path === "") return;
  void sendDatagram(path, state).catch((error: unknown) => {
    log.warn({ err: error }, "systemd is told by systemd-notify: the unit needs NotifyAccess=all");
    const child = spawn("systemd-notify", [`--pid=${process.pid}`, state], { stdio: "ignore" });
    child.on("error", (err) => log.warn({ err }, "systemd-notify failed"));
    child.unref();
  });
}

export interface NotifyLog {
  warn(details: object, message: string): void;
}

/** The environment of this process names no socket of a supervisor that can be used. */
class NotifySocketError extends RingdError {
  override readonly name = "NotifySocketError";
  readonly code = "NOTIFY_SOCKET_INVALID";
}

/** @throws NotifySocketError; Error from the socket where it cannot be sent */
async function sendDatagram(path: string, text: string): Promise<void> {
  if (!path.startsWith("/")) throw new NotifySocketError(`NOTIFY_SOCKET is not a path: ${path}`);
  const { DgramSocket } = await import("node-unix-socket");
  const bytes = Buffer.from(text);
  const socket = new DgramSocket();
  try {
    await new Promise<void>((resolve, reject) => {
      socket.on("error", reject);
      socket.sendTo(bytes, 0, bytes.length, path, (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
  } finally {
    socket.close();
  }
}
