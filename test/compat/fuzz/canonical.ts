import type { Facts } from "./step.js";

/** Two expirations of the same request, at two servers. */
const EXPIRATION_MS_TOLERANCE = 2000;
const TTL_SECONDS_TOLERANCE = 1;

/** Compares bodies as received; texts are bytes, one per character. */
export function sameBody(etcd: string, ringd: string, isOrdered: boolean): boolean {
  if (etcd === ringd) return true;
  const order = isOrdered ? (text: string) => text : sortNodes;
  const [etcdText, etcdTimes] = cutTimes(order(etcd));
  const [ringdText, ringdTimes] = cutTimes(order(ringd));
  return etcdText === ringdText && etcdTimes.every((time, i) => isNear(time, ringdTimes[i]));
}

/** Masks values of this server: its URLs, ids and start time. */
export function maskOwn(body: string, facts: Facts): string {
  return body
    .replaceAll(facts.clientUrl, "<client>")
    .replaceAll(facts.peerUrl, "<peer>")
    .replaceAll(facts.memberId, "<id>")
    .replace(/"startTime":"\d{4}-\d\d-\d\dT[\d:.]+Z"/g, '"startTime":"<time>"')
    .replace(/"uptime":"[\dhmsµ.\xc2\xb5]+"/g, '"uptime":"<time>"');
}

/** A node's expiration and ttl; the latter is absent within a second of expiry. */
const TIMES =
  /"expiration":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z)"(?:,"ttl":(-?[1-9]\d*))?/g;

interface Time {
  readonly expirationMs: number;
  readonly ttlSeconds: number;
}

/** Quotes inside strings are escaped, so a match is always a field. */
function cutTimes(text: string): [text: string, times: Time[]] {
  const times: Time[] = [];
  const rest = text.replace(TIMES, (_, expiration: string, ttl: string | undefined) => {
    times.push({ expirationMs: Date.parse(expiration), ttlSeconds: Number(ttl ?? 0) });
    return "<time>";
  });
  return [rest, times];
}

function isNear(a: Time, b: Time | undefined): boolean {
  if (b === undefined) return false;
  return (
    Math.abs(a.expirationMs - b.expirationMs) <= EXPIRATION_MS_TOLERANCE &&
    Math.abs(a.ttlSeconds - b.ttlSeconds) <= TTL_SECONDS_TOLERANCE
  );
}

const NODES = '"nodes":[';

/**
 * Unsorted listings come in any order (Go's maps): sorts the elements of each `nodes` array by
 * their text, otherwise unchanged.
 */
export function sortNodes(text: string): string {
  let sorted = "";
  let at = 0;
  for (;;) {
    const start = text.indexOf(NODES, at);
    if (start < 0) return sorted + text.slice(at);
    const [elements, end] = readElements(text, start + NODES.length);
    const inOrder = elements.map(sortNodes).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
    sorted += `${text.slice(at, start)}${NODES}${inOrder.join(",")}`;
    at = end;
  }
}

/** @returns the element texts, and the offset of the array's closing bracket */
function readElements(text: string, from: number): [elements: string[], end: number] {
  const elements: string[] = [];
  let depth = 0;
  let begin = from;
  for (let i = from; i < text.length; i++) {
    const character = text[i];
    if (character === '"') {
      i = endOfString(text, i);
    } else if (character === "{" || character === "[") {
      depth++;
    } else if (character === "," && depth === 0) {
      elements.push(text.slice(begin, i));
      begin = i + 1;
    } else if (character === "}" || character === "]") {
      if (depth === 0) return [[...elements, text.slice(begin, i)], i];
      depth--;
    }
  }
  return [[text.slice(from)], text.length];
}

function endOfString(text: string, quote: number): number {
  let i = quote + 1;
  while (i < text.length && text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
  return i;
}
