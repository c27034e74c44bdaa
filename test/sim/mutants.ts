import { MemberCluster } from "./member-cluster.js";
import { MUTANTS } from "./member-mutants.js";

/**
 * The number of seeds to find each planted bug, and the check that finds it: a table for the
 * README.
 */
const seedsMax = Number(process.argv[2] ?? 200);
const only = process.argv[3] ?? "";
for (const { name, faults, plant } of MUTANTS) {
  if (!name.includes(only)) continue;
  const undo = plant();
  let caught = "not caught";
  for (let seed = 1; seed <= seedsMax; seed++) {
    try {
      new MemberCluster({ seed, faults: faults ?? {} }).run();
    } catch (error) {
      const [why = ""] = (error as Error).message.split("\n");
      caught = `seed ${seed}: ${why.slice(0, 150)}`;
      break;
    }
  }
  undo();
  process.stdout.write(`| ${name} | ${caught} |\n`);
}
