import { Session } from "../cli/session.js";
import type { Context, FlagValues } from "../cli/spec.js";
import { EXIT, failure, keyFailure } from "../output/exit.js";
import { type KeyNode, type KeyResponse, printResponse } from "../output/keys.js";
import { out } from "../output/terminal.js";
import { requestNode } from "./key-request.js";

/**
 * get, ls, and all commands that write. Like etcdctl they connect before they check their
 * arguments.
 */

export async function get(context: Context): Promise<number> {
  const session = await Session.open(context);
  const key = keyOf(context);
  const { flags } = context;
  const response = await requestNode(session, {
    method: "GET",
    key,
    query: { recursive: false, sorted: flags.bool("sort"), quorum: flags.bool("quorum") },
  });
  if (response.node.dir) {
    throw failure(`${response.node.key ?? ""}: is a directory`);
  }
  print(context, response);
  return EXIT.ok;
}

export async function ls(context: Context): Promise<number> {
  const session = await Session.open(context);
  const { args, flags, globals } = context;
  const response = await requestNode(session, {
    method: "GET",
    key: args[0] ?? "/",
    query: {
      recursive: flags.bool("recursive"),
      sorted: flags.bool("sort"),
      quorum: flags.bool("quorum"),
    },
  });
  if (globals.string("output") !== "simple") {
    print(context, response);
    return EXIT.ok;
  }
  const { node } = response;
  const names = node.dir ? [] : [node.key ?? ""];
  collectNames(node, flags.bool("p"), names);
  if (names.length > 0) out(`${names.join("\n")}\n`);
  return EXIT.ok;
}

/** A directory comes before its children. */
function collectNames(node: KeyNode, isSlashed: boolean, names: string[]): void {
  for (const child of node.nodes ?? []) {
    names.push(`${child.key ?? ""}${isSlashed && child.dir ? "/" : ""}`);
    collectNames(child, isSlashed, names);
  }
}

export async function set(context: Context): Promise<number> {
  const session = await Session.open(context);
  const key = keyOf(context);
  const value = await givenValue(context);
  const { flags } = context;
  const response = await requestNode(session, {
    method: "PUT",
    key,
    query: {
      prevValue: flags.string("swap-with-value") || undefined,
      prevIndex: unsigned(flags, "swap-with-index"),
    },
    form: { value, ttl: ttlOf(flags) },
  });
  print(context, response);
  return EXIT.ok;
}

export async function mk(context: Context): Promise<number> {
  const session = await Session.open(context);
  const key = keyOf(context);
  const form = { value: await givenValue(context), ttl: ttlOf(context.flags) };
  const response = await requestNode(
    session,
    context.flags.bool("in-order")
      ? { method: "POST", key, form }
      : { method: "PUT", key, query: { prevExist: false }, form, isOneShot: true },
  );
  print(context, response);
  return EXIT.ok;
}

export async function update(context: Context): Promise<number> {
  const session = await Session.open(context);
  const key = keyOf(context);
  const form = { value: await givenValue(context), ttl: ttlOf(context.flags) };
  print(
    context,
    await requestNode(session, { method: "PUT", key, query: { prevExist: true }, form }),
  );
  return EXIT.ok;
}

export function mkdir(context: Context): Promise<number> {
  return writeDirectory(context, false);
}

export function setdir(context: Context): Promise<number> {
  return writeDirectory(context, undefined);
}

export function updatedir(context: Context): Promise<number> {
  return writeDirectory(context, true);
}

async function writeDirectory(context: Context, prevExist: boolean | undefined): Promise<number> {
  const session = await Session.open(context);
  const response = await requestNode(session, {
    method: "PUT",
    key: keyOf(context),
    query: { dir: true, prevExist },
    form: { ttl: ttlOf(context.flags) },
    isOneShot: prevExist === false,
  });
  if (context.globals.string("output") !== "simple") print(context, response);
  return EXIT.ok;
}

export async function rm(context: Context): Promise<number> {
  const { flags } = context;
  return await remove(context, {
    prevValue: flags.string("with-value") || undefined,
    prevIndex: unsigned(flags, "with-index"),
    dir: flags.bool("dir") || undefined,
    recursive: flags.bool("recursive") || undefined,
  });
}

export function rmdir(context: Context): Promise<number> {
  return remove(context, { dir: true });
}

async function remove(
  context: Context,
  query: Readonly<Record<string, string | boolean | undefined>>,
): Promise<number> {
  const session = await Session.open(context);
  const key = keyOf(context);
  const response = await requestNode(session, { method: "DELETE", key, query, isOneShot: true });
  if (!response.node.dir || context.globals.string("output") !== "simple") print(context, response);
  return EXIT.ok;
}

function print({ globals }: Context, response: KeyResponse): void {
  printResponse(response, globals.string("output"));
}

export function keyOf({ args: [key] }: Context): string {
  if (key === undefined) throw keyFailure(EXIT.badArguments, "key required");
  return key;
}

/** The second argument, or all of standard input, byte for byte. */
async function givenValue({ args: [, value] }: Context): Promise<string | Uint8Array> {
  if (value !== undefined) return value;
  const bytes = await readStandardInput();
  if (bytes.length === 0) throw keyFailure(EXIT.badArguments, "value required");
  return bytes;
}

async function readStandardInput(): Promise<Uint8Array> {
  const { readFileSync } = await import("node:fs");
  try {
    return readFileSync(0);
  } catch {
    // Closed, or a terminal of another process group: counts as empty.
    return new Uint8Array();
  }
}

/**
 * Seconds; no TTL at 0 and below. etcdctl counts in 64-bit nanoseconds, so that large values
 * overflow.
 */
function ttlOf(flags: FlagValues): string | undefined {
  const ns = BigInt.asIntN(64, flags.int("ttl") * 1_000_000_000n);
  return ns > 0n ? String(ns / 1_000_000_000n) : undefined;
}

/** 0 counts as not given; negative values wrap around, as in etcdctl. */
function unsigned(flags: FlagValues, name: string): string | undefined {
  const value = flags.int(name);
  return value === 0n ? undefined : String(BigInt.asUintN(64, value));
}
