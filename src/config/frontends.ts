import { cannotVerify } from "./config-error.js";
import type { FlagReader } from "./flag-reader.js";
import { isSecure } from "./tls.js";
import type { ListenUrl } from "./urls.js";

/** The HTTP server of a client URL: uWebSockets.js, or ringd's own over Node's sockets. */
export type FrontendKind = "uws" | "node";

/** The client URL of before etcd 2; its old clients often speak HTTP/1.0. */
export const OLD_CLIENT_URL = "http://localhost:4001";

/**
 * Above it the core is busy: a frontend takes two to three times the core's time for a request. See
 * bench/README.md.
 */
const AUTO_THREADS_MAX = 3;
const THREADS_MAX = 64;

export interface ClientFrontends {
  /** Threads on each port of "uws", the main thread among them. */
  readonly frontendThreads: number;
  /** Keyed by the client URL's text. */
  readonly frontendKinds: Readonly<Record<string, FrontendKind>>;
  /** A default URL, not asked for: start anyway if its port is in use. "" if there is none. */
  readonly optionalClientUrl: string;
}

/**
 * Parses `--frontend KIND[,URL=KIND]...`: the first kind applies to all client URLs not named.
 *
 * @param isDefault whether `urls` are ringd's default client URLs
 * @param cores that this process may use
 * @throws ConfigError
 */
export function readFrontends(
  read: FlagReader,
  urls: readonly ListenUrl[],
  isDefault: boolean,
  cores: number,
): ClientFrontends {
  const [first = "", ...more] = read.string("frontend").split(",");
  const rest = kindOf(read, first);
  const kinds = new Map(urls.map(({ text }) => [text, rest]));
  if (isDefault) kinds.set(OLD_CLIENT_URL, "node");
  const secure = new Set(secureAddresses(urls));
  const nodeOnly = new Set(
    urls.filter((url) => secure.has(addressOf(url))).map(({ text }) => text),
  );
  for (const text of nodeOnly) kinds.set(text, "node");
  const named = new Set<string>();
  for (const item of more) {
    const mark = item.lastIndexOf("=");
    if (mark < 0) throw read.invalid("frontend", `"${item}" is not a URL=KIND`);
    const url = item.slice(0, mark).trim();
    const kind = kindOf(read, item.slice(mark + 1));
    if (!kinds.has(url)) {
      const all = [...kinds.keys()].join(", ");
      throw cannotVerify(`--frontend names ${url}, which is not one of the client URLs: ${all}`);
    }
    if (kind === "uws" && nodeOnly.has(url)) {
      throw cannotVerify(`--frontend: ${url} cannot be served by uws, as its port serves https`);
    }
    if (named.has(url)) throw read.invalid("frontend", `${url} is named twice`);
    named.add(url);
    kinds.set(url, kind);
  }
  return {
    frontendThreads: readThreads(read, [...kinds.values()].includes("uws"), cores),
    frontendKinds: Object.fromEntries(kinds),
    optionalClientUrl: isDefault ? OLD_CLIENT_URL : "",
  };
}

function readThreads(read: FlagReader, hasUws: boolean, cores: number): number {
  const text = read.string("frontend-threads");
  if (text === "auto") {
    return hasUws ? Math.min(AUTO_THREADS_MAX, Math.max(1, Math.floor(cores / 2))) : 1;
  }
  if (!/^\d+$/.test(text)) throw read.invalid("frontend-threads", "it is a number, or auto");
  const threads = Number(text);
  if (threads < 1 || threads > THREADS_MAX) {
    throw cannotVerify(`--frontend-threads is ${text}, and must be between 1 and ${THREADS_MAX}`);
  }
  if (threads > 1 && !hasUws) {
    throw cannotVerify("--frontend-threads needs --frontend=uws for one of the client URLs");
  }
  return threads;
}

/** A port or unix socket for clients. */
export interface ClientListener {
  readonly url: ListenUrl;
  readonly kind: FrontendKind;
  /** "both": two URLs share the address. */
  readonly protocols: "http" | "https" | "both";
}

export interface WithClientUrls {
  readonly listenClientUrls: readonly ListenUrl[];
  readonly frontendKinds: ClientFrontends["frontendKinds"];
}

/** What is listened on for clients: one for each address. */
export function clientListeners(config: WithClientUrls): ClientListener[] {
  const listeners = new Map<string, ClientListener>();
  for (const url of config.listenClientUrls) {
    const address = addressOf(url);
    const known = listeners.get(address);
    const protocols = isSecure(url) ? "https" : "http";
    const kind = config.frontendKinds[url.text] ?? "uws";
    if (known === undefined) listeners.set(address, { url, kind, protocols });
    else if (known.protocols !== protocols) listeners.set(address, { ...known, protocols: "both" });
  }
  return [...listeners.values()];
}

/** Whether a thread of its own serves the ports with TLS. */
export function hasTlsThread({ listenClientUrls }: Pick<WithClientUrls, "listenClientUrls">) {
  return listenClientUrls.some(isSecure);
}

function addressOf({ scheme, host, port }: ListenUrl): string {
  return `${scheme.startsWith("unix") ? "unix " : ""}${host}:${port}`;
}

function secureAddresses(urls: readonly ListenUrl[]): string[] {
  return urls.filter(isSecure).map(addressOf);
}

function kindOf(read: FlagReader, text: string): FrontendKind {
  const kind = text.trim();
  if (kind === "uws" || kind === "node") return kind;
  throw read.invalid("frontend", `"${kind}" is not one of uws, node`);
}
