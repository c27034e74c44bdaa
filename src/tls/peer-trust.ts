import type { Config } from "../config/config.js";
import type { PeerTrust } from "./peer-checks.js";

/** For requests to members before their streams are dialled. @throws TlsFileError */
export async function readPeerTrust({ peerTls }: Config): Promise<PeerTrust | undefined> {
  if (peerTls === undefined) return undefined;
  const { readMaterial } = await import("./files.js");
  return { settings: peerTls, material: await readMaterial(peerTls, Date.now()) };
}
