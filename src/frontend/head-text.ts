import type { ResponseRecord } from "../messages/requests.js";
import { ContentKind } from "../v2/response.js";

const CORS_FIXED =
  "Access-Control-Allow-Headers: accept, content-type, authorization\r\n" +
  "Access-Control-Allow-Methods: POST, GET, OPTIONS, PUT, DELETE\r\n" +
  "Access-Control-Allow-Origin: ";

const CONTENT_TYPES: Readonly<Record<ContentKind, string>> = {
  [ContentKind.none]: "",
  [ContentKind.json]: "Content-Type: application/json\r\n",
  [ContentKind.text]: "Content-Type: text/plain; charset=utf-8\r\n",
  [ContentKind.textError]:
    "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n",
  [ContentKind.html]: "Content-Type: text/html; charset=utf-8\r\n",
  [ContentKind.metrics]: "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n",
  [ContentKind.bare]: "Content-Type: text/plain; charset=utf-8\r\n",
  [ContentKind.bareError]:
    "Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n",
  [ContentKind.octetStream]: "Content-Type: application/octet-stream\r\n",
  [ContentKind.jsonUtf8]: "Content-Type: application/json; charset=utf-8\r\n",
};

/**
 * Renders response headers as lines "Name: value\r\n". All but the indexes is the same for each
 * response of a kind, so it is rendered once per kind.
 */
export class HeadText {
  readonly #origins: ReadonlySet<string>;
  readonly #prefixes: string[] = [];

  /** @param origins allowed by CORS; "*" allows all, an empty list sends no CORS headers */
  constructor(clusterId: bigint, origins: readonly string[]) {
    this.#origins = new Set(origins);
    this.setClusterId(clusterId);
  }

  /** For frontends that listen before the cluster is known; none responds before this call. */
  setClusterId(clusterId: bigint): void {
    const clusterIdLine = `X-Etcd-Cluster-Id: ${clusterId.toString(16)}\r\n`;
    for (const kind of Object.values(ContentKind)) {
      const hasCors = this.#origins.has("*") && !isBare(kind);
      const base = hasCors ? `${CORS_FIXED}*\r\n` : "";
      this.#prefixes[kind * 2] = base + CONTENT_TYPES[kind];
      this.#prefixes[kind * 2 + 1] = base + CONTENT_TYPES[kind] + clusterIdLine;
    }
  }

  /** Whether responses depend on the request's Origin header. */
  get needsOrigin(): boolean {
    return this.#origins.size > 0 && !this.#origins.has("*");
  }

  /** The lines that are the same for all responses of a kind: the same string each time. */
  prefix({ contentKind, hasClusterId }: ResponseRecord): string {
    return this.#prefixes[contentKind * 2 + (hasClusterId ? 1 : 0)] as string;
  }

  /** All headers but Date and Content-Length. Ends in "\r\n" unless it is empty. */
  lines(head: ResponseRecord, origin: string): string {
    let text = this.prefix(head);
    if (head.etcdIndex >= 0) text += `X-Etcd-Index: ${head.etcdIndex}\r\n`;
    if (head.hasRaft) {
      text += `X-Raft-Index: ${head.raftIndex}\r\nX-Raft-Term: ${head.raftTerm}\r\n`;
    }
    if (head.allow !== "") text += `Allow: ${head.allow}\r\n`;
    if (head.location !== "") text += `Location: ${head.location}\r\n`;
    const hasOrigin = origin !== "" && !isBare(head.contentKind);
    if (hasOrigin && this.#origins.has(origin)) text += `${CORS_FIXED}${origin}\r\n`;
    return text;
  }
}

/** Whether the response never has CORS headers. */
function isBare(kind: ContentKind): boolean {
  return kind === ContentKind.bare || kind === ContentKind.bareError;
}

const STATUS_TEXTS: Readonly<Record<number, string>> = {
  200: "200 OK",
  201: "201 Created",
  204: "204 No Content",
  301: "301 Moved Permanently",
  400: "400 Bad Request",
  401: "401 Unauthorized",
  403: "403 Forbidden",
  404: "404 Not Found",
  405: "405 Method Not Allowed",
  408: "408 Request Timeout",
  409: "409 Conflict",
  410: "410 Gone",
  412: "412 Precondition Failed",
  415: "415 Unsupported Media Type",
  417: "417 Expectation Failed",
  421: "421 Misdirected Request",
  431: "431 Request Header Fields Too Large",
  500: "500 Internal Server Error",
  501: "501 Not Implemented",
  502: "502 Bad Gateway",
  503: "503 Service Unavailable",
  505: "505 HTTP Version Not Supported",
  507: "507 Insufficient Storage",
};

export function statusText(status: number): string {
  return STATUS_TEXTS[status] ?? `${status} Unknown`;
}
