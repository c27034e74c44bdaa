import { readFileSync } from "node:fs";
import { Client } from "../../client/client.js";
import { KeyExistsError, NotAFileError } from "../../client/errors.js";
import { cleanPath } from "../../go/clean-path.js";
import { systemReason } from "../../lib/errors.js";
import { readTextFile } from "../../process/text-file.js";
import { Session } from "../cli/session.js";
import type { Context } from "../cli/spec.js";
import { toKeyFailure } from "../output/errors.js";
import { EXIT, failure } from "../output/exit.js";
import { inParallel } from "../output/parallel.js";
import { ProgressBar } from "../output/progress.js";
import { out } from "../output/terminal.js";
import { type Dump, type DumpedNode, parseDump } from "./dump-format.js";

/** The longest string of V8 has 512 Mi characters. */
const DUMP_BYTES_MAX = 500 * 2 ** 20;

/** Restores a dump at its original key or another one. Removes no other keys. */
export async function load(context: Context): Promise<number> {
  const session = await Session.open(context);
  const { flags, args } = context;
  const dump = read(flags.string("file"));
  const target = cleanPath(args[0] ?? dump.root).replace(/\/$/, "");
  const from = dump.root === "/" ? 0 : dump.root.length;
  const nodes = dump.nodes.map((node) => ({ ...node, key: target + node.key.slice(from) }));
  const client = new Client(session.options);
  const isKept = flags.bool("keep");
  const progress = new ProgressBar("load", nodes.length);
  const put = async (node: DumpedNode) => {
    try {
      await (node.dir ? putDirectory(client, node, isKept) : putFile(client, node, isKept));
    } catch (error) {
      progress.end();
      throw await toKeyFailure(EXIT.server, error);
    }
    progress.add(1);
  };
  // Directories first and in order, because a TTL is set before a directory has children.
  for (const node of nodes) if (node.dir) await put(node);
  const files = nodes.filter(({ dir }) => !dir);
  await inParallel(files, Math.max(Number(flags.int("c")), 1), put);
  progress.end();
  out(`loaded ${nodes.length} nodes\n`);
  return EXIT.ok;
}

async function putFile(client: Client, node: DumpedNode, isKept: boolean): Promise<void> {
  const { key, value = "", ttl } = node;
  if (!isKept) {
    await client.set(key, value, { ttl });
    return;
  }
  await client.create(key, value, { ttl }).catch((error: unknown) => {
    if (!(error instanceof KeyExistsError)) throw error;
  });
}

async function putDirectory(client: Client, { key, ttl }: DumpedNode, isKept: boolean) {
  try {
    await client.mkdir(key, { ttl });
  } catch (error) {
    if (!(error instanceof KeyExistsError)) throw error;
    if (isKept) return;
    // setDir replaces a file; an existing directory only gets the TTL.
    await client.setDir(key, { ttl }).catch(async (reason: unknown) => {
      if (!(reason instanceof NotAFileError)) throw reason;
      await client.updateDir(key, { ttl });
    });
  }
}

function read(file: string): Dump {
  try {
    return parseDump(file === "" ? readFileSync(0, "utf8") : readTextFile(file, DUMP_BYTES_MAX));
  } catch (error) {
    const name = file === "" ? "standard input" : file;
    if (!(error instanceof SyntaxError)) {
      throw failure(`cannot read ${name}: ${systemReason(error)}`);
    }
    throw failure(`${name} is not a dump: ${error.message}`);
  }
}
