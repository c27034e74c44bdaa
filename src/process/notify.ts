import { spawn } from "node:child_process";

/**
 * Reports the service's state to systemd (sd_notify(3)) if NOTIFY_SOCKET is set. Node lacks unix
 * datagram sockets, so systemd-notify sends it for us: units not run as root need NotifyAccess=all
 * (deploy/ringd.service).
 *
 * @param state "READY=1", "STOPPING=1"
 */
export function notifySupervisor(state: string, log: NotifyLog): void {
  if ((process.env.NOTIFY_SOCKET ?? "") === "") return;
  if (state === "READY=1")
    log.info("notifying systemd through systemd-notify; the unit needs NotifyAccess=all");
  const child = spawn("systemd-notify", [`--pid=${process.pid}`, state], { stdio: "ignore" });
  child.on("error", (err) => log.warn({ err }, "systemd-notify failed"));
  child.unref();
}

export interface NotifyLog {
  info(message: string): void;
  warn(details: object, message: string): void;
}
