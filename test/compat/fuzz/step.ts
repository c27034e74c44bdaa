import { isUtf8 } from "node:buffer";
import { METHODS } from "node:http";

/**
 * etcd distinguishes HTTP from gRPC by the first 4096 bytes, and closes connections whose first
 * line is longer.
 */
const TARGET_BYTES_MAX = 4000;
export const FORM_TYPE = "application/x-www-form-urlencoded";

/**
 * A sequence of requests as data, so that it can be sent to two servers, shrunk and printed.
 *
 * Texts are latin1: one character per byte. In targets and bodies placeholders stand for values of
 * each server: `<i+N>`, `<i-N>` for its last X-Etcd-Index plus or minus N, `<m+N>` for the last
 * known modifiedIndex of the request's own node plus N, `<client>` and `<peer>` for its URLs,
 * `<id>` for its member id. Being relative, a condition keeps its meaning when requests before it
 * are dropped.
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
  /** Sent in order; nodes that they let expire soon have expired before the next step. */
  | { readonly kind: "requests"; readonly requests: readonly HttpRequest[] }
  /** Continues once the response headers have arrived: the watch is registered then. */
  | { readonly kind: "watch"; readonly name: string; readonly request: HttpRequest }
  /** Compares the data received by the watch, and closes it. */
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

/** Neither invalid UTF-8 nor U+FFFD reaches the API unencoded: see `odd.ts`. */
function asUtf8(target: string): string {
  const isText = isUtf8(Buffer.from(target, "latin1")) && !target.includes("\xef\xbf\xbd");
  return isText ? target : asAscii(target);
}

function asAscii(target: string): string {
  return target.replace(/[\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16)}`);
}

/** Restricts a step to what node:http can send: ASCII targets and known methods. */
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

/** A server's values of the placeholders. */
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

/** Two chunks, to split the body. */
function inChunks(body: string): string {
  const middle = Math.ceil(body.length / 2);
  return [body.slice(0, middle), body.slice(middle)]
    .filter((part) => part !== "")
    .map((part) => `${part.length.toString(16)}\r\n${part}\r\n`)
    .concat("0\r\n\r\n")
    .join("");
}

/** Describes a step as curl commands. */
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

/** Shortens long repetitions. */
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
