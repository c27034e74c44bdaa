import { createHash } from "node:crypto";
import {
  checkAdvertised,
  checkDuplicateUrls,
  foundingPlan,
  ownEntry,
  type StartPlan,
} from "../../bootstrap/start-plan.js";
import { formatId } from "../../cluster/ids.js";
import { VERSION_PATH } from "../../cluster/paths.js";
import { parseInitialCluster } from "../../config/initial-cluster.js";
import { parseUrlList } from "../../go/url-list.js";
import { RingdError } from "../../lib/errors.js";
import { SnapshotDecodeError, SnapshotDecoder } from "../../store/snapshot.js";
import type { Store } from "../../store/store.js";
import { COMPAT_CLUSTER_VERSION } from "../../v2/status.js";
import type { Context, FlagValues } from "../cli/spec.js";
import { EXIT, failure } from "../output/exit.js";
import { out } from "../output/terminal.js";
import { checkAbsent, WHOLE_HISTORY, writeNewMember } from "./new-data-dir.js";
import { readSavedFile, type SavedFile } from "./saved-file.js";
import { storeRows } from "./store-summary.js";

/** Makes the data directory of one member of a new cluster that begins with a snapshot. */
export async function snapshotRestore({ args, flags }: Context): Promise<number> {
  const [file = ""] = args;
  if (args.length !== 1) throw failure("snapshot restore needs one file");
  try {
    const planFor = readPlan(flags);
    const dataDir = flags.string("data-dir") || `${flags.string("name")}.etcd`;
    const walDir = flags.string("wal-dir");
    checkAbsent(dataDir, walDir);
    const decoder = new SnapshotDecoder(WHOLE_HISTORY);
    const saved = readSavedFile(file, flags.bool("skip-hash-check"), (block) =>
      decoder.push(block),
    );
    const store = finish(decoder, file);
    const { index, term, head } = saved;
    const plan = planFor(saved);
    writeNewMember({
      ...{ dataDir, walDir, plan, store, index, term },
      ...{ clockMs: head.clock.ms, format: head.format },
      clusterVersion: store.get(VERSION_PATH)?.value ?? COMPAT_CLUSTER_VERSION,
    });
    out(summary(file, dataDir, plan, saved, store));
    return EXIT.ok;
  } catch (error) {
    if (error instanceof RingdError && error.code !== "CTL_FAILURE") throw failure(error.message);
    throw error;
  }
}

/** @throws Failure */
function finish(decoder: SnapshotDecoder, file: string): Store {
  try {
    return decoder.finish();
  } catch (error) {
    if (!(error instanceof SnapshotDecodeError)) throw error;
    throw failure(`${file} is damaged: ${error.message}`);
  }
}

/**
 * The ids depend on what is restored, too: a member of the old cluster, or one restored from
 * another file, must not pass for one of this cluster, as its history is another one.
 *
 * @throws Failure, StartPlanError in etcd's words
 */
function readPlan(flags: FlagValues): (saved: SavedFile) => StartPlan {
  const name = flags.string("name");
  const cluster = parseInitialCluster(flags.string("initial-cluster"));
  if (cluster.kind === "invalid") throw failure(`--initial-cluster: ${cluster.message}`);
  const urls = parseUrlList(flags.string("initial-advertise-peer-urls").split(","));
  if (urls.kind === "invalid") {
    throw failure(`--initial-advertise-peer-urls: ${urls.message}`);
  }
  const { members } = cluster;
  // By text: the names may not resolve yet.
  checkAdvertised(ownEntry(members, name), urls.urls, new Map());
  checkDuplicateUrls(members);
  const sha1 = (bytes: Uint8Array) => createHash("sha1").update(bytes).digest();
  const token = flags.string("initial-cluster-token");
  return ({ digest }) => foundingPlan(members, name, `${token} ${digest}`, sha1);
}

function summary(
  file: string,
  dataDir: string,
  { memberId, clusterId, members }: StartPlan,
  { index, term }: SavedFile,
  store: Store,
): string {
  const size = members.length === 1 ? "one member" : `${members.length} members`;
  const rows = [
    ["etcd index", `${store.index} (Raft index ${index}, term ${term})`] as const,
    ...storeRows(store),
  ];
  return [
    `restored ${file}`,
    `to ${dataDir}, member ${formatId(memberId)} of cluster ${formatId(clusterId)} of ${size}`,
    ...rows.map(([label, text]) => `  ${label.padEnd(12)}${text}`),
    "",
  ].join("\n");
}
