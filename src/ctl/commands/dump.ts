import { closeSync, openSync, writeSync } from "node:fs";
import type { Node } from "../../client/answers.js";
import { Client } from "../../client/client.js";
import { cleanPath } from "../../lib/clean-path.js";
import { Session } from "../cli/session.js";
import type { Context } from "../cli/spec.js";
import { toKeyFailure } from "../output/errors.js";
import { EXIT, refused } from "../output/exit.js";
import { Progress } from "../output/progress.js";
import { out } from "../output/terminal.js";
import { type DumpedNode, FORMAT } from "./dump-format.js";

const PIECE_LINES = 1000;

/** Everything that a listing shows: not what a name beginning with `_` hides. */
export async function dump(context: Context): Promise<number> {
  const session = await Session.open(context);
  const key = cleanPath(`/${context.args[0] ?? ""}`).replace(/(?<=.)\/$/, "");
  const client = new Client(session.options);
  const answer = await client
    .get(key, { recursive: true, sorted: true, quorum: true })
    .catch(async (error: unknown) => {
      throw await toKeyFailure(EXIT.server, error);
    });
  const nodes = answer.node.dir ? below(answer.node) : [dumped(answer.node)];
  const file = context.flags.string("file");
  const target = file === "" ? undefined : open(file);
  const progress = new Progress("dump", nodes.length);
  const write = (text: string) => {
    if (target === undefined) out(text);
    else writeSync(target, text);
  };
  const head = { format: FORMAT, root: key, index: answer.index };
  write(`${JSON.stringify(head).slice(0, -1)},"nodes":[\n`);
  for (let at = 0; at < nodes.length; at += PIECE_LINES) {
    const piece = nodes.slice(at, at + PIECE_LINES);
    const isLast = at + PIECE_LINES >= nodes.length;
    write(`${piece.map((node) => JSON.stringify(node)).join(",\n")}${isLast ? "\n" : ",\n"}`);
    progress.add(piece.length);
  }
  write("]}\n");
  if (target !== undefined) closeSync(target);
  progress.end();
  return EXIT.ok;
}

function below(node: Node): DumpedNode[] {
  return (node.nodes ?? []).flatMap((child) => [dumped(child), ...below(child)]);
}

function dumped({ key, dir, value = "", ttl }: Node): DumpedNode {
  // What is overdue is given the shortest life there is, not an endless one.
  const life = ttl === undefined ? {} : { ttl: Math.max(ttl, 1) };
  return dir ? { key, dir: true, ...life } : { key, value, ...life };
}

function open(file: string): number {
  try {
    return openSync(file, "w");
  } catch (error) {
    throw refused((error as Error).message);
  }
}
