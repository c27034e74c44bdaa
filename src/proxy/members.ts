import { setTimeout as sleep } from "node:timers/promises";
import type { StartIo } from "../bootstrap/io.js";
import { readRemoteMembers } from "../bootstrap/remote-members.js";
import { compareBytes } from "../go/url-list.js";
import { messageOf, systemReason } from "../lib/errors.js";
import type { Logger } from "../log/logger.js";
import type { ClusterFile } from "./cluster-file.js";
import type { Endpoints } from "./endpoints.js";

/** Timeout of asking one peer URL for the members. */
const MEMBERS_MS = 10_000;
/** Interval while no member answers, if the configured one is no shorter than the default. */
const EMPTY_MS = 1000;
const DEFAULT_REFRESH_MS = 30_000;

/** Keeps the endpoints up to date: asks the members, on their peer URLs, who they are. */
export class MemberWatch {
  readonly #get: StartIo["get"];
  readonly #endpoints: Endpoints;
  readonly #file: ClusterFile;
  readonly #log: Pick<Logger, "info" | "warn">;
  readonly #stop = new AbortController();
  #peerUrls: readonly string[];
  #isOnDisk = false;

  constructor(
    peerUrls: readonly string[],
    get: StartIo["get"],
    endpoints: Endpoints,
    file: ClusterFile,
    log: Pick<Logger, "info" | "warn">,
  ) {
    this.#peerUrls = peerUrls;
    this.#get = get;
    this.#endpoints = endpoints;
    this.#file = file;
    this.#log = log;
  }

  /** Runs until `stop`. @param isFound by a refresh just before */
  async run(intervalMs: number, isFound: boolean): Promise<void> {
    const { signal } = this.#stop;
    const isHasty = intervalMs >= DEFAULT_REFRESH_MS;
    for (let isKnown = isFound; ; isKnown = await this.refresh()) {
      const waitMs = isHasty && !isKnown ? EMPTY_MS : intervalMs;
      await sleep(waitMs, undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
    }
  }

  stop(): void {
    this.#stop.abort();
  }

  /** @returns false if no member answered; the endpoints stay as they were */
  async refresh(): Promise<boolean> {
    for (const url of this.#peerUrls) {
      let why: string;
      try {
        const { body, clusterId } = await this.#get(url, "/members", MEMBERS_MS);
        const answer = readRemoteMembers(body, clusterId);
        const members = answer.kind === "cluster" ? answer.cluster.members : [];
        const clientUrls = unique(members.flatMap((member) => member.clientUrls));
        if (clientUrls.length > 0) {
          this.#endpoints.replace(clientUrls);
          this.#keep(unique(members.flatMap(({ peerUrls }) => peerUrls)));
          return true;
        }
        why = answer.kind === "cluster" ? "its members have no client URLs yet" : answer.why;
      } catch (error) {
        why = messageOf(error);
      }
      this.#log.warn({ peerUrl: url, reason: why }, "could not get cluster response");
    }
    this.#log.warn({ peerUrls: this.#peerUrls }, "failed to get cluster from remote peers");
    return false;
  }

  #keep(peerUrls: readonly string[]): void {
    const isSame = peerUrls.join() === this.#peerUrls.join();
    if (isSame && this.#isOnDisk) return;
    if (!isSame) {
      this.#log.info({ from: this.#peerUrls, to: peerUrls }, "proxy updated peer URLs");
    }
    this.#peerUrls = peerUrls;
    try {
      this.#file.write(peerUrls);
      this.#isOnDisk = true;
    } catch (error) {
      this.#isOnDisk = false;
      const details = { path: this.#file.path, reason: systemReason(error) };
      this.#log.warn(details, "proxy failed to write cluster file");
    }
  }
}

function unique(urls: readonly string[]): string[] {
  return [...new Set(urls)].sort(compareBytes);
}
