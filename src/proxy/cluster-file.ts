import { readFileSync } from "node:fs";
import { join } from "node:path";
import { systemReason } from "../lib/errors.js";
import { replaceFile } from "../storage/disk.js";
import { ProxyStartError } from "./proxy-error.js";

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

  /** @throws Error of the file system */
  write(peerUrls: readonly string[]): void {
    replaceFile(this.path, JSON.stringify({ PeerURLs: peerUrls }));
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
