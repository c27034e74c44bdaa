/** Requests byte for byte, and their outcome, equal on etcd 3.4.23 and a node listener. */
export interface RawCase {
  readonly name: string;
  /**
   * KEY stands for the case's own key. One character per byte; several pieces are sent one by one.
   */
  readonly send: string | readonly string[];
  /** Statuses of all responses, then whether the connection is still usable or closed. */
  readonly outcome: string;
  /** KEY's value afterwards; undefined if it does not exist. Not checked in cases without KEY. */
  readonly value?: string | undefined;
  /** The client closes its sending side. */
  readonly isHalfClosed?: boolean;
  /** Why ringd differs here from etcd, or from the Go that etcd was built with. */
  readonly notAsEtcd?: string;
}

const FORM = "Content-Type: application/x-www-form-urlencoded";

function lines(first: string, more: readonly string[]): string {
  return `${[first, ...more].join("\r\n")}\r\n\r\n`;
}

const get = (target: string, ...more: string[]) =>
  lines(`GET ${target} HTTP/1.1`, ["Host: a", ...more]);
const put = (...more: string[]) => lines("PUT /v2/keys/KEY HTTP/1.1", ["Host: a", FORM, ...more]);
const chunked = (body: string, ...more: string[]) =>
  put("Transfer-Encoding: chunked", ...more) + body;
const many = (count: number) => Array.from({ length: count }, (_, i) => `X-B3-${i}: ${i}`);

const V = "/version";
const OK = "200 open";
const BAD = "400 closed";
const PUT_OK = "201 open";
const BODY = "7\r\nvalue=1\r\n0\r\n\r\n";

type Row = [name: string, send: string | string[], outcome: string, more?: Partial<RawCase>];
const rows = (list: readonly Row[]): RawCase[] =>
  list.map(([name, send, outcome, more]) => ({ name, send, outcome, ...more }));
/** PUTs that set KEY to 1 unless another value is given. */
const puts = (list: readonly Row[]): RawCase[] =>
  rows(list).map((one) => (one.outcome.includes("201") ? { value: "1", ...one } : one));

const VERSIONS = rows([
  ["HTTP/1.0", lines(`GET ${V} HTTP/1.0`, []), "200 closed"],
  ["HTTP/1.0 with Host", lines(`GET ${V} HTTP/1.0`, ["Host: lb"]), "200 closed"],
  ["HTTP/1.0, LF alone", `GET ${V} HTTP/1.0\n\n`, "200 closed"],
  ["HTTP/1.0, keep-alive", lines(`GET ${V} HTTP/1.0`, ["Connection: Keep-Alive"]), OK],
  ["HTTP/1.0, OPTIONS /", lines("OPTIONS / HTTP/1.0", []), "200 closed"],
  ["HTTP/1.0, event", lines("GET /v2/keys/first?wait=true&waitIndex=1 HTTP/1.0", []), "200 closed"],
  ["HTTP/1.0, absolute target", lines("GET http://a/version HTTP/1.0", []), "200 closed"],
  ["HTTP/1.2", lines(`GET ${V} HTTP/1.2`, ["Host: a"]), OK],
  ["Connection: close", get(V, "Connection: close"), "200 closed"],
  ["Connection: Close in a list", get(V, "Connection: foo, Close"), "200 closed"],
  ["a request after the last", get(V, "Connection: close") + get(V), "200 closed"],
  ["an upgrade that nobody takes", get(V, "Connection: Upgrade", "Upgrade: websocket"), OK],
  ["h2c", get(V, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"), OK],
]);

const TARGETS = rows([
  ["absolute", get("http://b:1/version"), OK],
  ["absolute, upper case, with a user", get("HTTP://u:p@a/version"), OK],
  ["absolute, no path", get("http://b"), "301 open"],
  ["absolute, a query alone", get("http://b?x"), "301 open"],
  ["absolute, no authority", get("http:/version"), OK],
  ["opaque", get("mailto:a"), "301 open"],
  ["absolute, IPv6", get("http://[::1]:1/version"), OK],
  ["absolute, a bracket that stays open", get("http://[::1/version"), BAD],
  ["absolute, a port that is none", get("http://b:-1/version"), BAD],
  ["absolute, ASCII encoded in the host", get("http://%41/version"), BAD],
  ["absolute, UTF-8 encoded in the host", get("http://%c3%a9/version"), OK],
  ["absolute, no Host", lines("GET http://a/version HTTP/1.1", []), BAD],
  ["OPTIONS *", lines("OPTIONS * HTTP/1.1", ["Host: a"]), OK],
  ["GET *", get("*"), BAD],
  ["no slash", get("version"), BAD],
  ["UTF-8", get("/v2/keys/\xc3\xa9"), "404 open"],
  ["bytes that are no UTF-8", get("/v2/keys/\xff?x=\xff"), "404 open"],
  ["control characters", get("/v2/keys/\x01"), BAD],
  ["DEL", get("/v2/keys/\x7f"), BAD],
  ["what URLs should encode", get('/v2/keys/a"<>\\^`{|}'), "404 open"],
  ["a long query", get(`/v2/keys/?x=${"a".repeat(3000)}`), OK],
]);

const METHODS = rows([
  ["lower case", lines("get /v2/keys/ HTTP/1.1", ["Host: a"]), "405 open"],
  ["unknown, body", `${lines("FOO / HTTP/1.1", ["Host: a", "Content-Length: 3"])}abc`, "404 open"],
  ["every token character", lines("A!#$%&'*+-.^_`|~9 /v2/keys/ HTTP/1.1", ["Host: a"]), "405 open"],
  ["no token", lines("G(T /v2/keys/ HTTP/1.1", ["Host: a"]), BAD],
  ["CONNECT", lines("CONNECT a:1 HTTP/1.1", ["Host: a"]), "404 open"],
  ["PATCH", lines("PATCH /v2/keys/ HTTP/1.1", ["Host: a"]), "405 open"],
]);

const HEADERS = rows([
  ["no Host", lines(`GET ${V} HTTP/1.1`, []), BAD],
  ["an empty Host", lines(`GET ${V} HTTP/1.1`, ["Host:"]), OK],
  ["two Hosts", get(V, "Host: b"), BAD],
  ["a Host that is none", lines(`GET ${V} HTTP/1.1`, ["Host: a<b>"]), BAD],
  ["LF alone", `GET ${V} HTTP/1.1\nHost: a\n\n`, OK],
  ["LF and CRLF mixed", `GET ${V} HTTP/1.1\r\nHost: a\n\r\n`, OK],
  ["CR in a value", get(V, "X: a\rb"), BAD],
  ["every token character", get(V, "!#$%&'*+-.^_`|~aZ09: 1", "x_y: 1", "x.y: 1"), OK],
  ["a blank before the colon", get(V, "X : 1"), BAD],
  ["a blank in a name", get(V, "X Y: 1"), BAD],
  ["a byte above 0x7f in a name", get(V, "X\xff: 1"), BAD],
  ["no colon", get(V, "nocolon"), BAD],
  ["no name", get(V, ": 1"), OK],
  ["empty, tabs, bytes above 0x7f", get(V, "A:", "B:\t1\t", "C: J\xf6rg"), OK],
  ["a control character in a value", get(V, "X: a\x01b"), BAD],
  ["a folded value", get(V, "X: a\r\n b\r\n\tc"), OK],
  ["a first line that begins with a blank", `GET ${V} HTTP/1.1\r\n Host: a\r\n\r\n`, BAD],
  ["60", get(V, ...many(60)), OK],
  ["5000", get(V, ...many(5000)), OK],
  ["a value of 1 MB", get(V, `X: ${"a".repeat(1_000_000)}`), OK],
  ["a name of 100 KB", get(V, `${"a".repeat(100_000)}: 1`), OK],
  ["a head byte by byte", [...get(V)], OK],
  ["Expect: 100-continue without a body", get(V, "Expect: 100-continue"), OK],
  ["another Expect", get(V, "Expect: 200-ok"), "417 closed"],
]);

const LENGTHS = puts([
  ["Content-Length", `${put("Content-Length: 7")}value=1`, PUT_OK],
  ["Content-Length: 0", put("Content-Length: 0"), PUT_OK, { value: "" }],
  ["no length", put(), PUT_OK, { value: "" }],
  ["an empty Content-Length", put("Content-Length:"), PUT_OK, { value: "" }],
  ["the same twice", `${put("Content-Length: 7", "Content-Length: 7")}value=1`, PUT_OK],
  ["two that differ", `${put("Content-Length: 7", "Content-Length: 8")}value=1`, BAD],
  ["a list", `${put("Content-Length: 7, 7")}value=1`, BAD],
  ["a sign", `${put("Content-Length: +7")}value=1`, BAD],
  ["folded", `${put("Content-Length:\r\n 7")}value=1`, PUT_OK],
  ["behind 3000 headers", `${put(...many(3000), "Content-Length: 7")}value=1`, PUT_OK],
  ["LF alone", `${put("Content-Length: 7").replaceAll("\r", "")}value=1`, PUT_OK],
  ["HTTP/1.0", `${put("Content-Length: 7").replace("1.1", "1.0")}value=1`, "201 closed"],
  ["Expect", `${put("Content-Length: 7", "Expect: 100-Continue")}value=1`, "100,201 open"],
  ["another Expect", `${put("Content-Length: 7", "Expect: foo")}value=1`, "417 closed"],
  [
    "a body with GET, Expect",
    `${get(V, "Content-Length: 3", "Expect: 100-continue")}abc`,
    "200 closed",
  ],
  ["a body with GET", `${get(V, "Content-Length: 3")}abc`, OK],
]);

const CHUNKS = puts([
  ["chunks", chunked("3\r\nval\r\n4\r\nue=1\r\n0\r\n\r\n"), PUT_OK],
  ["capitals", `${put("TRANSFER-ENCODING: CHUNKED")}${BODY}`, PUT_OK],
  ["extensions", chunked('7;a=b;c;d="e;f"\r\nvalue=1\r\n0;g\r\n\r\n'), PUT_OK],
  ["a long extension", chunked(`7;a=${"b".repeat(3000)}\r\nvalue=1\r\n0\r\n\r\n`), PUT_OK],
  ["an extension without a name", chunked("7;\r\nvalue=1\r\n0\r\n\r\n"), PUT_OK],
  ["blanks after the size", chunked("7  \r\nvalue=1\r\n0\r\n\r\n"), PUT_OK],
  [
    "blanks around an extension",
    chunked("7 \t; a = b\r\nvalue=1\r\n0\r\n\r\n"),
    PUT_OK,
    { notAsEtcd: "RFC 9112, 7.1.1 allows it" },
  ],
  ["zeros, capitals", chunked("000A\r\nvalue=1234\r\n000\r\n\r\n"), PUT_OK, { value: "1234" }],
  ["trailers", chunked("7\r\nvalue=1\r\n0\r\nX_T: 1\r\nY.z:\r\n\r\n", "Trailer: X_T"), PUT_OK],
  ["a length in trailers", chunked("7\r\nvalue=1\r\n0\r\nContent-Length: 5\r\n\r\n"), PUT_OK],
  ["byte by byte", [...chunked('3;a="x"\r\nval\r\n4\r\nue=1\r\n0\r\nT: 1\r\n\r\n')], PUT_OK],
  ["a size that is none", chunked("0x7\r\nvalue=1\r\n0\r\n\r\n"), BAD],
  ["a size above all", chunked("fffffffffffffffff\r\nvalue=1\r\n0\r\n\r\n"), BAD],
  ["more than the size says", chunked("7\r\nvalue=10\r\n\r\n"), BAD],
  ["LF alone", chunked("7\nvalue=1\n0\n\n"), BAD],
  [
    "a size line with LF alone",
    chunked("7\nvalue=1\r\n0\r\n\r\n"),
    BAD,
    { notAsEtcd: "later versions of Go refuse it, too (CVE-2025-22871)" },
  ],
  [
    "a Content-Length beside them",
    chunked(BODY, "Content-Length: 7"),
    "201 closed",
    { notAsEtcd: "it takes further requests, against RFC 9112, 6.1" },
  ],
  ["identity", `${put("Transfer-Encoding: identity", "Content-Length: 7")}value=1`, "501 closed"],
  ["gzip, chunked", `${put("Transfer-Encoding: gzip, chunked")}${BODY}`, "501 closed"],
  ["chunked twice", chunked(BODY, "Transfer-Encoding: chunked"), "501 closed"],
  ["Expect: 100-continue", chunked(BODY, "Expect: 100-continue"), "100,201 open"],
  ["with GET", `${get(V, "Transfer-Encoding: chunked")}3;x\r\nabc\r\n0\r\nT: 1\r\n\r\n`, OK],
]);

const PIPELINES = puts([
  ["three", get(V) + get("/v2/keys/?quorum=true") + get(V), "200,200,200 open"],
  ["PUT, GET", `${put("Content-Length: 7")}value=1${get("/v2/keys/KEY")}`, "201,200 open"],
  ["garbage behind a request", `${get(V)}BAD\r\n\r\n`, "200,400 closed"],
  [
    "an empty line between two",
    `${get(V)}\r\n${get(V)}`,
    "200,200 open",
    { notAsEtcd: "RFC 9112, 2.2 asks for it" },
  ],
  ["an empty line first", `\r\n\n${get(V)}`, OK, { notAsEtcd: "RFC 9112, 2.2 asks for it" }],
]);

const HALF_CLOSED = puts([
  ["GET", get("/v2/keys/"), "200 closed"],
  ["quorum GET", get("/v2/keys/?quorum=true"), "200 closed"],
  ["health", get("/health"), "200 closed"],
  ["metrics", get("/metrics"), "200 closed"],
  ["HTTP/1.0", lines(`GET ${V} HTTP/1.0`, []), "200 closed"],
  ["PUT", `${put("Content-Length: 7")}value=1`, "201 closed"],
  ["a chunked PUT", chunked(BODY), "201 closed"],
  ["two", get("/v2/keys/?quorum=true") + get("/v2/keys/?quorum=true"), "200,200 closed"],
  ["a watch ends", get("/v2/keys/nothing?wait=true"), "200 closed"],
  ["a stream ends", get("/v2/keys/nothing?wait=true&stream=true"), "200 closed"],
  ["a body cut short", `${put("Content-Length: 70")}value=1`, BAD],
  ["a chunked body cut short", chunked("7\r\nvalu"), BAD],
  ["a body cut short that nobody wants", `${get(V, "Content-Length: 30")}abc`, "200 closed"],
  ["a head cut short", "GET /version HTTP/1.1\r\nHost: a\r\n", BAD],
  ["nothing", "", " closed"],
]).map((one) => ({ ...one, isHalfClosed: true }));

export const RAW_CASES: Readonly<Record<string, readonly RawCase[]>> = {
  versions: VERSIONS,
  targets: TARGETS,
  methods: METHODS,
  headers: HEADERS,
  lengths: LENGTHS,
  chunks: CHUNKS,
  pipelines: PIPELINES,
  "half-closed clients": HALF_CLOSED,
};
