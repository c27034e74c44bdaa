import { head, RawConnection } from "../../frontend/raw.js";
import type { Prng } from "../../support/prng.js";

/** Requests that are malformed in every way that somebody has thought of, or by chance. */

const FORM = "Content-Type: application/x-www-form-urlencoded";
const PUT = (...lines: string[]) => head("PUT", "/v2/keys/mutant", FORM, ...lines);
const LENGTH = "Content-Length: 7";
const CHUNKED = "Transfer-Encoding: chunked";

/** Nearly valid ones, to be changed in one place. */
const MODELS: readonly string[] = [
  head("GET", "/v2/keys/?recursive=true&sorted=true"),
  head("GET", "/v2/keys/mutant?wait=true&waitIndex=3&stream=true"),
  head("HEAD", "/version", "Connection: close"),
  `${head("PUT", "/v2/keys/mutant?prevExist=false", FORM, "Content-Length: 13")}value=a&ttl=5`,
  `${head("POST", "/v2/keys/mutant", CHUNKED)}7\r\nvalue=a\r\n0\r\n\r\n`,
  `${head("POST", "/v2/members", "Content-Type: application/json", "Content-Length: 2")}{}`,
  `${head("PUT", "/v2/keys/mutant", "Content-Type: multipart/form-data; boundary=b", "Content-Length: 63")}--b\r\nContent-Disposition: form-data; name="value"\r\n\r\nx\r\n--b--\r\n`,
];

/** Shapes by which a proxy and a server may disagree where a request ends. */
export const SMUGGLING: Readonly<Record<string, string>> = {
  "two lengths": `${PUT(LENGTH, "Content-Length: 0")}value=1`,
  "a list of lengths": `${PUT("Content-Length: 7, 7")}value=1`,
  "a signed length": `${PUT("Content-Length: +7")}value=1`,
  "a length beyond 64 bits": `${PUT("Content-Length: 18446744073709551623")}value=1`,
  "a length beyond 32 bits": `${PUT("Content-Length: 4294967303")}value=1`,
  "a negative length": `${PUT("Content-Length: -1")}value=1`,
  "length and chunks": `${PUT(LENGTH, CHUNKED)}7\r\nvalue=1\r\n0\r\n\r\n`,
  "chunks and length": `${PUT(CHUNKED, LENGTH)}7\r\nvalue=1\r\n0\r\n\r\n`,
  "an unknown coding": `${PUT("Transfer-Encoding: xchunked")}7\r\nvalue=1\r\n0\r\n\r\n`,
  "two codings": `${PUT(CHUNKED, "Transfer-Encoding: identity")}7\r\nvalue=1\r\n0\r\n\r\n`,
  "a blank before the colon": `${PUT("Transfer-Encoding : chunked", LENGTH)}value=1`,
  "a control character in a value": `${PUT("Transfer-Encoding: \x0bchunked", LENGTH)}value=1`,
  "a folded header": `${PUT(LENGTH, "X: y\r\n Transfer-Encoding: chunked")}value=1`,
  "LF alone": PUT(LENGTH).replaceAll("\r\n", "\n"),
  "LF alone within a header": `${PUT("X: y\nTransfer-Encoding: chunked", LENGTH)}value=1`,
  "CR alone within a header": `${PUT("X: y\rContent-Length: 100", LENGTH)}value=1`,
  "NUL in a header": `${PUT("X: y\0z", LENGTH)}value=1`,
  "a chunk extension": `${PUT(CHUNKED)}7;a=b\r\nvalue=1\r\n0\r\n\r\n`,
  "a chunk extension of digits": `${PUT(CHUNKED)}1;0000000000\r\nv\r\n0\r\n\r\n`,
  "a chunk beyond 64 bits": `${PUT(CHUNKED)}10000000000000007\r\nvalue=1\r\n0\r\n\r\n`,
  "a negative chunk": `${PUT(CHUNKED)}-7\r\nvalue=1\r\n0\r\n\r\n`,
  "no line end after a chunk": `${PUT(CHUNKED)}7\r\nvalue=1XX0\r\n\r\n`,
  "chunks that end with LF": `${PUT(CHUNKED)}7\nvalue=1\n0\n\n`,
  "a request in the trailers": `${PUT(CHUNKED)}7\r\nvalue=1\r\n0\r\n${head("GET", "/health")}`,
  "no Host": "GET /version HTTP/1.1\r\n\r\n",
  "two Hosts": head("GET", "/version", "Host: b"),
  "1,000 headers": PUT(...Array.from({ length: 1000 }, (_, i) => `X${i}: y`), "Content-Length: 0"),
  "a long target": head("GET", `/v2/keys/${"a/".repeat(50_000)}`),
  "a TLS hello": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
  "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
};
const SHAPES = Object.values(SMUGGLING);

/** One malformed request on a connection of its own; it waits for some turns, not for an end. */
export async function throwMalformed(port: number, prng: Prng): Promise<void> {
  const kind = prng.below(10);
  if (kind < 2) return throwGarbage(port, prng);
  const model = kind < 6 ? prng.pick(MODELS) : prng.pick(SHAPES);
  return throwText(port, prng, kind === 9 ? model : mutated(model, prng));
}

/**
 * Sends random bytes, in one piece or many, and disconnects afterwards, or when the member does.
 */
export async function throwGarbage(port: number, prng: Prng): Promise<void> {
  const connection = await RawConnection.open(port);
  const pieces = 1 + prng.below(4);
  for (let i = 0; i < pieces && !connection.isClosed; i++) {
    const length = 1 + prng.below(prng.below(100) === 0 ? 100_000 : 300);
    connection.send(Buffer.from(Array.from({ length }, () => prng.below(256))));
    await nextTurn();
  }
  connection.close();
}

/** A nearly valid request: one byte changed, left out or doubled. */
export function throwMutant(port: number, prng: Prng): Promise<void> {
  return throwText(port, prng, mutated(prng.pick(MODELS), prng));
}

function mutated(model: string, prng: Prng): string {
  const at = prng.below(model.length);
  const other = [String.fromCharCode(prng.below(256)), "", model.charAt(at).repeat(2)];
  return model.slice(0, at) + other[prng.below(3)] + model.slice(at + 1);
}

async function throwText(port: number, prng: Prng, text: string): Promise<void> {
  const connection = await RawConnection.open(port, text);
  for (let turns = prng.below(10); turns >= 0 && connection.text === ""; turns--) await nextTurn();
  connection.close();
}

/** Begins a request, a watch or a listing, and disconnects at some point. */
export async function abortSomewhere(port: number, prng: Prng): Promise<void> {
  const model = prng.pick(MODELS);
  const connection = await RawConnection.open(port, model.slice(0, prng.below(model.length + 1)));
  for (let turns = prng.below(5); turns > 0; turns--) await nextTurn();
  if (prng.below(2) === 0) connection.close();
  else connection.socket.resetAndDestroy();
}

export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
