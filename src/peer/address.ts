import { type ListenUrl, splitListenUrl } from "../config/urls.js";

/** An address that a member can be reached at. */
export interface PeerAddress {
  /** The URL as given. */
  readonly text: string;
  readonly isSecure: boolean;
  /** What a certificate must be for. */
  readonly host: string;
  /** Options for node:net's connect. */
  readonly target: { readonly host: string; readonly port: number } | { readonly path: string };
}

/** @returns undefined if it is not a peer URL; the membership holds none of these */
export function parsePeerAddress(text: string): PeerAddress | undefined {
  const url = splitListenUrl(text);
  return url === undefined ? undefined : addressOf(url);
}

/** A unix socket is the file "host:port" in the working directory, as in etcd. */
export function addressOf({ scheme, host, port, text }: ListenUrl): PeerAddress {
  const isUnix = scheme === "unix" || scheme === "unixs";
  return {
    text,
    isSecure: scheme === "https" || scheme === "unixs",
    host,
    target: isUnix ? { path: `${host}:${port}` } : { host, port },
  };
}
