import type { ListenUrl } from "../config/urls.js";

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
  const [, scheme, host, port] = /^(https?|unixs?):\/\/(.*):(\d*)$/.exec(text) ?? [];
  if (scheme === undefined || host === undefined || port === undefined) return undefined;
  if (Number(port) > 65535) return undefined;
  return addressOf({
    scheme: scheme as ListenUrl["scheme"],
    host: host.replace(/^\[(.*)\]$/, "$1"),
    port: Number(port),
    text,
  });
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
