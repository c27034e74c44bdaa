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
    name: "move-leader",
    usage: "transfer leadership to another member",
    argsUsage: "<memberID or name>",
    isOwn: true,
  },
];
