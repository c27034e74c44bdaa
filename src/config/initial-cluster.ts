import { compareBytes, parseUrlList } from "../go/url-list.js";

/** One member of --initial-cluster. */
export interface InitialMember {
  readonly name: string;
  /** In byte order, schemes in lower case. */
  readonly peerUrls: readonly string[];
}

export type InitialCluster =
  | { readonly kind: "members"; readonly members: readonly InitialMember[] }
  | { readonly kind: "invalid"; readonly message: string };

/**
 * Parses `n1=http://a:2380,n1=http://b:2380,n2=http://c:2380`: a name may repeat; blanks around
 * names and URLs, and empty items, are ignored (etcd pkg/types/urlsmap.go).
 */
export function parseInitialCluster(text: string): InitialCluster {
  const texts = new Map<string, string[]>();
  for (const item of text.split(",")) {
    if (item.trim() === "") continue;
    const equals = item.indexOf("=");
    const name = (equals < 0 ? item : item.slice(0, equals)).trim();
    const url = equals < 0 ? "" : item.slice(equals + 1);
    texts.set(name, [...(texts.get(name) ?? []), url]);
  }
  const members: InitialMember[] = [];
  for (const [name, urls] of texts) {
    const list = parseUrlList(urls);
    if (list.kind === "invalid") return list;
    members.push({ name, peerUrls: list.urls });
  }
  return { kind: "members", members };
}

/** The same list as text, sorted. */
export function initialClusterText(members: readonly InitialMember[]): string {
  return members
    .flatMap(({ name, peerUrls }) => peerUrls.map((url) => `${name}=${url}`))
    .sort(compareBytes)
    .join(",");
}
