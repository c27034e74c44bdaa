import assert from "node:assert/strict";
import { ByteQueue } from "#ringd/frontend/byte-queue.js";
import { ChunkedBody } from "#ringd/frontend/http-body.js";
import { findHeadEnd, parseHead } from "#ringd/frontend/http-head.js";
import { scanJson } from "#ringd/go/json-scanner.js";
import { decodeCommand, encodeCommand, encodedBytes } from "#ringd/store/command-codec.js";
import { Refusal } from "#ringd/store/refusal.js";
import { V2_ERRORS } from "#ringd/v2/errors.js";
import { type ParsedForm, parseForm } from "#ringd/v2/form.js";
import { hostnameOf } from "#ringd/v2/host-whitelist.js";
import { parseKeysRequest } from "#ringd/v2/keys-request.js";
import { decodePeerUrls } from "#ringd/v2/members.js";
import { routePath } from "#ringd/v2/path.js";
import { FORM_TYPE, Method } from "#ringd/v2/request.js";
import type { FuzzTarget } from "./engine.js";

/** Decoders of what clients send. */

const ALL = { has: () => true } as unknown as ReadonlySet<string>;
const NO_BODY = Buffer.alloc(0);
/** Outside of these, URLSearchParams decodes otherwise than Go. */
const NOT_ASCII = /[^\t\x20-\x7e]|%[89a-f]/i;

type ParseForm = (query: string, body: Buffer | undefined) => ParsedForm;

/** Body, a NUL, query. */
function checkForm(parse: ParseForm, input: Buffer): void {
  const nul = input.indexOf(0);
  const body = nul < 0 ? input : input.subarray(0, nul);
  const query = nul < 0 ? "" : input.subarray(nul + 1).toString("latin1");
  const parsed = parse(query, body);
  const known = parseForm(query, body, new Set(["value"]));
  assert.equal(known.kind, parsed.kind, "names do not matter for errors");
  if (parsed.kind === "invalid") return;
  const text = `${body.toString("latin1")}&${query}`;
  if (NOT_ASCII.test(text)) return;
  for (const [name, value] of new URLSearchParams(text)) {
    if (name === "" || parsed.form.get(name) === undefined) continue;
    const first = new URLSearchParams(text).get(name);
    assert.equal(parsed.form.get(name), first, `${name}=${value}`);
  }
}

type ParseKeys = typeof parseKeysRequest;

/** A byte for the method, then the query, or, after a NUL, the body. */
function checkQuery(parse: ParseKeys, input: Buffer): void {
  const method = ((input[0] ?? 0) % 5) as Method;
  const text = input.subarray(1).toString("latin1");
  const [query = "", form] = text.split("\0", 2);
  const body = form === undefined ? NO_BODY : Buffer.from(form, "latin1");
  const request = {
    ...{ method, path: "/v2/keys/a", query, body },
    contentType: form === undefined ? "" : FORM_TYPE,
    isBodyTooLarge: false,
    ...{ authorization: "", commonName: "", remote: "" },
  };
  const parsed = parse(request, "/v2/keys/a", 1e12);
  if (parsed.kind === "refusal") {
    assert.ok(parsed.refusal instanceof Refusal && parsed.refusal.code in V2_ERRORS);
    return;
  }
  if (parsed.kind !== "write") return;
  const { command } = parsed;
  const bytes = Buffer.alloc(encodedBytes(command));
  const end = encodeCommand(command, bytes, new DataView(bytes.buffer, bytes.byteOffset), 0);
  assert.equal(end, bytes.length, "a command has the size that was announced");
  assert.deepEqual(decodeCommand(bytes), command);
  const [, index] = /^prevIndex=0*(\d{1,19})$/.exec(query) ?? [];
  if (index !== undefined && form === undefined) {
    assert.equal(BigInt(command.prevIndex), BigInt(index));
  }
}

function checkPath(route: typeof routePath, input: Buffer): void {
  // Frontends let no others through.
  const text = input.toString("latin1").replace(/[\0-\x20\x7f]/g, "");
  const [path = "", query = ""] = text.split("?", 2);
  const routed = route(`/${path}`, query, Method.get);
  if (routed.kind === "path") {
    assert.doesNotMatch(routed.path, /\/\/|\/\.\.?(?:\/|$)/, "a path is clean");
    return;
  }
  const { head } = routed.answer;
  assert.ok(head.status === 301 || head.status === 400);
  assert.doesNotMatch(head.location, /[^\x20-\x7e]/, "a location is ASCII");
  if (head.status === 400) return;
  const [again = ""] = head.location.split("?", 1);
  assert.equal(route(again, "", Method.get).kind, "path", "one redirect leads to a clean path");
}

function checkJson(scan: typeof scanJson, input: Buffer): void {
  decodePeerUrls(input);
  const text = input.toString("utf8");
  if (!Buffer.from(text).equals(input)) return;
  let isValid = true;
  try {
    JSON.parse(text);
  } catch {
    isValid = false;
  }
  const scanned = scan(input, "whole");
  assert.equal(scanned.kind === "valid", isValid, JSON.stringify(scanned));
  const prefix = scan(input, "prefix");
  if (isValid) assert.equal(prefix.kind, "valid");
  if (prefix.kind === "valid") JSON.parse(input.toString("utf8", 0, prefix.end));
}

function checkHead(parse: typeof parseHead, input: Buffer): void {
  const end = findHeadEnd(input, 0);
  // However it is fragmented, it ends at the same byte.
  const cut = input.length >>> 1;
  const first = findHeadEnd(input.subarray(0, cut), 0);
  const inPieces = first >= 0 ? first : findHeadEnd(input, -1 - first);
  assert.equal(inPieces < 0, end < 0);
  if (end >= 0) assert.equal(inPieces, end);
  const head = parse(input.toString("latin1", 0, end < 0 ? undefined : end));
  if ("status" in head) return;
  assert.match(head.path, /^(?:\/|\*$|$)/);
  for (const text of [head.path, head.query, head.contentType, head.origin, head.host]) {
    assert.doesNotMatch(text, /[\r\n\0]/);
  }
  hostnameOf(head.host);
  if (typeof head.length !== "number") return;
  assert.ok(Number.isSafeInteger(head.length) && head.length >= 0);
  const text = input.toString("latin1", 0, end < 0 ? undefined : end);
  for (const [, length = ""] of text.matchAll(/\ncontent-length:([^\r\n]*)/gi)) {
    assert.match(length.trim(), /^\d*$/, "a length has digits only");
  }
}

interface Decoded {
  readonly outcome: string;
  readonly data: string;
  readonly rest: string;
}
type DecodeChunks = (pieces: readonly Buffer[]) => Decoded;

function decodeChunks(pieces: readonly Buffer[]): Decoded {
  const input = new ByteQueue();
  const body = new ChunkedBody();
  const parts: Buffer[] = [];
  let outcome = "more";
  for (const piece of pieces) {
    input.append(Buffer.from(piece));
    if (outcome === "more") outcome = body.decode(input, (part) => parts.push(Buffer.from(part)));
  }
  const rest = outcome === "done" ? input.view.toString("latin1") : "";
  return { outcome, data: Buffer.concat(parts).toString("latin1"), rest };
}

function checkChunks(decode: DecodeChunks, input: Buffer): void {
  const whole = decodeChunks([input]);
  const bytes = decode(Array.from(input, (byte) => Buffer.of(byte)));
  // A bad line is found a byte earlier or later, with more or less data before it.
  assert.equal(bytes.outcome, whole.outcome);
  if (whole.outcome === "done") assert.deepEqual(bytes, whole);
}

export const CLIENT_TARGETS: readonly FuzzTarget[] = [
  {
    name: "form",
    run: (input) => checkForm((query, body) => parseForm(query, body, ALL), input),
    planted: (input) => {
      // An encoded plus is taken for a blank.
      const spoil = (text: string) => text.replace(/%2b/gi, "+");
      checkForm((query, body) => {
        const bad = body && Buffer.from(spoil(body.toString("latin1")), "latin1");
        return parseForm(spoil(query), bad, ALL);
      }, input);
    },
  },
  {
    name: "query",
    run: (input) => checkQuery(parseKeysRequest, input),
    planted: (input) =>
      checkQuery((request, path, clusterMs) => {
        // Large indexes are rounded.
        const parsed = parseKeysRequest(request, path, clusterMs);
        if (parsed.kind !== "write") return parsed;
        const prevIndex = Number(parsed.command.prevIndex);
        return { ...parsed, command: { ...parsed.command, prevIndex } };
      }, input),
  },
  {
    name: "path",
    run: (input) => checkPath(routePath, input),
    planted: (input) =>
      checkPath((raw, query, method) => {
        // Encoded dots are decoded, and not cleaned.
        if (!/%2e%2e/i.test(raw)) return routePath(raw, query, method);
        return { kind: "path", path: raw.replace(/%2e/gi, ".") };
      }, input),
  },
  {
    name: "json",
    run: (input) => checkJson(scanJson, input),
    planted: (input) =>
      checkJson((bytes, extent) => {
        // A number may begin with zeros.
        const text = Buffer.from(bytes).toString("latin1");
        return scanJson(Buffer.from(text.replace(/(?<![\d.])0(?=\d)/g, " "), "latin1"), extent);
      }, input),
  },
  {
    name: "http-head",
    run: (input) => checkHead(parseHead, input),
    planted: (input) =>
      checkHead((text) => {
        // A length may be followed by anything.
        return parseHead(text.replace(/^(content-length:[ \t]*\d+)[^\d\r\n].*?(\r?)$/im, "$1$2"));
      }, input),
  },
  {
    name: "http-body",
    run: (input) => checkChunks(decodeChunks, input),
    planted: (input) =>
      checkChunks((pieces) => {
        // An extension costs a byte of the data.
        const decoded = decodeChunks(pieces);
        const hasExtension = Buffer.concat(pieces).includes(";");
        return hasExtension ? { ...decoded, data: decoded.data.slice(1) } : decoded;
      }, input),
  },
];
