import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import { systemReason } from "../lib/errors.js";
import { ProxyStartError } from "./proxy-error.js";

/** Mode 0600, as etcd's. */
const FILE_MODE = 0o600;

/**
 * What a proxy keeps on its disk: the peer URLs of the members it found last, so that it finds the
 * cluster again when the members it was started with are gone.
 */
export class ClusterFile {
  readonly path: string;

  /** @param dir of the proxy, "<data-dir>/proxy" */
  constructor(dir: string) {
    this.path = join(dir, "cluster");
  }

  /** @returns undefined if there is no file @throws ProxyStartError */
  read(): readonly string[] | undefined {
    let text: string;
    try {
      text = readFileSync(this.path, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw new ProxyStartError(`cannot read ${this.path}: ${systemReason(error)}`);
    }
    const urls = peerUrlsIn(text);
    if (urls !== undefined) return urls;
    throw new ProxyStartError(
      `${this.path} does not hold a proxy's peer URLs, as {"PeerURLs":["http://..."]}; remove it to start ` +
        "from the flags",
    );
  }

  /** Replaces the file as a whole. @throws Error of the file system */
  write(peerUrls: readonly string[]): void {
    const beside = `${this.path}.bak`;
    const descriptor = openSync(beside, "w", FILE_MODE);
    try {
      writeSync(descriptor, JSON.stringify({ PeerURLs: peerUrls }));
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(beside, this.path);
  }
}

function peerUrlsIn(text: string): readonly string[] | undefined {
  try {
    const { PeerURLs } = JSON.parse(text) as { PeerURLs?: unknown };
    if (!Array.isArray(PeerURLs) || PeerURLs.length === 0) return undefined;
    return PeerURLs.every((url) => typeof url === "string") ? PeerURLs : undefined;
  } catch {
    return undefined;
  }
}
