import { isUtf8 } from "node:buffer";
import { METHODS } from "node:http";

/**
 * etcd tells HTTP from gRPC by the first 4096 bytes, and cuts connections whose first line is
 * longer.
 */
const TARGET_BYTES_MAX = 4000;
export const FORM_TYPE = "application/x-www-form-urlencoded";

/**
 * A sequence of requests, as data: so that it can be sent to two servers, cut down, and printed.
 *
 * Texts are bytes, one per character (latin1). In targets and bodies these placeholders stand for
 * what a server alone knows: `<i+N>`, `<i-N>` for the last X-Etcd-Index it told plus or minus N,
 * `<m+N>` for the last modifiedIndex it told of the request's own node, `<client>` and `<peer>` for
 * its URLs, `<id>` for its member id. Relative to what there is, a condition keeps its meaning when
 * requests before it are dropped.
 */
export interface HttpRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Undefined: neither a body nor a length is sent. */
  readonly body: string | undefined;
  /** Send the body in chunks. */
  readonly isChunked: boolean;
}

export type Step =
  /** One after the other; what they made to expire soon is gone before the next step. */
  | { readonly kind: "requests"; readonly requests: readonly HttpRequest[] }
  /** Goes on when the head of the answer is there: by then the watch is registered. */
  | { readonly kind: "watch"; readonly name: string; readonly request: HttpRequest }
  /** Compares what the watch has received, and closes it. */
  | { readonly kind: "collect"; readonly name: string };

/** Without a body. */
export function plain(method: string, target: string): HttpRequest {
  return {
    method,
    target: asUtf8(target).slice(0, TARGET_BYTES_MAX),
    headers: [],
    body: undefined,
    isChunked: false,
  };
}

/** With a form as its body. */
export function form(method: string, target: string, body: string): HttpRequest {
  return { ...plain(method, target), headers: [["Content-Type", FORM_TYPE]], body };
}

/** Raw bytes that are no UTF-8 do not get through to the API, see `odd.ts`; nor does U+FFFD. */
function asUtf8(target: string): string {
  const isText = isUtf8(Buffer.from(target, "latin1")) && !target.includes("\xef\xbf\xbd");
  return isText ? target : asAscii(target);
}

function asAscii(target: string): string {
  return target.replace(/[\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16)}`);
}

/** The same as far as node:http takes it: targets in ASCII, and the methods it knows. */
export function forNodeHttp(step: Step): Step {
  const convert = (request: HttpRequest) => ({
    ...request,
    method: METHODS.includes(request.method) ? request.method : "PATCH",
    target: asAscii(request.target),
  });
  switch (step.kind) {
    case "requests":
      return { ...step, requests: step.requests.map(convert) };
    case "watch":
      return { ...step, request: convert(step.request) };
    case "collect":
      return step;
  }
}

export function requestsOf(...requests: HttpRequest[]): Step {
  return { kind: "requests", requests };
}

/** What a server fills the placeholders with. */
export interface Facts {
  readonly index: number;
  /** By key. */
  readonly modifiedIndexes: ReadonlyMap<string, number>;
  readonly clientUrl: string;
  readonly peerUrl: string;
  readonly memberId: string;
}

function fillIn(text: string, facts: Facts, ownIndex: number): string {
  if (!text.includes("<")) return text;
  return text
    .replace(/<([im])([+-]\d+)>/g, (_, letter, offset) => {
      return String(Math.max(0, (letter === "i" ? facts.index : ownIndex) + Number(offset)));
    })
    .replaceAll("<client>", facts.clientUrl)
    .replaceAll("<peer>", facts.peerUrl)
    .replaceAll("<id>", facts.memberId);
}

/** The bytes on the wire. */
export function toBytes(request: HttpRequest, facts: Facts): Buffer {
  const { method, headers, isChunked } = request;
  const [, key = ""] = /^\/v2\/keys([^?]*)/.exec(request.target) ?? [];
  const ownIndex = facts.modifiedIndexes.get(key) ?? facts.index;
  const target = fillIn(request.target, facts, ownIndex);
  const body = request.body === undefined ? undefined : fillIn(request.body, facts, ownIndex);
  const host = new URL(facts.clientUrl).host;
  const lines = [`${method} ${target} HTTP/1.1`, `Host: ${host}`];
  for (const [name, value] of headers) lines.push(`${name}: ${value}`);
  if (body !== undefined) {
    lines.push(isChunked ? "Transfer-Encoding: chunked" : `Content-Length: ${body.length}`);
  }
  const sent = isChunked && body !== undefined ? inChunks(body) : (body ?? "");
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n${sent}`, "latin1");
}

/** Two chunks, so that the body has a seam. */
function inChunks(body: string): string {
  const middle = Math.ceil(body.length / 2);
  return [body.slice(0, middle), body.slice(middle)]
    .filter((part) => part !== "")
    .map((part) => `${part.length.toString(16)}\r\n${part}\r\n`)
    .concat("0\r\n\r\n")
    .join("");
}

/** Lines that read like curl's command line, for people. */
export function describeStep(step: Step): string {
  switch (step.kind) {
    case "requests":
      return step.requests.map(describeRequest).join("\n");
    case "watch":
      return `${describeRequest(step.request)} &  # ${step.name}`;
    case "collect":
      return `# what did ${step.name} get?`;
  }
}

function describeRequest({ method, target, headers, body, isChunked }: HttpRequest): string {
  const parts = [`curl --path-as-is -X ${method} ${shellQuoted(`$E${target}`)}`];
  const shown = isChunked ? [...headers, ["Transfer-Encoding", "chunked"] as const] : headers;
  for (const [name, value] of shown) parts.push(`-H ${shellQuoted(`${name}: ${value}`)}`);
  if (body !== undefined) parts.push(`--data-binary ${shellQuoted(body)}`);
  return parts.join(" ");
}

/** What repeats itself many times is shown once. */
export function withoutRuns(text: string): string {
  return text.replace(/(.{1,6}?)\1{19,}/gs, (run, part: string) => {
    return `<"${part}" ${run.length / part.length} times>`;
  });
}

function shellQuoted(bytes: string): string {
  const short = withoutRuns(bytes);
  const escaped = short.replace(/[^\x20-\x7e]|[\\']/g, (character) =>
    character === "\\" || character === "'"
      ? `\\${character}`
      : `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
  return escaped === short ? `'${short}'` : `$'${escaped}'`;
}
