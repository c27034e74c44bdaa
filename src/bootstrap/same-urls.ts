import { goQuote } from "../go/text.js";
import { compareBytes } from "../go/url-list.js";

/** Result of a host lookup: addresses in order of preference, or the reason of the failure. */
export type Resolution =
  | { readonly kind: "addresses"; readonly addresses: readonly string[] }
  | { readonly kind: "failed"; readonly why: string };

/** By host name. */
export type Resolutions = ReadonlyMap<string, Resolution>;

/** Whether two lists of peer URLs are equivalent, or etcd's text of the difference. */
export type UrlMatch = { readonly isSame: true } | { readonly isSame: false; readonly why: string };

/**
 * Compares two lists of URLs in any order. URLs that differ as text match if their hosts share an
 * address. "localhost" and unix:// sockets are compared as text (etcd pkg/netutil, urlsEqual).
 *
 * @param resolutions of all hosts from `hostsToResolve`
 */
export function sameUrls(
  a: readonly string[],
  b: readonly string[],
  resolutions: Resolutions,
): UrlMatch {
  if (a.length !== b.length) return differ(`len(${quoteList(a)}) != len(${quoteList(b)})`);
  const [sortedA, sortedB] = [a, b].map((urls) => [...urls].sort(compareBytes)) as [
    string[],
    string[],
  ];
  if (sortedA.every((url, i) => url === sortedB[i])) return { isSame: true };
  const resolved: Resolved[][] = [];
  for (const urls of [sortedA, sortedB]) {
    const list: Resolved[] = [];
    for (const url of urls) {
      const one = resolve(url, resolutions);
      if (typeof one === "string") return differ(`failed to resolve ${goQuote(url)} (${one})`);
      list.push(one);
    }
    resolved.push(list.sort((x, y) => compareBytes(x.texts[0], y.texts[0])));
  }
  const [left = [], right = []] = resolved;
  const unmatched = [...right];
  for (const { texts } of left) {
    const at = unmatched.findIndex((other) => other.texts.some((text) => texts.includes(text)));
    if (at >= 0) unmatched.splice(at, 1);
  }
  if (unmatched.length === 0) return { isSame: true };
  const i = left.findIndex(({ texts }, at) => texts[0] !== right[at]?.texts[0]);
  const show = (list: readonly Resolved[]) => goQuote(list[Math.max(i, 0)]?.texts[0] ?? "");
  return differ(`resolved urls: ${show(left)} != ${show(right)}`);
}

/** The host names to look up for a comparison; none if the lists are equal as text. */
export function hostsToResolve(a: readonly string[], b: readonly string[]): readonly string[] {
  if (a.length !== b.length) return [];
  const sorted = [a, b].map((urls) => [...urls].sort(compareBytes).join());
  if (sorted[0] === sorted[1]) return [];
  return [...new Set([...a, ...b].map(hostToResolve))].filter((host) => host !== "");
}

/** Go's `%v` of a list. */
export function goList(texts: readonly string[]): string {
  return `[${texts.join(" ")}]`;
}

interface Resolved {
  /** The URL with each address in place of the host name. */
  readonly texts: readonly [string, ...string[]];
}

/** @returns the variants of the URL, or the error text */
function resolve(url: string, resolutions: Resolutions): Resolved | string {
  const host = hostToResolve(url);
  if (host === "") return { texts: [url] };
  const resolution = resolutions.get(host);
  if (resolution === undefined) return `lookup ${host}: not looked up`;
  if (resolution.kind === "failed") return resolution.why;
  const [first, ...rest] = resolution.addresses.map((address) =>
    url.replace(host, address.includes(":") ? `[${address}]` : address),
  );
  return first === undefined ? `lookup ${host}: no address` : { texts: [first, ...rest] };
}

/** "" for addresses, localhost and sockets, which are compared as text. */
function hostToResolve(url: string): string {
  const [, scheme = "", host = ""] = /^(\w+):\/\/(.*):[^:]*$/.exec(url) ?? [];
  if (scheme.startsWith("unix") || host === "localhost" || host.startsWith("[")) return "";
  return /^\d+\.\d+\.\d+\.\d+$/.test(host) ? "" : host;
}

function differ(why: string): UrlMatch {
  return { isSame: false, why };
}

/** Go's `%q` of a list. */
function quoteList(texts: readonly string[]): string {
  return goList(texts.map(goQuote));
}
