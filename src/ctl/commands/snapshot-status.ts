import { formatId } from "../../cluster/ids.js";
import { KEYS_PREFIX } from "../../store/node.js";
import { readStoreBlock } from "../../store/snapshot.js";
import type { Context } from "../cli/spec.js";
import { EXIT, failure } from "../output/exit.js";
import { err, out } from "../output/terminal.js";
import { readSavedFile, type SavedFile } from "./saved-file.js";

/** What a snapshot's store holds. */
class Totals {
  index = 0;
  events = 0;
  keys = 0;
  directories = 0;

  push(block: Uint8Array): void {
    const read = readStoreBlock(block);
    if (read.kind === "head") {
      this.index = read.index;
      this.events = read.events;
    }
    if (read.kind !== "nodes") return;
    for (const { path, isDirectory } of read.nodes) {
      if (!path.startsWith(`${KEYS_PREFIX}/`)) continue;
      if (isDirectory) this.directories++;
      else this.keys++;
    }
  }
}

/** Reads all of the file, as its hash is that of all of it. */
export async function snapshotStatus({ args, flags, globals }: Context): Promise<number> {
  const [file = ""] = args;
  if (args.length !== 1) throw failure("snapshot status needs one file");
  const totals = new Totals();
  const saved = readSavedFile(file, flags.bool("skip-hash-check"), (block) => totals.push(block));
  show(saved, totals, globals.string("output"));
  return EXIT.ok;
}

function show(saved: SavedFile, totals: Totals, format: string): void {
  const { hash, index, term, origin, bytes } = saved;
  const ids = {
    clusterId: origin === undefined ? "" : formatId(origin.clusterId),
    memberId: origin === undefined ? "" : formatId(origin.memberId),
  };
  switch (format) {
    case "json":
      // The first four are etcdctl 3's.
      out(
        `${JSON.stringify({
          ...{ hash, revision: totals.index, totalKey: totals.keys, totalSize: bytes },
          ...{ directories: totals.directories, events: totals.events },
          ...{ raftIndex: index, raftTerm: term, ...ids },
        })}\n`,
      );
      return;
    case "simple":
    case "extended": {
      const rows = [
        ["hash", hash === "" ? "none" : `${hash} (SHA-256)`],
        ["etcd index", `${totals.index} (Raft index ${index}, term ${term})`],
        [
          "keys",
          `${totals.keys}, in ${totals.directories} ${totals.directories === 1 ? "directory" : "directories"}`,
        ],
        ["events", `${totals.events}`],
        ["bytes", `${bytes}`],
        ...(origin === undefined
          ? []
          : [["from", `member ${ids.memberId} of cluster ${ids.clusterId}`]]),
      ];
      out(rows.map(([label = "", text]) => `${label.padEnd(12)}${text}\n`).join(""));
      return;
    }
    default:
      err(`Unsupported output format: ${format}\n`);
  }
}
