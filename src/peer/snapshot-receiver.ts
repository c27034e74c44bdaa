import { readdirSync, rmSync } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { decodeConf } from "../cluster/conf-state.js";
import { formatId } from "../cluster/ids.js";
import { RingdError } from "../lib/errors.js";
import type { ConfState, SnapshotMeta } from "../raft/entry.js";
import { SNAPSHOT_TEMPORARY_SUFFIX, snapshotName } from "../snap/format.js";
import { SnapshotReader } from "../snap/reader.js";
import { purge } from "../snap/writer.js";
import { CorruptSnapshotError } from "../storage/errors.js";
import { type PeerApiResponse, textResponse } from "./peer-api.js";
import type { PeerLog } from "./peer-log.js";
import { readSnapshotHead, type SnapshotTransferHead } from "./snapshot-head.js";

/**
 * Interval of "processing" responses while the file is verified, so that the sender keeps waiting.
 */
const PROCESSING_MS = 1000;
/** Flushed each time so much was received: one flush at the end would block the log's fdatasync. */
const FLUSH_BYTES = 4 * 1024 * 1024;
const PREFIX = "received-";

const ARRIVED: PeerApiResponse = { status: 204, headers: {}, body: "" };

export interface ReceiverOptions {
  readonly snapDir: string;
  /** Files to keep; 0 keeps all. */
  readonly maxSnapshots: number;
  readonly stallMs: number;
  readonly log: PeerLog;
  /** Start and end of a transfer, for metrics. */
  began(from: bigint): void;
  ended(from: bigint, hasArrived: boolean, seconds: number): void;
  /** The file of `meta` is complete and durable. */
  received(from: bigint, senderTerm: number, meta: SnapshotMeta): void;
}

/** Why a transfer is rejected. */
class TransferError extends RingdError {
  override readonly name = "TransferError";
  readonly code = "TRANSFER_FAILED";
  readonly status: number;

  constructor(status: number, why: string) {
    super(why);
    this.status = status;
  }
}

interface Transfer {
  readonly from: bigint;
  readonly head: SnapshotTransferHead;
  readonly temporary: string;
  readonly request: IncomingMessage;
  /** Reason of the cancellation; "" if not cancelled. */
  cancelled: string;
  done: Promise<void>;
}

/**
 * Receives snapshot files from a leader, one at a time. A file is durable and verified by reading
 * it back before it gets its name; then the core is notified.
 */
export class SnapshotReceiver {
  readonly #options: ReceiverOptions;
  #current: Transfer | undefined;
  #count = 0;

  constructor(options: ReceiverOptions) {
    this.#options = options;
    const isLeftover = (name: string) =>
      name.startsWith(PREFIX) && name.endsWith(SNAPSHOT_TEMPORARY_SUFFIX);
    for (const name of readdirSync(options.snapDir).filter(isLeftover)) {
      rmSync(join(options.snapDir, name), { force: true });
    }
  }

  /**
   * @param mayContinue tells the waiting sender to send the file
   * @param answer must be called once; after an error the connection is unusable
   */
  receive(
    from: bigint,
    request: IncomingMessage,
    response: ServerResponse,
    mayContinue: (() => void) | undefined,
    answer: (answer: PeerApiResponse) => void,
  ): void {
    const head = readSnapshotHead(request.headers);
    if (head === undefined) {
      answer(textResponse(400, "the snapshot headers are invalid"));
      return;
    }
    const before = this.#current;
    if (before !== undefined && before.from !== from && before.head.senderTerm >= head.senderTerm) {
      answer(textResponse(503, "another member's snapshot is being received"));
      return;
    }
    this.#cancel("a newer transfer has begun");
    const file = `${PREFIX}${formatId(from)}-${++this.#count}${SNAPSHOT_TEMPORARY_SUFFIX}`;
    const transfer: Transfer = {
      ...{ from, head, request, cancelled: "", done: Promise.resolve() },
      temporary: file,
    };
    this.#current = transfer;
    const startMs = performance.now();
    this.#options.began(from);
    transfer.done = this.#run(transfer, response, mayContinue).then((result) => {
      if (this.#current === transfer) this.#current = undefined;
      const seconds = (performance.now() - startMs) / 1000;
      this.#options.ended(from, result === ARRIVED, seconds);
      answer(result);
    });
  }

  /** Cancels the transfer in flight. */
  async stop(): Promise<void> {
    const { done } = this.#current ?? {};
    this.#cancel("this member stops");
    await done;
  }

  #cancel(why: string): void {
    const transfer = this.#current;
    if (transfer === undefined) return;
    transfer.cancelled = why;
    transfer.request.destroy();
  }

  async #run(
    transfer: Transfer,
    response: ServerResponse,
    mayContinue: (() => void) | undefined,
  ): Promise<PeerApiResponse> {
    const { from, head, request, temporary } = transfer;
    const { log, stallMs, snapDir } = this.#options;
    const what = { peer: formatId(from), index: head.index, term: head.term };
    log.info({ ...what, bytes: head.fileBytes }, "receiving snapshot");
    try {
      request.setTimeout(stallMs, () => {
        transfer.cancelled ||= `no data for ${stallMs} ms`;
        request.destroy();
      });
      mayContinue?.();
      await this.#save(transfer);
      request.setTimeout(0);
      const processing = setInterval(() => response.writeProcessing(), PROCESSING_MS);
      const meta = await this.#check(transfer).finally(() => clearInterval(processing));
      await rename(join(snapDir, temporary), join(snapDir, snapshotName(head)));
      await syncDirectory(snapDir);
      log.info(what, "received snapshot");
      this.#options.received(from, head.senderTerm, meta);
      this.#purge();
      return ARRIVED;
    } catch (error) {
      const { status, message } = failureOf(error, transfer);
      await this.#remove(temporary);
      log.warn({ ...what, reason: message }, "did not receive the snapshot");
      return textResponse(status, message);
    }
  }

  /** If this fails too, the next start removes the file. */
  async #remove(temporary: string): Promise<void> {
    const { log, snapDir } = this.#options;
    try {
      await rm(join(snapDir, temporary), { force: true });
    } catch (error) {
      log.warn({ err: error }, "cannot remove what came of the snapshot");
    }
  }

  #purge(): void {
    const { log, maxSnapshots, snapDir } = this.#options;
    const onRefusal = (err: unknown) => log.warn({ err }, "cannot remove an old snapshot");
    try {
      purge(snapDir, maxSnapshots, onRefusal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === undefined) throw error;
      onRefusal(error);
    }
  }

  /** Saves the whole body, durably, under its temporary name. */
  async #save({ request, head, temporary }: Transfer): Promise<void> {
    const handle = await open(join(this.#options.snapDir, temporary), "wx", 0o600);
    try {
      let bytes = 0;
      let flushedBytes = 0;
      // A destroyed request cannot get a response.
      const pieces: AsyncIterable<Buffer> = request.iterator({ destroyOnReturn: false });
      for await (const piece of pieces) {
        await writeFully(handle, piece);
        bytes += piece.length;
        if (bytes - flushedBytes < FLUSH_BYTES) continue;
        await handle.datasync();
        flushedBytes = bytes;
      }
      if (bytes !== head.fileBytes) {
        throw new TransferError(400, `the body ended after ${bytes} of ${head.fileBytes} bytes`);
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  /** Reads the file back block by block, serving sockets in between. @throws RingdError */
  async #check(transfer: Transfer): Promise<SnapshotMeta> {
    const { head, temporary } = transfer;
    const reader = new SnapshotReader(this.#options.snapDir, temporary, {
      name: snapshotName(head),
    });
    try {
      while (reader.next() !== undefined) {
        if (transfer.cancelled !== "") throw new TransferError(503, transfer.cancelled);
        await nextTurn();
      }
      const { term, index, metadata } = reader;
      return { term, index, conf: readConf(metadata) };
    } finally {
      reader.close();
    }
  }
}

/** @throws TransferError */
function readConf(metadata: Uint8Array): ConfState {
  let why = "it has no voters";
  try {
    const conf = decodeConf(Buffer.from(metadata));
    const { voters, learners } = conf;
    if (voters.includes(0n) || learners.includes(0n)) why = "a member has the id 0";
    else if (voters.length > 0) return conf;
  } catch (error) {
    why = (error as Error).message;
  }
  throw new TransferError(422, `the file holds no valid membership: ${why}`);
}

async function writeFully(handle: FileHandle, piece: Buffer): Promise<void> {
  for (let at = 0; at < piece.length; ) at += (await handle.write(piece, at)).bytesWritten;
}

/** As in storage/disk.ts, without blocking the sockets. */
async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * The response to the sender; raft will request the snapshot again. @throws errors that are our
 * bugs
 */
function failureOf(error: unknown, transfer: Transfer): { status: number; message: string } {
  if (transfer.cancelled !== "") return { status: 503, message: transfer.cancelled };
  if (error instanceof TransferError) return { status: error.status, message: error.message };
  if (error instanceof CorruptSnapshotError) {
    return { status: 422, message: `the file is damaged at byte ${error.atBytes}` };
  }
  // A RingdError also has a `code`.
  const isOfSystem = (error as NodeJS.ErrnoException).code !== undefined;
  if (!isOfSystem) throw error;
  return { status: 507, message: `cannot save it: ${(error as Error).message}` };
}
