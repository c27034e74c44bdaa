import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";

export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Standard error, as progress is not part of the result. */
export function tell(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** "a  b" -> ["a", "b"]. */
export function words(text: string | undefined): string[] {
  return (text ?? "").split(" ").filter((word) => word !== "");
}

export const MACHINE = `${cpus().length} x ${cpus()[0]?.model ?? "?"}, Node ${process.versions.node}`;

/** Writes the result, and its chart if there is one, and prints the paths. */
export function writeResult(directory: string, name: string, result: object, svg?: string): void {
  mkdirSync(directory, { recursive: true });
  const date = new Date().toISOString();
  const path = join(directory, `${name}-${date.replace(/[:.]/g, "-")}`);
  const json = JSON.stringify({ date, machine: MACHINE, ...result }, undefined, 1);
  writeFileSync(`${path}.json`, `${json}\n`);
  if (svg !== undefined) writeFileSync(`${path}.svg`, svg);
  say(`\nWritten: ${path}.json${svg === undefined ? "" : `, ${path}.svg`}`);
}
