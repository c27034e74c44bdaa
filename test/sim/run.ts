import { MemberCluster, type SimFigures } from "./member-cluster.js";
import type { MemberFaults } from "./member-faults.js";

/**
 * npm run sim -- --seeds N --from S: runs N seeds in turn.
 *
 *   --faults JSON   instead of what the seeds draw (member-faults.ts), e.g. '{"confChangeMs":300}'
 *   --failures N    give up after so many; 10 by default
 *   --each          the figures of every seed
 *   --verbose       what the members log
 */
const options = new Map<string, string>();
for (let i = 2; i < process.argv.length; i++) {
  const name = process.argv[i] as string;
  options.set(name, process.argv[i + 1] ?? "");
}
const seeds = Number(options.get("--seeds") ?? 100);
const from = Number(options.get("--from") ?? 1);
const faults = JSON.parse(options.get("--faults") ?? "{}") as Partial<MemberFaults>;
const say = (line: string) => process.stdout.write(`${line}\n`);

const startMs = performance.now();
const total: Partial<Record<keyof SimFigures, number>> = {};
let failures = 0;
for (let seed = from; seed < from + seeds; seed++) {
  try {
    const figures = new MemberCluster({ seed, faults, isVerbose: options.has("--verbose") }).run();
    for (const [name, value] of Object.entries(figures)) {
      const key = name as keyof SimFigures;
      total[key] = (total[key] ?? 0) + value;
    }
    if ((seed - from + 1) % 1000 === 0) say(`${seed - from + 1} seeds done`);
    if (options.has("--each")) say(`${seed} ${JSON.stringify(figures)}`);
  } catch (error) {
    failures++;
    const text =
      error instanceof Error
        ? error.stack
            ?.split("\n")
            .slice(0, Number(options.get("--lines") ?? 30))
            .join("\n")
        : String(error);
    say(`seed ${seed} fails; npm run sim -- --seeds 1 --from ${seed} replays it: ${text}`);
    if (failures >= Number(options.get("--failures") ?? 10)) break;
  }
}
const minutes = (performance.now() - startMs) / 60_000;
say(
  `${seeds} seeds from ${from}, ${failures} failures, ${Math.round(seeds / minutes)} seeds per minute`,
);
const { trace: _, ...figures } = total;
say(JSON.stringify(figures));
process.exitCode = failures > 0 ? 1 : 0;
