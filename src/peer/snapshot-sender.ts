import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream";
import { setTimeout as wait } from "node:timers/promises";
import { formatId } from "../cluster/ids.js";
import type { Snapshot } from "../raft/message.js";
import { listSnapshots } from "../snap/writer.js";
import { connectionError } from "../tls/go-errors.js";
import type { PeerTrust } from "../tls/peer-checks.js";
import { type PeerAddress, parsePeerAddress } from "./address.js";
import { Backoff } from "./backoff.js";
import { DialError, peerRequest, readRefusal } from "./dial.js";
import { SNAPSHOT_PATH } from "./hello.js";
import type { PeerLog } from "./peer-log.js";
import { snapshotHeaders } from "./snapshot-head.js";

const LOOK_MS = 1000;
/** First delay before a failure is reported, as raft retries at once. */
const FIRST_WAIT_MS = 100;
const WAIT_MS_MAX = 5000;
const PIECE_BYTES = 256 * 1024;

export interface SenderOptions {
  readonly snapDir: string;
  /** A transfer without progress for so long is aborted. */
  readonly stallMs: number;
  /** For https URLs. */
  readonly trust: PeerTrust | undefined;
  readonly log: PeerLog;
  /** Hello headers for `to`. */
  hello(to: bigint): Record<string, string>;
  /** A transfer ended; not called for one that was cancelled by `cancelAll`. */
  sent(id: bigint, hasArrived: boolean): void;
}

type Outcome = { readonly kind: "arrived" } | { readonly kind: "failed"; readonly why: string };

/**
 * Sends snapshot files to members that need them, one at a time to each, on separate connections,
 * so that streams and heartbeats continue. Only a piece of the file is in memory.
 */
export class SnapshotSender {
  readonly #options: SenderOptions;
  readonly #running = new Map<bigint, AbortController>();
  /** Of members whose last transfer failed. */
  readonly #backoffs = new Map<bigint, Backoff>();

  constructor(options: SenderOptions) {
    this.#options = options;
  }

  /**
   * Sends the newest file, which must reach at least the message's index.
   *
   * @param urls of the member, the likeliest first
   */
  send(message: Snapshot, urls: readonly string[]): void {
    const { to } = message;
    if (this.#running.has(to)) return; // Its outcome is not reported yet.
    const abort = new AbortController();
    this.#running.set(to, abort);
    void this.#attempt(message, urls, abort.signal).then((hasArrived) => {
      if (this.#running.get(to) !== abort) return;
      this.#running.delete(to);
      this.#options.sent(to, hasArrived);
    });
  }

  /** The member was removed. */
  cancel(id: bigint): void {
    this.#running.get(id)?.abort();
    this.#backoffs.delete(id);
  }

  cancelAll(): void {
    for (const abort of this.#running.values()) abort.abort();
    this.#running.clear();
  }

  /**
   * Backs off, as the member may be unable to store it, with a full disk for example.
   *
   * @returns whether it arrived
   */
  async #attempt(
    message: Snapshot,
    urls: readonly string[],
    signal: AbortSignal,
  ): Promise<boolean> {
    const { to } = message;
    const outcome = await this.#transfer(message, urls, signal);
    if (outcome.kind === "arrived") {
      this.#backoffs.delete(to);
      return true;
    }
    this.#options.log.warn({ peer: formatId(to), reason: outcome.why }, "cannot send snapshot");
    if (signal.aborted) return false;
    const backoff = this.#backoffs.get(to) ?? new Backoff(FIRST_WAIT_MS, WAIT_MS_MAX);
    this.#backoffs.set(to, backoff);
    await wait(backoff.next(), undefined, { signal }).catch((error: Error) => {
      if (error.name !== "AbortError") throw error;
    });
    return false;
  }

  async #transfer(
    message: Snapshot,
    urls: readonly string[],
    signal: AbortSignal,
  ): Promise<Outcome> {
    const { snapDir, log } = this.#options;
    let handle: FileHandle | undefined;
    try {
      const newest = listSnapshots(snapDir).at(-1);
      if (newest === undefined || newest.index < message.meta.index) {
        return failed(`there is no snapshot file up to index ${message.meta.index}`);
      }
      // While open, it stays readable even if purged.
      handle = await open(join(snapDir, newest.file));
      const fileBytes = (await handle.stat()).size;
      const peer = formatId(message.to);
      log.info({ peer, file: newest.file, bytes: fileBytes }, "sending snapshot");
      const head = { ...newest, senderTerm: message.term, fileBytes };
      const headers = { ...this.#options.hello(message.to), ...snapshotHeaders(head) };
      let outcome = failed("the member has no URL");
      for (const url of urls) {
        const address = parsePeerAddress(url);
        if (address === undefined) continue;
        outcome = await this.#post(address, headers, handle, fileBytes, signal).catch(unreachable);
        if (outcome.kind === "arrived" || signal.aborted) break;
      }
      if (outcome.kind === "arrived") log.info({ peer, file: newest.file }, "sent snapshot");
      return outcome;
    } catch (error) {
      return failed((error as Error).message);
    } finally {
      await handle?.close();
    }
  }

  /** @throws DialError */
  async #post(
    address: PeerAddress,
    headers: Record<string, string>,
    handle: FileHandle,
    fileBytes: number,
    signal: AbortSignal,
  ): Promise<Outcome> {
    const { stallMs, trust } = this.#options;
    const expecting = { ...headers, Expect: "100-continue" };
    const post = { method: "POST", path: SNAPSHOT_PATH, headers: expecting };
    const call = await peerRequest(address, post, { trust, timeoutMs: stallMs, signal });
    return await new Promise((resolve) => {
      let movedMs = performance.now();
      let movedBytes = 0;
      const end = (outcome: Outcome) => {
        clearInterval(timer);
        signal.removeEventListener("abort", onAbort);
        resolve(outcome);
        call.destroy();
      };
      const timer = setInterval(
        () => {
          const sentBytes = call.socket?.bytesWritten ?? 0;
          if (sentBytes !== movedBytes) movedMs = performance.now();
          movedBytes = sentBytes;
          if (performance.now() - movedMs > stallMs) end(failed(`stalled for ${stallMs} ms`));
        },
        Math.min(LOOK_MS, stallMs / 2),
      );
      const onAbort = () => end(failed("given up"));
      signal.addEventListener("abort", onAbort);
      call.on("error", (error) => end(failed(connectionError(error))));
      call.on("information", () => {
        movedMs = performance.now(); // It is verifying the file.
      });
      call.on("continue", () => {
        const file = handle.createReadStream({
          ...{ start: 0, end: fileBytes - 1, autoClose: false, highWaterMark: PIECE_BYTES },
        });
        pipeline(file, call, (error) => {
          if (error !== undefined && error !== null) end(failed(error.message));
        });
      });
      call.on("response", (response) => {
        if (response.statusCode === 204) {
          response.resume();
          end({ kind: "arrived" });
        } else void readRefusal(response).then(({ reason }) => end(failed(reason)));
      });
      call.flushHeaders();
      if (signal.aborted) onAbort();
    });
  }
}

/** The next URL is tried. */
function unreachable(error: unknown): Outcome {
  if (!(error instanceof DialError)) throw error;
  return failed(error.message);
}

function failed(why: string): Outcome {
  return { kind: "failed", why };
}
