import { type ListenUrl, splitListenUrl } from "../config/urls.js";

/** Why nothing is sent to an address that is secure. */
export const NO_TLS = "TLS between members is not supported";

/** Where a member can be reached. */
export interface PeerAddress {
  /** The URL as it is written. */
  readonly text: string;
  readonly isSecure: boolean;
  /** What node:net connects to. */
  readonly target: { readonly host: string; readonly port: number } | { readonly path: string };
}

/** @returns undefined for what is no URL of a peer; membership holds none such */
export function parsePeerAddress(text: string): PeerAddress | undefined {
  const url = splitListenUrl(text);
  return url === undefined ? undefined : addressOf(url);
}

/** A unix socket is the file "host:port" in the working directory, as etcd has it. */
export function addressOf({ scheme, host, port, text }: ListenUrl): PeerAddress {
  const isUnix = scheme === "unix" || scheme === "unixs";
  return {
    text,
    isSecure: scheme === "https" || scheme === "unixs",
    target: isUnix ? { path: `${host}:${port}` } : { host, port },
  };
}
