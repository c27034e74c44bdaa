import { readFileSync } from "node:fs";
import { COMPAT_VERSION } from "../v2/status.js";

export function ringdVersion(): string {
  const file = new URL("../../package.json", import.meta.url);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}

/** The first four lines have etcd's format, for scripts that parse them. */
export function versionText(): string {
  return [
    `etcd Version: ${COMPAT_VERSION}`,
    "Git SHA: Not provided",
    `Go Version: none (Node.js ${process.version})`,
    `Go OS/Arch: ${process.platform}/${process.arch === "x64" ? "amd64" : process.arch}`,
    `ringd Version: ${ringdVersion()}`,
  ].join("\n");
}
