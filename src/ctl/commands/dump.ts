import { closeSync, openSync, writeSync } from "node:fs";
import { Client } from "../../client/client.js";
import type { Node } from "../../client/responses.js";
import { cleanPath } from "../../go/clean-path.js";
import { systemReason } from "../../lib/errors.js";
import { refuseUnreadPipe } from "../../process/text-file.js";
import { Session } from "../cli/session.js";
import type { Context } from "../cli/spec.js";
import { toKeyFailure } from "../output/errors.js";
import { EXIT, failure } from "../output/exit.js";
import { ProgressBar } from "../output/progress.js";
import { out } from "../output/terminal.js";
import { type DumpedNode, FORMAT } from "./dump-format.js";

/** Lines per write. */
const BATCH_LINES = 1000;

/** Writes all nodes of a listing: not the hidden ones, whose name begins with `_`. */
export async function dump(context: Context): Promise<number> {
  const session = await Session.open(context);
  const key = cleanPath(`/${context.args[0] ?? ""}`).replace(/(?<=.)\/$/, "");
  const client = new Client(session.options);
  const response = await client
    .get(key, { recursive: true, sorted: true, quorum: true })
    .catch(async (error: unknown) => {
      throw await toKeyFailure(EXIT.server, error);
    });
  const nodes = response.node.dir ? below(response.node) : [dumped(response.node)];
  const file = context.flags.string("file");
  const target = file === "" ? undefined : attempt(file, () => open(file));
  const progress = new ProgressBar("dump", nodes.length);
  const write = (text: string) => {
    if (target === undefined) out(text);
    else attempt(file, () => writeFully(target, text));
  };
  const header = { format: FORMAT, root: key, index: response.index };
  write(`${JSON.stringify(header).slice(0, -1)},"nodes":[\n`);
  for (let at = 0; at < nodes.length; at += BATCH_LINES) {
    const piece = nodes.slice(at, at + BATCH_LINES);
    const isLast = at + BATCH_LINES >= nodes.length;
    write(`${piece.map((node) => JSON.stringify(node)).join(",\n")}${isLast ? "\n" : ",\n"}`);
    progress.add(piece.length);
  }
  write("]}\n");
  if (target !== undefined) attempt(file, () => closeSync(target));
  progress.end();
  return EXIT.ok;
}

function below(node: Node): DumpedNode[] {
  return (node.nodes ?? []).flatMap((child) => [dumped(child), ...below(child)]);
}

function dumped({ key, dir, value = "", ttl }: Node): DumpedNode {
  // An overdue TTL becomes the shortest one: 0 would make the key permanent.
  const ttlField = ttl === undefined ? {} : { ttl: Math.max(ttl, 1) };
  return dir ? { key, dir: true, ...ttlField } : { key, value, ...ttlField };
}

function open(file: string): number {
  refuseUnreadPipe(file);
  return openSync(file, "w");
}

/** A disk that fills up, or a pipe, takes a part. */
function writeFully(descriptor: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
}

function attempt<T>(file: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw failure(`cannot write ${file}: ${systemReason(error)}`);
  }
}
