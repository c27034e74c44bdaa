import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import type { StartPlan } from "../../bootstrap/start-plan.js";
import { comparePaths } from "../../btree/path-order.js";
import { Tree } from "../../btree/tree.js";
import { MEMBERS_PATH, memberPath, raftAttributesPath, VERSION_PATH } from "../../cluster/paths.js";
import { encodeSnapshotHead } from "../../cluster/snapshot-head.js";
import { goJsonStrings } from "../../go/text.js";
import { systemReason } from "../../lib/errors.js";
import { SNAPSHOT_FORMAT } from "../../snap/format.js";
import { SnapshotWriter } from "../../snap/writer.js";
import { FileDisk, syncDirectory } from "../../storage/disk.js";
import { CLUSTER_PREFIX, Node, PERMANENT } from "../../store/node.js";
import { SnapshotEncoder } from "../../store/snapshot.js";
import { StoreStats } from "../../store/stats.js";
import { Store, type StoreOptions } from "../../store/store.js";
import { makeDir } from "../../wal/data-dir.js";
import { writeIdentity } from "../../wal/identity.js";
import { SEGMENT_FORMAT } from "../../wal/segment.js";
import { Wal } from "../../wal/wal.js";
import { failure } from "../output/exit.js";

/** The data directory of a founder of a new cluster, which begins with a state. */
export interface NewMember {
  readonly dataDir: string;
  /** "" for the log's place below `dataDir`. */
  readonly walDir: string;
  /** Each of its members gets a directory of the same state. */
  readonly plan: StartPlan;
  /** Its keys; whatever it says about members is replaced. */
  readonly store: Store;
  /** Of the last entry that `store` contains. */
  readonly index: number;
  readonly term: number;
  /** The cluster's clock does not start before this, Unix milliseconds. */
  readonly clockMs: number;
  /** "3.4.0" */
  readonly clusterVersion: string;
  /** Level of what is written. */
  readonly format: number;
}

/** A snapshot has the whole history, whatever the member's --event-history. */
export const WHOLE_HISTORY: StoreOptions = { historyEventsMax: Number.MAX_SAFE_INTEGER };

/** @throws Failure unless both are absent or empty */
export function checkAbsent(dataDir: string, walDir: string): void {
  for (const dir of walDir === "" ? [dataDir] : [dataDir, walDir]) {
    if (!existsSync(dir)) continue;
    const names = attempt(dir, () => readdirSync(dir));
    if (names.length > 0) throw failure(`${dir} is not empty`);
  }
}

/**
 * Writes a data directory beside its place, durably, and renames it. A failure leaves nothing
 * behind.
 *
 * @throws Failure, RingdError
 */
export function writeNewMember(member: NewMember): void {
  const { dataDir, walDir } = member;
  checkAbsent(dataDir, walDir);
  const data = beside(dataDir);
  const inner = innerWalDir(member);
  const log = inner === undefined ? beside(walDir) : join(data, inner);
  const made = [data, log];
  try {
    write(member, data, log);
    // The log first: a data directory without its log would pass for one that lost it.
    if (inner === undefined) moveTo(log, walDir, made);
    moveTo(data, dataDir, made);
  } catch (error) {
    for (const dir of made) if (existsSync(dir)) rmSync(dir, { recursive: true });
    throw error;
  }
}

/** The log's path within the data directory; undefined for one elsewhere. */
function innerWalDir({ dataDir, walDir }: NewMember): string | undefined {
  if (walDir === "") return join("member", "wal");
  const [data, log] = [resolve(dataDir), resolve(walDir)];
  return isWithin(log, data) ? relative(data, log) : undefined;
}

function isWithin(path: string, dir: string): boolean {
  return relative(dir, path).split(sep)[0] !== "..";
}

/** Not by process id: in containers, a process that was killed here had the same one. */
function beside(dir: string): string {
  const path = resolve(dir);
  return join(dirname(path), `.${basename(path)}.tmp-${randomBytes(6).toString("hex")}`);
}

/** Replaces an empty directory. @param made gets what a failure is to remove */
function moveTo(from: string, to: string, made: string[]): void {
  attempt(to, () => {
    renameSync(from, to);
    made.push(to);
    syncDirectory(dirname(resolve(to)));
  });
}

function write(member: NewMember, data: string, log: string): void {
  const { plan, index, term, clockMs, format } = member;
  const snap = join(data, "member", "snap");
  const parents = [data, log].map((dir) => dirname(dir)).filter((dir) => !isWithin(dir, data));
  for (const dir of parents) attempt(dir, () => mkdirSync(dir, { recursive: true }));
  for (const dir of [data, join(data, "member"), snap, log]) makeDir(dir, "data directory");
  const conf = { voters: plan.members.map(({ id }) => id), learners: [] };
  const clock = { ms: clockMs, term: 0, index: 0 };
  const metadata = encodeSnapshotHead(conf, { format, clock });
  const version = Math.min(format, SNAPSHOT_FORMAT);
  const writer = new SnapshotWriter(snap, { index, term, metadata }, version);
  try {
    const encoder = new SnapshotEncoder(ofNewCluster(member));
    for (let block = encoder.next(); block !== undefined; block = encoder.next()) {
      writer.writeBlock(block);
    }
    writer.finish();
  } catch (error) {
    writer.abort();
    throw error;
  }
  const { wal } = Wal.create({
    disk: new FileDisk(log),
    metadataIfNew: plan,
    snapshot: { index, term },
    formatIfNew: format === 1 ? 1 : SEGMENT_FORMAT,
  });
  wal.setHardState({ term, vote: 0n, commit: index });
  wal.sync();
  wal.close();
  writeIdentity(data, plan);
  for (const dir of [join(data, "member"), data, log]) syncDirectory(dir);
}

/** The same keys, indexes and events; the members are those of the new cluster. */
function ofNewCluster({ store, plan, clusterVersion }: NewMember): Store {
  const { index } = store;
  const nodes: Node[] = [];
  const view = store.view().cursor("");
  for (let node = view.next(); node !== undefined; node = view.next()) {
    if (!node.path.startsWith(`${CLUSTER_PREFIX}/`)) nodes.push(node);
  }
  nodes.push(new Node(MEMBERS_PATH, "", true, index, index, PERMANENT));
  for (const { id, peerUrls } of plan.members) {
    const urls = Buffer.from(`{"peerURLs":${goJsonStrings(peerUrls)}}`).toString("latin1");
    nodes.push(
      new Node(memberPath(id), "", true, index, index, PERMANENT),
      new Node(raftAttributesPath(id), urls, false, index, index, PERMANENT),
    );
  }
  const { modifiedIndex: at = index } = store.get(VERSION_PATH) ?? {};
  nodes.push(new Node(VERSION_PATH, clusterVersion, false, at, at, PERMANENT));
  nodes.sort((a, b) => comparePaths(a.path, b.path));
  const stats = StoreStats.of(store.stats.toArray());
  return new Store(WHOLE_HISTORY, { index, tree: Tree.load(nodes), stats, events: store.events });
}

function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    throw failure(`${path}: ${systemReason(error)}`);
  }
}
