import { Client } from "../../client/client.js";
import { readTextFile } from "../../process/text-file.js";
import { Session } from "../cli/session.js";
import type { Context } from "../cli/spec.js";
import { toKeyFailure } from "../output/errors.js";
import { EXIT, failure, keyFailure } from "../output/exit.js";
import { inParallel } from "../output/parallel.js";
import { err, out } from "../output/terminal.js";
import { isRecord } from "./dump-format.js";

/** The longest string of V8 has 512 Mi characters. */
const SNAPSHOT_BYTES_MAX = 500 * 2 ** 20;
/** Shorter TTLs are raised to this, because an import takes some time. */
const TTL_MIN_SECONDS = 300;

/** A node in a snapshot of etcd 0.4. */
interface OldNode {
  readonly Path: string;
  readonly Value?: string;
  /** Go's zero time means never. */
  readonly ExpireTime?: string;
  /** Of a directory, by name. */
  readonly Children?: Readonly<Record<string, OldNode>> | null;
}

interface Copy {
  readonly key: string;
  readonly value: string;
  readonly ttl: number | undefined;
}

/** Of an etcd member's directory, or of a snapshot of etcd 0.4. */
export async function importData(context: Context): Promise<number> {
  const { flags } = context;
  const isDirectory = flags.string("etcd-data-dir") + flags.string("data-dir") !== "";
  if (!isDirectory && !flags.bool("detect-v2")) return await importSnapshot(context);
  return await (await import("./import-etcd.js")).importEtcd(context);
}

/**
 * Sets all keys of a snapshot of etcd 0.4; hidden ones (a name that begins with `_`) only with
 * --hidden.
 */
async function importSnapshot(context: Context): Promise<number> {
  const session = await Session.open(context);
  const { flags } = context;
  const file = flags.string("snap");
  const root = readSnapshot(file);
  const clients = Math.max(Number(flags.int("c")), 1);
  out(`starting to import snapshot ${file} with ${clients} clients\n`);
  const copies = [...visible(root)];
  for (const hidden of flags.strings("hidden")) {
    const node = find(root, hidden);
    if (node === undefined) throw keyFailure(EXIT.server, `100: Key not found (${hidden}) [0]`);
    copies.push(...visible(node));
  }
  const client = new Client(session.options);
  await inParallel(copies, clients, async ({ key, value, ttl }) => {
    try {
      await client.set(key, value, { ttl });
    } catch (error) {
      throw await toKeyFailure(EXIT.server, error);
    }
  });
  out(`finished importing ${copies.length} keys\n`);
  return EXIT.ok;
}

function readSnapshot(file: string): OldNode {
  if (file === "") {
    throw failure("no snapshot file provided (use --snap)");
  }
  let text: string;
  try {
    text = readTextFile(file, SNAPSHOT_BYTES_MAX);
  } catch {
    throw failure(`cannot read snapshot file ${file}`);
  }
  try {
    return rootOf(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw failure(`cannot decode snapshot file ${file}: ${error.message}`);
  }
}

/**
 * A snapshot file is a line with a checksum and JSON whose `state` is the store in base64. The
 * store itself, as JSON, is accepted, too.
 */
function rootOf(text: string): OldNode {
  const json: unknown = JSON.parse(text.replace(/^[0-9a-f]{8}\s*\n/i, ""));
  const state = isRecord(json) ? json.state : undefined;
  const store: unknown =
    typeof state === "string" ? JSON.parse(Buffer.from(state, "base64").toString("utf8")) : json;
  const root = isRecord(store) ? store.Root : undefined;
  if (!isRecord(root)) throw new SyntaxError("Root is missing");
  return root as unknown as OldNode;
}

function* visible(node: OldNode): Generator<Copy> {
  if (node.Children === undefined || node.Children === null) {
    err(`copying key: ${node.Path}\n`);
    yield { key: node.Path, value: node.Value ?? "", ttl: ttlOf(node) };
    return;
  }
  err(`entering dir: ${node.Path}\n`);
  for (const [name, child] of Object.entries(node.Children)) {
    if (!name.startsWith("_")) yield* visible(child);
  }
}

function ttlOf({ ExpireTime = "0001" }: OldNode): number | undefined {
  if (ExpireTime.startsWith("0001")) return undefined;
  const seconds = Math.ceil((Date.parse(ExpireTime) - Date.now()) / 1000);
  return Math.max(seconds, TTL_MIN_SECONDS);
}

function find(root: OldNode, key: string): OldNode | undefined {
  let node: OldNode | undefined = root;
  for (const name of key.split("/").filter((part) => part !== "")) node = node?.Children?.[name];
  return node;
}
