import { randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync, renameSync, rmSync, statSync, writeSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { ClientError, MemberError, UnavailableError } from "../../client/errors.js";
import { errorOf } from "../../client/json-api.js";
import type { MemberResponse } from "../../client/transport.js";
import { systemReason } from "../../lib/errors.js";
import { SnapshotCheck } from "../../snap/stream.js";
import { syncDirectory } from "../../storage/disk.js";
import { ADMIN_SNAPSHOT_PATH } from "../../v2/snapshot.js";
import { Session } from "../cli/session.js";
import type { Context } from "../cli/spec.js";
import { endpointText, errorText, isConnectionFailure } from "../output/errors.js";
import { EXIT, Failure, failure } from "../output/exit.js";
import { out } from "../output/terminal.js";

/** A member that sends nothing for so long is taken for dead. */
const SILENCE_MS = 30_000;

/** Saves a snapshot of one member, which any is as good for. */
export async function snapshotSave(context: Context): Promise<number> {
  const { args, flags } = context;
  const [file = ""] = args;
  if (args.length !== 1 || file === "") throw failure("snapshot save needs one file");
  refuseOtherThanFile(file);
  // The member that was named: others may be gone, or not reachable from here.
  const session = await Session.openUnsynced(context);
  const response = await request(session, flags.bool("quorum"));
  const target = new NewFile(file);
  const abandon = (signal: NodeJS.Signals) => {
    target.abandon();
    process.exit(signal === "SIGINT" ? EXIT.interrupted : EXIT.terminated);
  };
  process.once("SIGINT", abandon).once("SIGTERM", abandon);
  try {
    const { hash, bytes } = await receive(response, target);
    target.finish();
    out(
      [
        `Snapshot saved at ${file}`,
        `  from        ${response.endpoint}`,
        `  etcd index  ${response.headers["x-etcd-index"]}`,
        `  bytes       ${bytes}`,
        `  SHA-256     ${hash}`,
        "",
      ].join("\n"),
    );
    return EXIT.ok;
  } catch (error) {
    target.abandon();
    throw error;
  }
}

function refuseOtherThanFile(file: string): void {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined || stat.isFile()) return;
  throw failure(`cannot write ${file}: ${stat.isDirectory() ? "is a directory" : "is not a file"}`);
}

/** @throws Failure */
async function request(session: Session, isLinearizable: boolean): Promise<MemberResponse> {
  const path = `${ADMIN_SNAPSHOT_PATH}${isLinearizable ? "?quorum=true" : ""}`;
  const response = await session
    .download({ method: "GET", path, isWatch: true })
    .catch(async (error: unknown) => {
      if (!(error instanceof ClientError)) throw error;
      const code = isConnectionFailure(error) ? EXIT.badConnection : EXIT.server;
      throw new Failure(code, await textOf(error));
    });
  const { status, headers, endpoint } = response;
  if (status === 200) return response;
  const error = errorOf({ status, headers, endpoint, body: await response.text() });
  throw new Failure(EXIT.server, `${endpoint}: ${error.message}`);
}

/** The reason that each member gave, where it gave one. */
async function textOf(error: ClientError): Promise<string> {
  if (!(error instanceof UnavailableError)) return (await errorText(error)).text;
  const texts = error.errors.map(async (each) => {
    if (!(each instanceof MemberError)) return `${each.endpoint}: ${await endpointText(each)}`;
    const { status, endpoint, body } = each;
    return `${endpoint}: ${errorOf({ status, headers: {}, endpoint, body }).message}`;
  });
  return `cannot get a snapshot: ${(await Promise.all(texts)).join("; ")}`;
}

/** @throws Failure */
async function receive(
  response: MemberResponse,
  target: NewFile,
): Promise<{ hash: string; bytes: number }> {
  const check = new SnapshotCheck();
  const { endpoint } = response;
  const cut = (why: string) =>
    new Failure(EXIT.server, `${endpoint}: ${why} after ${check.bytes} bytes: nothing was saved`);
  try {
    for await (const piece of response.bytes(SILENCE_MS)) {
      check.push(piece);
      target.write(piece);
    }
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    throw cut("the snapshot was cut");
  }
  const hash = check.finish();
  if (hash === undefined) throw cut("the snapshot does not end in its SHA-256: it was cut");
  return { hash: hash.toString("hex"), bytes: check.bytes };
}

/** Written beside its place, and renamed once it is durable. */
class NewFile {
  readonly #file: string;
  readonly #temporary: string;
  #descriptor: number | undefined;

  /** @throws Failure */
  constructor(file: string) {
    this.#file = file;
    // In containers, a process that was killed and left one had the same id.
    const suffix = randomBytes(6).toString("hex");
    this.#temporary = join(dirname(file), `.${basename(file)}.tmp-${suffix}`);
    this.#descriptor = this.#attempt(() => openSync(this.#temporary, "wx", 0o600));
  }

  /** @throws Failure */
  write(bytes: Uint8Array): void {
    const descriptor = this.#open();
    this.#attempt(() => {
      // A disk that fills up takes a part.
      for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
    });
  }

  /** @throws Failure */
  finish(): void {
    const descriptor = this.#open();
    this.#attempt(() => {
      fsyncSync(descriptor);
      this.#close();
      renameSync(this.#temporary, this.#file);
      syncDirectory(dirname(this.#file));
    });
  }

  /** Leaves nothing; no-op once it is finished. */
  abandon(): void {
    this.#close();
    rmSync(this.#temporary, { force: true });
  }

  #open(): number {
    if (this.#descriptor === undefined) throw failure(`${this.#file} is closed`);
    return this.#descriptor;
  }

  #close(): void {
    if (this.#descriptor !== undefined) closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }

  #attempt<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) throw error;
      throw failure(`cannot write ${this.#file}: ${systemReason(error)}`);
    }
  }
}
