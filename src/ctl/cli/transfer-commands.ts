import type { CommandSpec, FlagSpec } from "./spec.js";

const BETWEEN_CLUSTERS: readonly FlagSpec[] = [
  string(
    "from",
    "URLs of the source, separated by commas; http://USER:PASSWORD@HOST:PORT for a user",
  ),
  string("to", "URLs of the target"),
  {
    names: ["hidden"],
    kind: "strings",
    usage: 'directory with a name that begins with "_", to be copied, too; may be repeated',
  },
  string("state", "file that keeps the position, for a later run to resume from"),
  {
    names: ["merge"],
    kind: "bool",
    usage: "accept a target that is not empty; keys that only it has stay",
  },
  { names: ["c"], kind: "int", usage: "concurrent requests", initial: "32" },
];

/** Commands that move data into, out of and between clusters. All are ringctl's own. */
export const TRANSFER_COMMANDS: readonly CommandSpec[] = [
  {
    name: "import",
    usage: "make a data directory from an etcd member's, or import a snapshot of etcd 0.4",
    argsUsage: " ",
    description: `With --etcd-data-dir, import reads the data directory of a stopped member of etcd 2.0 to 3.5 and
   writes the data directory of the first member of a new cluster. Keys, indexes, TTLs, the
   history for waitIndex, users and roles are as they were. Data of the v3 API is not carried over.

   $ import --etcd-data-dir default.etcd --data-dir default.ringd \\
       --name default --initial-advertise-peer-urls http://10.0.0.1:2380

   With --snap, import sets the keys of a snapshot of etcd 0.4 in a running cluster.`,
    flags: [
      string("etcd-data-dir", "etcd's data directory, which is only read"),
      string("etcd-wal-dir", "etcd's log directory, if it had a --wal-dir"),
      string("data-dir", "data directory to make: absent or empty"),
      string("wal-dir", "log directory to make, if the new member gets a --wal-dir"),
      { ...string("name", "name of the new member"), initial: "default" },
      {
        ...string("initial-advertise-peer-urls", "peer URLs of the new member"),
        initial: "http://localhost:2380",
      },
      { ...string("initial-cluster-token", "token of the new cluster"), initial: "etcd-cluster" },
      {
        names: ["detect-v2"],
        kind: "bool",
        usage: "only list the v2 keys of --etcd-data-dir; exit code 0 for none, 5 for some",
      },
      string("snap", "Path to the valid etcd 0.x snapshot"),
      { names: ["hidden"], kind: "strings", usage: "Hidden key spaces to import from snapshot" },
      { names: ["c"], kind: "int", usage: "Number of concurrent clients", initial: "10" },
    ],
    isOwn: true,
  },
  {
    name: "migrate",
    usage: "copy a key space to another cluster and follow its changes until the cut-over",
    argsUsage: " ",
    description: `Migrate copies the key space of any v2 server to any other, and then applies the changes. At the
   cut-over, stop the writers and press CTRL+C: the last changes are applied, both sides are
   compared, and a summary is printed. Exit code 5 if they differ.

   $ migrate --from http://10.0.0.1:2379 --to http://10.0.1.1:2379 --state migration.json

   A server lists no names that begin with "_": give the directories with such names as --hidden,
   or use import, which finds all. With --state, an interrupted run resumes where it was.`,
    flags: [
      ...BETWEEN_CLUSTERS,
      {
        names: ["until-caught-up"],
        kind: "bool",
        usage: "compare and end as soon as the target has caught up",
      },
    ],
    isOwn: true,
  },
  {
    name: "mirror",
    usage: "keep the key space of another cluster up to date until CTRL+C",
    argsUsage: " ",
    description: `Mirror copies the key space of one cluster to another and follows its changes. It may run for
   months: outages of either side and lost history are made up for.

   $ mirror --from http://10.0.0.1:2379 --to http://10.0.1.1:2379 --state mirror.json`,
    flags: BETWEEN_CLUSTERS,
    isOwn: true,
  },
];

function string(name: string, usage: string): FlagSpec {
  return { names: [name], kind: "string", usage };
}
