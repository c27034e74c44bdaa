import { goQuote, goQuoteBytes } from "./text.js";

/** A member's list of URLs, or etcd's error text. */
export type UrlList =
  | { readonly kind: "urls"; readonly urls: readonly string[] }
  | { readonly kind: "invalid"; readonly message: string };

/**
 * Parses a member's URLs: http(s) or unix(s), `host:port`, no path; surrounding blanks are trimmed.
 * The result is sorted, with schemes in lower case (etcd pkg/types/urls.go; error texts of Go's
 * net/url).
 */
export function parseUrlList(texts: readonly string[]): UrlList {
  if (texts.length === 0) return invalid("no valid URLs given");
  const urls: string[] = [];
  for (const text of texts) {
    const trimmed = text.trim();
    const url = splitUrl(trimmed);
    if (url.kind === "invalid") return invalid(`parse ${goQuote(url.shown)}: ${url.reason}`);
    if (!/^(https?|unixs?)$/.test(url.scheme)) {
      return invalid(`URL scheme must be http, https, unix, or unixs: ${trimmed}`);
    }
    if (!isHostPort(url.host)) {
      return invalid(`URL address does not have the form "host:port": ${trimmed}`);
    }
    if (url.path !== "") return invalid(`URL must not contain a path: ${trimmed}`);
    urls.push(url.text);
  }
  return { kind: "urls", urls: urls.sort(compareBytes) };
}

/** Order of UTF-8 bytes, equal to the order of code points. */
export function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function invalid(message: string): UrlList {
  return { kind: "invalid", message };
}

export interface SplitUrl {
  readonly kind: "url";
  /** Lower case; "" for a relative URL. */
  readonly scheme: string;
  readonly host: string;
  readonly path: string;
  /** The whole URL with its scheme in lower case. */
  readonly text: string;
}

export interface BadUrl {
  readonly kind: "invalid";
  /** The URL as Go quotes it, without its fragment. */
  readonly shown: string;
  readonly reason: string;
}

/**
 * Follows the steps of Go's url.Parse in their order, as the first failure determines the error
 * text.
 */
export function splitUrl(whole: string): SplitUrl | BadUrl {
  const hash = whole.indexOf("#");
  const shown = hash < 0 ? whole : whole.slice(0, hash);
  const bad = (reason: string): BadUrl => ({ kind: "invalid", shown, reason });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it refuses.
  if (/[\u0000-\u001f\u007f]/.test(shown)) return bad("net/url: invalid control character in URL");
  if (shown.startsWith(":")) return bad("missing protocol scheme");

  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(shown)?.[1] ?? "";
  const afterScheme = scheme === "" ? shown : shown.slice(scheme.length + 1);
  const question = afterScheme.indexOf("?");
  let path = question < 0 ? afterScheme : afterScheme.slice(0, question);
  const text = scheme === "" ? whole : scheme.toLowerCase() + whole.slice(scheme.length);
  const lower = scheme.toLowerCase();
  if (!path.startsWith("/")) {
    if (scheme !== "") return { kind: "url", scheme: lower, host: "", path: "", text };
    if ((path.split("/", 1)[0] ?? "").includes(":")) {
      return bad("first path segment in URL cannot contain colon");
    }
  }
  let host = "";
  if (path.startsWith("//") && (scheme !== "" || !path.startsWith("///"))) {
    const slash = path.indexOf("/", 2);
    const authority = slash < 0 ? path.slice(2) : path.slice(2, slash);
    path = slash < 0 ? "" : path.slice(slash);
    const at = authority.lastIndexOf("@");
    host = authority.slice(at + 1);
    const reason = hostError(host) ?? (at < 0 ? undefined : userError(authority.slice(0, at)));
    if (reason !== undefined) return bad(reason);
  }
  const pathReason = escapeError(path);
  if (pathReason !== undefined) return bad(pathReason);
  const fragmentReason = hash < 0 ? undefined : escapeError(whole.slice(hash + 1));
  if (fragmentReason !== undefined) {
    return { kind: "invalid", shown: whole, reason: fragmentReason };
  }
  return { kind: "url", scheme: lower, host, path, text };
}

function hostError(host: string): string | undefined {
  const portAt = host.startsWith("[") ? host.lastIndexOf("]") + 1 : host.lastIndexOf(":");
  if (host.startsWith("[") && portAt === 0) return "missing ']' in host";
  const port = portAt < 0 ? "" : host.slice(portAt);
  if (!/^(:[0-9]*)?$/.test(port)) return `invalid port ${goQuote(port)} after host`;
  for (let i = 0; i < host.length; i++) {
    const char = host.charAt(i);
    if (char === "%") {
      // In a host only non-ASCII bytes, and the "%25" before an IPv6 zone, may be escaped.
      if (!/^%([89a-f][0-9a-f]|25)/i.test(host.slice(i))) return escapeMessage(host, i);
      i += 2;
    } else if (char < "\u0080" && !/[A-Za-z0-9\-_.~!$&'()*+,;=:[\]<>"]/.test(char)) {
      return `invalid character ${goQuote(char)} in host name`;
    }
  }
  return undefined;
}

function userError(user: string): string | undefined {
  if (!/^[A-Za-z0-9\-._:~!$&'()*+,;=%@]*$/.test(user)) return "net/url: invalid userinfo";
  return escapeError(user);
}

/** The first "%" that is not followed by two hexadecimal digits. */
function escapeError(text: string): string | undefined {
  const at = text.search(/%(?![0-9a-fA-F]{2})/);
  return at < 0 ? undefined : escapeMessage(text, at);
}

/** Go shows three bytes, even if that splits a character. */
function escapeMessage(text: string, at: number): string {
  return `invalid URL escape ${goQuoteBytes(Buffer.from(text.slice(at)).subarray(0, 3))}`;
}

/** Whether Go's net.SplitHostPort accepts it: one colon, or a bracketed address and a colon. */
function isHostPort(host: string): boolean {
  return /^(\[[^[\]]*\]|[^:[\]]*):[^:[\]]*$/.test(host);
}
