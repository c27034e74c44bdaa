import { spawn } from "node:child_process";

/**
 * Tells systemd about the state of the service (sd_notify(3)), when it asked for that by setting
 * NOTIFY_SOCKET. Node has no datagram sockets of that kind, so systemd's own tool speaks for this
 * process: units that do not run as root need NotifyAccess=all, as deploy/ringd.service has it.
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
