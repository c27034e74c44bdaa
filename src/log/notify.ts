import { spawn } from "node:child_process";

/**
 * Tells systemd about the state of the service (sd_notify(3)), when it asked for that by setting
 * NOTIFY_SOCKET. Node has no unix datagram sockets, so systemd's own tool sends the message; where
 * there is a NOTIFY_SOCKET there is that tool. `--pid` makes it speak for this process, which needs
 * `NotifyAccess=all` or `exec` in units that do not run as root.
 *
 * @param state "READY=1", "STOPPING=1"
 */
export function notifySupervisor(state: string, onError: (error: Error) => void): void {
  if ((process.env.NOTIFY_SOCKET ?? "") === "") return;
  const child = spawn("systemd-notify", [`--pid=${process.pid}`, state], { stdio: "ignore" });
  child.on("error", onError);
  child.unref();
}
