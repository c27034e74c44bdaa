import type { CommandSpec, FlagSpec } from "./spec.js";

/** Named after etcdctl 3's, whose flags `restore` has. All are ringctl's own. */
export const SNAPSHOT_COMMAND: CommandSpec = {
  name: "snapshot",
  usage: "snapshot save, status and restore subcommands",
  isOwn: true,
  subcommands: [
    {
      name: "save",
      usage: "save the state of a running member to a file",
      argsUsage: "<file>",
      description: `Save asks the first of --endpoints that responds. With authentication enabled, it needs root.
   The file gets its name once all of it was received, checked and written durably.`,
      flags: [
        {
          names: ["quorum"],
          kind: "bool",
          usage: "wait until the member has all that was committed before",
        },
      ],
    },
    {
      name: "status",
      usage: "check a snapshot file and show what it holds",
      argsUsage: "<file>",
      flags: [skipHash()],
    },
    {
      name: "restore",
      usage: "make the data directory of a member of a new cluster from a snapshot file",
      argsUsage: "<file>",
      description: `Restore is run once for each member of the new cluster, with the same file, --initial-cluster and
   --initial-cluster-token. Keys, indexes, TTLs, the history for waitIndex, users and roles are as
   they were; the members are the new ones.

   $ snapshot restore backup.snap --name n1 --initial-cluster n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380 \\
       --initial-advertise-peer-urls http://10.0.0.1:2380 --data-dir /var/lib/ringd`,
      flags: [
        string("data-dir", "data directory to make: absent or empty; NAME.etcd if not given"),
        string("wal-dir", "log directory to make, if the member gets a --wal-dir"),
        string("name", "name of the member", "default"),
        string(
          "initial-cluster",
          "all members of the new cluster: name=url,name=url",
          "default=http://localhost:2380",
        ),
        string("initial-cluster-token", "token of the new cluster", "etcd-cluster"),
        string("initial-advertise-peer-urls", "peer URLs of the member", "http://localhost:2380"),
        skipHash(),
      ],
    },
  ],
};

function skipHash(): FlagSpec {
  return {
    names: ["skip-hash-check"],
    kind: "bool",
    usage: "accept a file without a hash, such as one of a data directory's member/snap",
  };
}

function string(name: string, usage: string, initial?: string): FlagSpec {
  return { names: [name], kind: "string", usage, ...(initial === undefined ? {} : { initial }) };
}
