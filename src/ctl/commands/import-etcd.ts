import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { checkDuplicateUrls, foundingPlan, type StartPlan } from "../../bootstrap/start-plan.js";
import { FORMAT_LEVEL } from "../../cluster/format.js";
import { formatId } from "../../cluster/ids.js";
import { type EtcdContent, readEtcdMember } from "../../etcd/member-dir.js";
import { countV3 } from "../../etcd/v3-file.js";
import { parseUrlList } from "../../go/url-list.js";
import { RingdError } from "../../lib/errors.js";
import { KEYS_PREFIX } from "../../store/node.js";
import { COMPAT_CLUSTER_VERSION } from "../../v2/status.js";
import type { Context, FlagValues } from "../cli/spec.js";
import { EXIT, failure } from "../output/exit.js";
import { err, out } from "../output/terminal.js";
import { checkAbsent, writeNewMember } from "./new-data-dir.js";
import { authOf, counted, storeRows } from "./store-summary.js";

/** Makes the data directory of a new cluster of one from that of an etcd member. */
export async function importEtcd({ flags }: Context): Promise<number> {
  if (flags.string("etcd-data-dir") === "") {
    throw failure("--etcd-data-dir is needed: the data directory of a stopped etcd");
  }
  try {
    if (flags.bool("detect-v2")) return detect(readContent(flags));
    const dataDir = flags.string("data-dir");
    const walDir = flags.string("wal-dir");
    checkWalDir(flags.string("etcd-data-dir"), walDir, flags.string("etcd-wal-dir"));
    if (dataDir === "") throw failure("--data-dir is needed: the data directory to make");
    const plan = planOf(flags);
    checkAbsent(dataDir, walDir);
    const content = readContent(flags);
    writeNewMember({
      ...{ dataDir, walDir, plan, store: content.store },
      ...{ index: content.index, term: content.term, clockMs: Math.floor(content.syncMs) },
      clusterVersion: COMPAT_CLUSTER_VERSION,
      format: FORMAT_LEVEL,
    });
    out(summary(flags, plan, content));
    return EXIT.ok;
  } catch (error) {
    if (error instanceof RingdError && error.code !== "CTL_FAILURE") throw failure(error.message);
    throw error;
  }
}

function readContent(flags: FlagValues): EtcdContent {
  const walDir = flags.string("etcd-wal-dir");
  return readEtcdMember(flags.string("etcd-data-dir"), walDir || undefined, Date.now());
}

/** etcd's flag of this name is easily meant. @throws Failure */
function checkWalDir(etcdDataDir: string, walDir: string, etcdWalDir: string): void {
  if (walDir === "" || etcdWalDir !== "" || existsSync(join(etcdDataDir, "member", "wal"))) return;
  throw failure(
    `--wal-dir ${walDir} is the new member's; etcd's log, which is not in ${etcdDataDir}, is named by --etcd-wal-dir`,
  );
}

/** @throws Failure, StartPlanError */
function planOf(flags: FlagValues): StartPlan {
  const name = flags.string("name");
  const urls = parseUrlList(flags.string("initial-advertise-peer-urls").split(","));
  if (urls.kind === "invalid") {
    throw failure(`--initial-advertise-peer-urls: ${urls.message}`);
  }
  const members = [{ name, peerUrls: urls.urls }];
  checkDuplicateUrls(members);
  const sha1 = (bytes: Uint8Array) => createHash("sha1").update(bytes).digest();
  return foundingPlan(members, name, flags.string("initial-cluster-token"), sha1);
}

/** Lists custom v2 content: everything but the members and the version. */
function detect({ store }: EtcdContent): number {
  const found: string[] = [];
  const cursor = store.view().cursor("/1/");
  for (let node = cursor.next(); node !== undefined; node = cursor.next()) {
    const key = node.path.startsWith(`${KEYS_PREFIX}/`) ? node.path.slice(KEYS_PREFIX.length) : "";
    if (key === "") continue; // Users and roles are counted below.
    const bytes = Buffer.from(key, "latin1");
    found.push(`${bytes.toString()}${node.isDirectory ? "/" : ""}\n`);
  }
  const { users, roles } = authOf(store);
  out(found.join(""));
  if (found.length === 0 && users.length + roles.length === 0) {
    err("no v2 content beside members and version\n");
    return EXIT.ok;
  }
  const auth =
    users.length + roles.length === 0
      ? ""
      : `, ${counted(users.length, "user")}, ${counted(roles.length, "role")}`;
  err(`v2 content: ${counted(found.length, "key")}${auth}\n`);
  return EXIT.hasContent;
}

function summary(flags: FlagValues, plan: StartPlan, content: EtcdContent): string {
  const { store, memberId, clusterId } = content;
  const rows = [
    ["etcd index", `${store.index} (Raft index ${content.index}, term ${content.term})`],
    ...storeRows(store),
    ...leftOut(content).map((text) => ["left out", text]),
  ] as const;
  return [
    `imported member ${formatId(memberId)} of cluster ${formatId(clusterId)} from ${flags.string("etcd-data-dir")}`,
    `to ${flags.string("data-dir")}, the first member ${formatId(plan.memberId)} of cluster ${formatId(plan.clusterId)}`,
    ...rows.map(([label = "", text = ""]) => `  ${label.padEnd(12)}${text}`),
    "",
  ].join("\n");
}

function leftOut({ members, uncommitted, torn, v3File, v3Requests }: EtcdContent): string[] {
  const texts: string[] = [];
  if (members > 1) texts.push(`the other ${counted(members - 1, "member")} of the cluster`);
  if (uncommitted > 0) {
    texts.push(
      `${uncommitted} log entries after the last one that this member knows to be committed`,
    );
  }
  if (torn !== undefined) {
    texts.push(`a record that etcd had not completed, at byte ${torn.atBytes} of ${torn.file}`);
  }
  if (v3File !== undefined) texts.push(...leftOutV3(v3File));
  if (v3Requests > 0) texts.push(`${counted(v3Requests, "request")} of the v3 API in the log`);
  return texts;
}

/** Every etcd 3 has the file, also if nobody used its v3 API. */
function leftOutV3(file: string): string[] {
  const content = countV3(file);
  if (content === undefined) return [`data of the v3 API in ${file}, which cannot be read`];
  const { revisions, leases, users, isWhole } = content;
  if (revisions + leases + users === 0) return [];
  const parts = [
    `${counted(revisions, "revision")} of keys`,
    counted(leases, "lease"),
    counted(users, "user"),
  ];
  return [`data of the v3 API in ${file}: ${isWhole ? "" : "at least "}${parts.join(", ")}`];
}
