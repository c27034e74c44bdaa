import type { Execute } from "../cli/spec.js";

const keys = () => import("./keys.js");
const watches = () => import("./watch.js");
const members = () => import("./members.js");
const auth = () => import("./auth.js");

/** By the words that name a command. A module is loaded when its command runs, for a fast start. */
const LOADERS: Readonly<Record<string, () => Promise<Execute>>> = {
  backup: async () => (await import("./backup.js")).backup,
  "cluster-health": async () => (await import("./cluster-health.js")).clusterHealth,
  mk: async () => (await keys()).mk,
  mkdir: async () => (await keys()).mkdir,
  rm: async () => (await keys()).rm,
  rmdir: async () => (await keys()).rmdir,
  get: async () => (await keys()).get,
  ls: async () => (await keys()).ls,
  set: async () => (await keys()).set,
  setdir: async () => (await keys()).setdir,
  update: async () => (await keys()).update,
  updatedir: async () => (await keys()).updatedir,
  watch: async () => (await watches()).watch,
  "exec-watch": async () => (await watches()).execWatch,
  "member list": async () => (await members()).memberList,
  "member add": async () => (await members()).memberAdd,
  "member remove": async () => (await members()).memberRemove,
  "member update": async () => (await members()).memberUpdate,
  "member promote": async () => (await members()).memberPromote,
  "user add": async () => (await auth()).userAdd,
  "user get": async () => (await auth()).userGet,
  "user list": async () => (await auth()).userList,
  "user remove": async () => (await auth()).userRemove,
  "user grant": async () => (await auth()).userGrant,
  "user revoke": async () => (await auth()).userRevoke,
  "user passwd": async () => (await auth()).userPasswd,
  "role add": async () => (await auth()).roleAdd,
  "role get": async () => (await auth()).roleGet,
  "role list": async () => (await auth()).roleList,
  "role remove": async () => (await auth()).roleRemove,
  "role grant": async () => (await auth()).roleGrant,
  "role revoke": async () => (await auth()).roleRevoke,
  "auth enable": async () => (await auth()).authEnable,
  "auth disable": async () => (await auth()).authDisable,
  health: async () => (await import("./health.js")).health,
  doctor: async () => (await import("./doctor.js")).doctor,
  "move-leader": async () => (await import("./move-leader.js")).moveLeader,
  import: async () => (await import("./import.js")).importData,
  migrate: async () => (await import("./migrate.js")).migrate,
  mirror: async () => (await import("./migrate.js")).mirror,
  "snapshot save": async () => (await import("./snapshot-save.js")).snapshotSave,
  "snapshot status": async () => (await import("./snapshot-status.js")).snapshotStatus,
  "snapshot restore": async () => (await import("./snapshot-restore.js")).snapshotRestore,
  dump: async () => (await import("./dump.js")).dump,
  load: async () => (await import("./load.js")).load,
  top: async () => (await import("./top.js")).top,
  bench: async () => (await import("./bench.js")).bench,
  completion: async () => (await import("./completion.js")).completion,
};

/** @param path such as `["member", "add"]` @returns undefined for an unknown command */
export function loaderOf(path: readonly string[]): (() => Promise<Execute>) | undefined {
  const name = path.join(" ");
  return Object.hasOwn(LOADERS, name) ? LOADERS[name] : undefined;
}
