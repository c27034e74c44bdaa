import { readFileSync } from "node:fs";
import { isIPv6 } from "node:net";

/** Interval between two readings of the kernel's tables, also in relation to their cost. */
const SAMPLE_MS_MIN = 10;
const SAMPLE_SHARE = 1 / 20;
/** States of a connection that has a descriptor here: established, and closed by the client. */
const OPEN_STATES: ReadonlySet<string> = new Set(["01", "08"]);
const MAPPED = "00000000000000000000ffff";

/**
 * Limits the connections from one address (`--max-connections-per-address`); of IPv6, from one /64,
 * as that is what a host gets.
 *
 * uWebSockets.js does not say whose connection closed. So only openings are counted, and when an
 * address seems to reach the limit, the kernel is asked how many it has.
 */
export class AddressLimit {
  readonly #max: number;
  readonly #sample: () => ReadonlyMap<string, number>;
  readonly #openMax: () => number;
  readonly #monoMs: () => number;
  #sampled: ReadonlyMap<string, number> = new Map();
  #nextMs = Number.NEGATIVE_INFINITY;
  /** Admitted since. */
  readonly #opened = new Map<string, number>();

  /**
   * @param sample connections by address, the one to be admitted included
   * @param openMax at least as many as are open, of all addresses, that one included
   */
  constructor(
    max: number,
    sample: () => ReadonlyMap<string, number>,
    openMax: () => number,
    monoMs: () => number = () => performance.now(),
  ) {
    this.#max = max;
    this.#sample = sample;
    this.#openMax = openMax;
    this.#monoMs = monoMs;
  }

  /** @param address of a connection that was just accepted; "" for a unix socket */
  admits(address: string): boolean {
    if (address === "") return true;
    if (this.#known(address) < this.#max || this.#openMax() <= this.#max) {
      this.#opened.set(address, (this.#opened.get(address) ?? 0) + 1);
      return true;
    }
    const startMs = this.#monoMs();
    if (startMs < this.#nextMs) return false;
    this.#sampled = this.#sample();
    this.#opened.clear();
    const endMs = this.#monoMs();
    this.#nextMs = endMs + Math.max(SAMPLE_MS_MIN, (endMs - startMs) / SAMPLE_SHARE);
    return this.#known(address) <= this.#max;
  }

  #known(address: string): number {
    return (this.#sampled.get(address) ?? 0) + (this.#opened.get(address) ?? 0);
  }
}

/** Connections to one of the ports by remote address, from Linux's tables; empty elsewhere. */
export function connectionsByAddress(ports: ReadonlySet<number>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const table of ["/proc/self/net/tcp", "/proc/self/net/tcp6"]) {
    for (const line of readTable(table).split("\n")) {
      const [, local = "", remote = "", state = ""] = line.trimStart().split(/ +/, 4);
      if (!OPEN_STATES.has(state)) continue;
      if (!ports.has(Number.parseInt(local.slice(local.indexOf(":") + 1), 16))) continue;
      const address = addressOfHex(fromWords(remote.slice(0, remote.indexOf(":"))));
      counts.set(address, (counts.get(address) ?? 0) + 1);
    }
  }
  return counts;
}

function readTable(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

/** The tables show words of four bytes in the machine's order, which is little-endian. */
function fromWords(hex: string): string {
  return hex.toLowerCase().replace(/(..)(..)(..)(..)/g, "$4$3$2$1");
}

/** @param bytes 4 or 16, in network order; none for a unix socket */
export function addressOfBytes(bytes: ArrayBuffer): string {
  return addressOfHex(Buffer.from(bytes).toString("hex"));
}

/** @param text as of `Socket.remoteAddress`; undefined for a unix socket */
export function addressOfText(text: string | undefined): string {
  if (text === undefined) return "";
  const dotted = text.slice(text.lastIndexOf(":") + 1);
  if (dotted.includes(".")) {
    return addressOfHex(Buffer.from(dotted.split(".").map(Number)).toString("hex"));
  }
  return isIPv6(text) ? addressOfHex(expand(text)) : "";
}

/** IPv4 whole, IPv6 by its first half. */
function addressOfHex(hex: string): string {
  if (hex.length !== 32) return hex;
  return hex.startsWith(MAPPED) ? hex.slice(MAPPED.length) : hex.slice(0, 16);
}

function expand(text: string): string {
  const [head = "", tail] = text.replace(/%.*$/, "").split("::");
  const groups = (part: string) =>
    part === "" ? [] : part.split(":").map((group) => group.padStart(4, "0"));
  const [front, back] = [groups(head), groups(tail ?? "")];
  const zeros = Array.from({ length: 8 - front.length - back.length }, () => "0000");
  return [...front, ...zeros, ...back].join("");
}
