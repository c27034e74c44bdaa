import { CLUSTER_COMMANDS } from "./cluster-commands.js";
import { SNAPSHOT_COMMAND } from "./snapshot-commands.js";
import type { CommandSpec, FlagSpec } from "./spec.js";
import { TRANSFER_COMMANDS } from "./transfer-commands.js";

/** All flags and commands, in the order of the help texts. */

export const GLOBAL_FLAGS: readonly FlagSpec[] = [
  bool("debug", "output cURL commands which can be used to reproduce the request"),
  bool("no-sync", "don't synchronize cluster information before sending request"),
  {
    names: ["output", "o"],
    kind: "string",
    usage: "output response in the given format (`simple`, `extended` or `json`)",
    initial: "simple",
  },
  {
    names: ["discovery-srv", "D"],
    kind: "string",
    usage: "domain name to query for SRV records describing cluster endpoints",
  },
  {
    ...string("discovery-srv-name", "service name to query when using DNS discovery"),
    isOwn: true,
  },
  bool("insecure-discovery", "accept insecure SRV records describing cluster endpoints"),
  {
    names: ["peers", "C"],
    kind: "string",
    usage: 'DEPRECATED - "--endpoints" should be used instead',
  },
  string("endpoint", 'DEPRECATED - "--endpoints" should be used instead'),
  string(
    "endpoints",
    'a comma-delimited list of machine addresses in the cluster (default: "http://127.0.0.1:2379,http://127.0.0.1:4001")',
  ),
  string("cert-file", "identify HTTPS client using this SSL certificate file"),
  string("key-file", "identify HTTPS client using this SSL key file"),
  string("ca-file", "verify certificates of HTTPS-enabled servers using this CA bundle"),
  {
    names: ["username", "u"],
    kind: "string",
    usage: "provide username[:password] and prompt if password is not supplied.",
  },
  { names: ["timeout"], kind: "duration", usage: "connection timeout per request", initial: "2s" },
  {
    names: ["total-timeout"],
    kind: "duration",
    usage: "timeout for the command execution (except watch)",
    initial: "5s",
  },
];

export const HELP_FLAG: FlagSpec = bool("help", "show help", "h");
export const VERSION_FLAG: FlagSpec = bool("version", "print the version", "v");

const TTL: FlagSpec = {
  names: ["ttl"],
  kind: "int",
  usage: "key time-to-live in seconds",
  initial: "0",
};
const SORT = bool("sort", "returns result in sorted order");
const QUORUM = bool("quorum", "require quorum for get request", "q");
const AFTER_INDEX = int("after-index", "watch after the given index");
const ROLES: FlagSpec = {
  names: ["roles"],
  kind: "strings",
  usage: "List of roles to grant or revoke",
};

const USER_COMMANDS: readonly CommandSpec[] = [
  {
    name: "add",
    usage: "add a new user for the etcd cluster",
    argsUsage: "<user>",
  },
  {
    name: "get",
    usage: "get details for a user",
    argsUsage: "<user>",
  },
  {
    name: "list",
    usage: "list all current users",
    argsUsage: "<user>",
  },
  {
    name: "remove",
    usage: "remove a user for the etcd cluster",
    argsUsage: "<user>",
  },
  {
    name: "grant",
    usage: "grant roles to an etcd user",
    argsUsage: "<user>",
    flags: [ROLES],
  },
  {
    name: "revoke",
    usage: "revoke roles for an etcd user",
    argsUsage: "<user>",
    flags: [ROLES],
  },
  {
    name: "passwd",
    usage: "change password for a user",
    argsUsage: "<user>",
  },
];

const ROLE_COMMANDS: readonly CommandSpec[] = [
  {
    name: "add",
    usage: "add a new role for the etcd cluster",
    argsUsage: "<role> ",
  },
  {
    name: "get",
    usage: "get details for a role",
    argsUsage: "<role>",
  },
  {
    name: "list",
    usage: "list all roles",
    argsUsage: " ",
  },
  {
    name: "remove",
    usage: "remove a role from the etcd cluster",
    argsUsage: "<role>",
  },
  {
    name: "grant",
    usage: "grant path matches to an etcd role",
    argsUsage: "<role>",
    flags: permissionFlags("granted", "Grant", ["read-only", "write-only", "read-write"]),
  },
  {
    name: "revoke",
    usage: "revoke path matches for an etcd role",
    argsUsage: "<role>",
    flags: permissionFlags("revoked", "Revoke", ["read", "write", "read-write"]),
  },
];

const MEMBER_COMMANDS: readonly CommandSpec[] = [
  {
    name: "list",
    usage: "enumerate existing cluster members",
    argsUsage: " ",
  },
  {
    name: "add",
    usage: "add a new member to the etcd cluster",
    argsUsage: "<name> <peerURL>",
    flags: [
      { ...bool("learner", "add a learner, which has no vote until it is promoted"), isOwn: true },
    ],
  },
  {
    name: "remove",
    usage: "remove an existing member from the etcd cluster",
    argsUsage: "<memberID>",
  },
  {
    name: "update",
    usage: "update an existing member in the etcd cluster",
    argsUsage: "<memberID> <peerURLs>",
  },
  {
    name: "promote",
    usage: "promote a learner to a voting member",
    argsUsage: "<memberID or name>",
    isOwn: true,
  },
];

export const COMMANDS: readonly CommandSpec[] = [
  {
    name: "backup",
    usage: "backup an etcd directory",
    argsUsage: " ",
    flags: [
      string("data-dir", "Path to the etcd data dir"),
      string("wal-dir", "Path to the etcd wal dir"),
      string("backup-dir", "Path to the backup dir"),
      string("backup-wal-dir", "Path to the backup wal dir"),
      bool("with-v3", "Backup v3 backend data"),
    ],
  },
  {
    name: "cluster-health",
    usage: "check the health of the etcd cluster",
    argsUsage: " ",
    flags: [bool("forever", "forever check the health every 10 second until CTRL+C", "f")],
  },
  {
    name: "mk",
    usage: "make a new key with a given value",
    argsUsage: "<key> <value>",
    flags: [bool("in-order", "create in-order key under directory <key>"), TTL],
  },
  {
    name: "mkdir",
    usage: "make a new directory",
    argsUsage: "<key>",
    flags: [TTL],
  },
  {
    name: "rm",
    usage: "remove a key or a directory",
    argsUsage: "<key>",
    flags: [
      bool("dir", "removes the key if it is an empty directory or a key-value pair"),
      bool("recursive", "removes the key and all child keys(if it is a directory)", "r"),
      string("with-value", "previous value"),
      int("with-index", "previous index"),
    ],
  },
  {
    name: "rmdir",
    usage: "removes the key if it is an empty directory or a key-value pair",
    argsUsage: "<key>",
  },
  {
    name: "get",
    usage: "retrieve the value of a key",
    argsUsage: "<key>",
    flags: [SORT, QUORUM],
  },
  {
    name: "ls",
    usage: "retrieve a directory",
    argsUsage: "[key]",
    flags: [
      SORT,
      bool("recursive", "returns all key names recursively for the given path", "r"),
      bool("p", "append slash (/) to directories"),
      QUORUM,
    ],
  },
  {
    name: "set",
    usage: "set the value of a key",
    argsUsage: "<key> <value>",
    description: `Set sets the value of a key.

   When <value> begins with '-', <value> is interpreted as a flag.
   Insert '--' for workaround:

   $ set -- <key> <value>`,
    flags: [
      TTL,
      string("swap-with-value", "previous value"),
      int("swap-with-index", "previous index"),
    ],
  },
  {
    name: "setdir",
    usage: "create a new directory or update an existing directory TTL",
    argsUsage: "<key>",
    flags: [TTL],
  },
  {
    name: "update",
    usage: "update an existing key with a given value",
    argsUsage: "<key> <value>",
    flags: [TTL],
  },
  {
    name: "updatedir",
    usage: "update an existing directory",
    argsUsage: "<key> <value>",
    flags: [TTL],
  },
  {
    name: "watch",
    usage: "watch a key for changes",
    argsUsage: "<key>",
    flags: [
      bool("forever", "forever watch a key until CTRL+C", "f"),
      AFTER_INDEX,
      bool("recursive", "returns all values for key and child keys", "r"),
    ],
  },
  {
    name: "exec-watch",
    usage: "watch a key for changes and exec an executable",
    argsUsage: "<key> <command> [args...]",
    keepsSeparator: true,
    flags: [AFTER_INDEX, bool("recursive", "watch all values for key and child keys", "r")],
  },
  {
    name: "member",
    usage: "member add, remove and list subcommands",
    subcommands: MEMBER_COMMANDS,
  },
  { name: "user", usage: "user add, grant and revoke subcommands", subcommands: USER_COMMANDS },
  { name: "role", usage: "role add, grant and revoke subcommands", subcommands: ROLE_COMMANDS },
  {
    name: "auth",
    usage: "overall auth controls",
    subcommands: [
      {
        name: "enable",
        usage: "enable auth access controls",
        argsUsage: " ",
      },
      {
        name: "disable",
        usage: "disable auth access controls",
        argsUsage: " ",
      },
    ],
  },
  SNAPSHOT_COMMAND,
  ...CLUSTER_COMMANDS,
  ...TRANSFER_COMMANDS,
  {
    name: "dump",
    usage: "write a directory with all its descendants to standard output or a file, as JSON",
    argsUsage: "[key]",
    flags: [{ names: ["file", "f"], kind: "string", usage: "file to write" }],
    isOwn: true,
  },
  {
    name: "load",
    usage: "restore a dump from standard input or a file",
    argsUsage: "[key]",
    flags: [
      { names: ["file", "f"], kind: "string", usage: "file to read" },
      bool("keep", "do not overwrite existing keys"),
      { names: ["c"], kind: "int", usage: "concurrent requests", initial: "32" },
    ],
    isOwn: true,
  },
  {
    name: "top",
    usage: "show the members' metrics, refreshed until q or CTRL+C",
    argsUsage: " ",
    flags: [
      { names: ["interval"], kind: "duration", usage: "time between two refreshes", initial: "2s" },
      {
        names: ["count", "n"],
        kind: "int",
        usage: "number of refreshes, 0 for no limit",
        initial: "0",
      },
    ],
    isOwn: true,
  },
  {
    name: "bench",
    usage: "put and get keys for some seconds and show the latencies",
    argsUsage: " ",
    flags: [
      {
        names: ["seconds"],
        kind: "int",
        usage: "duration of each of the two phases",
        initial: "5",
      },
      { names: ["c"], kind: "int", usage: "concurrent requests", initial: "64" },
      { names: ["size"], kind: "int", usage: "bytes of a value", initial: "64" },
      { names: ["key"], kind: "string", usage: "directory to use", initial: "/ringctl-bench" },
    ],
    isOwn: true,
  },
  {
    name: "completion",
    usage: "print a completion script for bash, zsh or fish",
    argsUsage: "<shell>",
    isOwn: true,
  },
];

function bool(name: string, usage: string, ...aliases: string[]): FlagSpec {
  return { names: [name, ...aliases], kind: "bool", usage };
}

function string(name: string, usage: string): FlagSpec {
  return { names: [name], kind: "string", usage };
}

function int(name: string, usage: string): FlagSpec {
  return { names: [name], kind: "int", usage, initial: "0" };
}

function permissionFlags(
  done: string,
  verb: string,
  [read, write, both]: readonly [string, string, string],
): readonly FlagSpec[] {
  return [
    string("path", `Path ${done} for the role to access`),
    bool("read", `${verb} ${read} access`),
    bool("write", `${verb} ${write} access`),
    bool("readwrite", `${verb} ${both} access`, "rw"),
  ];
}
