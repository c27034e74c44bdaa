import type { CommandSpec } from "./spec.js";

/** Commands about a running cluster that etcdctl's v2 commands do not have. */
export const CLUSTER_COMMANDS: readonly CommandSpec[] = [
  {
    name: "health",
    usage: "check each endpoint with a linearizable read; exit code 1 if one is unhealthy",
    argsUsage: " ",
    isOwn: true,
  },
  {
    name: "doctor",
    usage: "check clocks, disks, round trips, versions, URLs and room of all members",
    argsUsage: " ",
    description: `Doctor asks every member and prints a line for each check: ok, warn or fail, the figures, and what
   to do. Exit code 1 if a check fails. With --protect-status on the members, it needs root.

   $ doctor
   $ -o json -u root doctor`,
    isOwn: true,
  },
  {
    name: "move-leader",
    usage: "transfer leadership to another member",
    argsUsage: "<memberID or name>",
    isOwn: true,
  },
];
