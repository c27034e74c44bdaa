import assert from "node:assert/strict";
import { test } from "node:test";
import { type Command, CommandOp } from "#ringd/store/command.js";
import { PERMANENT } from "#ringd/store/node.js";
import { type KeysRequest, parseKeysRequest } from "#ringd/v2/keys-request.js";
import { type ApiRequest, METHODS, Method } from "#ringd/v2/request.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";

const FORM = "application/x-www-form-urlencoded";
const NOW_MS = 1_795_242_600_000;

type MethodName = (typeof METHODS)[number];

function request(name: MethodName, query: string, body = "", contentType = FORM): ApiRequest {
  return {
    method: METHODS.indexOf(name) as Method,
    path: "/v2/keys/a",
    query,
    contentType,
    authorization: "",
    commonName: "",
    remote: "",
    body: Buffer.from(body, "latin1"),
    isBodyTooLarge: false,
  };
}

function parse(name: MethodName, query: string, body = "", path = "/v2/keys/a"): KeysRequest {
  return parseKeysRequest(request(name, query, body), path, NOW_MS);
}

function command(name: MethodName, query: string, body = ""): Command {
  const parsed = parse(name, query, body);
  assert.equal(parsed.kind, "write", `${name} ${query} ${body}`);
  return (parsed as { command: Command }).command;
}

/** "209 invalid value ..." for a rejection, else the kind. */
function outcome(parsed: KeysRequest): string {
  if (parsed.kind !== "refusal") return parsed.kind;
  assert.equal(parsed.refusal.index, 0);
  return `${parsed.refusal.code} ${parsed.refusal.cause}`;
}

test("a method, prevExist and the conditions decide the operation", () => {
  const cases: readonly (readonly [MethodName, string, CommandOp])[] = [
    ["PUT", "", CommandOp.set],
    ["PUT", "prevIndex=0", CommandOp.set],
    ["PUT", "prevExist=false", CommandOp.create],
    ["PUT", "prevExist=false&prevValue=x&prevIndex=3", CommandOp.create],
    ["PUT", "prevExist=true", CommandOp.update],
    ["PUT", "prevExist=true&prevIndex=0", CommandOp.update],
    ["PUT", "prevExist=true&prevValue=x", CommandOp.compareAndSwap],
    ["PUT", "prevIndex=3", CommandOp.compareAndSwap],
    ["POST", "", CommandOp.createInOrder],
    ["POST", "prevExist=true&prevValue=x", CommandOp.createInOrder],
    ["DELETE", "", CommandOp.delete],
    ["DELETE", "prevExist=false", CommandOp.delete],
    ["DELETE", "prevIndex=0", CommandOp.delete],
    ["DELETE", "prevValue=x", CommandOp.compareAndDelete],
    ["DELETE", "prevIndex=3", CommandOp.compareAndDelete],
  ];
  for (const [name, query, op] of cases) assert.equal(command(name, query).op, op, query);
});

test("a set has all fields that the store needs", () => {
  assert.deepEqual(command("PUT", "ttl=5&dir=true&recursive=t", "value=a%00%ff"), {
    op: CommandOp.set,
    path: "/1/a",
    value: "a\x00\xff",
    isDirectory: true,
    isRecursive: true,
    isRefresh: false,
    expirationMs: NOW_MS + 5000,
    prevValue: "",
    prevIndex: 0,
    timeMs: NOW_MS,
  });
});

test("an index keeps all of its 64 bits", () => {
  const cases: readonly (readonly [string, number | bigint])[] = [
    ["9007199254740991", 9007199254740991],
    ["9007199254740992", 9007199254740992n],
    ["9007199254740993", 9007199254740993n],
    ["18446744073709551615", 18446744073709551615n],
    ["0".repeat(1_000_000), 0],
    [`${"0".repeat(1_000_000)}18446744073709551615`, 18446744073709551615n],
  ];
  for (const [text, index] of cases) {
    assert.equal(command("PUT", `prevIndex=${text}`).prevIndex, index);
  }
  for (const text of ["18446744073709551616", "9".repeat(1_000_000)]) {
    assert.equal(outcome(parse("PUT", `prevIndex=${text}`)), '203 invalid value for "prevIndex"');
  }
});

test("paths become internal ones, a trailing slash dropped", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["/v2/keys", "/1"],
    ["/v2/keys/", "/1"],
    ["/v2/keys/a", "/1/a"],
    ["/v2/keys/a/b/", "/1/a/b"],
    ["/v2/keys/\xff", "/1/\xff"],
  ];
  for (const [path, internal] of cases) {
    const parsed = parse("GET", "", "", path);
    assert.equal(parsed.kind === "get" && parsed.path, internal);
  }
});

test("only a form of a PUT or POST has its body read", () => {
  const cases: readonly (readonly [MethodName, string, string])[] = [
    ["PUT", FORM, "b"],
    ["POST", `${FORM}; charset=utf-8`, "b"],
    ["PUT", FORM.toUpperCase(), "b"],
    ["PUT", "", ""],
    ["PUT", "text/plain", ""],
    ["PUT", "garbage", ""],
    ["PUT", "multipart/form-data; boundary=B", ""],
  ];
  for (const [name, contentType, value] of cases) {
    const parsed = parseKeysRequest(
      request(name, "", "value=b", contentType),
      "/v2/keys/a",
      NOW_MS,
    );
    assert.equal(parsed.kind === "write" && parsed.command.value, value, contentType);
  }
  assert.equal(command("DELETE", "", "prevValue=x").op, CommandOp.delete);
  assert.equal(outcome(parse("GET", "", "recursive=x&%zz")), "get");
});

test("a malformed Content-Type goes before errors of the form, a body too large before both", () => {
  const wrong = request("PUT", "a=%qq", "value=%zz", `${FORM}; a`);
  assert.equal(
    outcome(parseKeysRequest(wrong, "/v2/keys/a", NOW_MS)),
    "210 mime: invalid media parameter",
  );
  const large = { ...wrong, body: Buffer.alloc(0), isBodyTooLarge: true };
  assert.equal(outcome(parseKeysRequest(large, "/v2/keys/a", NOW_MS)), "210 http: POST too large");
  const text = { ...large, contentType: "text/plain" };
  assert.equal(
    outcome(parseKeysRequest({ ...text, query: "" }, "/v2/keys/a", NOW_MS)),
    "write",
    "nobody reads it, so it may be large",
  );
  const get = { ...wrong, method: Method.get, query: "" };
  assert.equal(outcome(parseKeysRequest(get, "/v2/keys/a", NOW_MS)), "get");
});

test("invalid values, as in etcd 3.4.23's responses, with any method", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["prevIndex=", '203 invalid value for "prevIndex"'],
    ["prevIndex=-1", '203 invalid value for "prevIndex"'],
    ["prevIndex=x&prevIndex=1", '203 invalid value for "prevIndex"'],
    ["waitIndex=0x1", '203 invalid value for "waitIndex"'],
    ["waitIndex=18446744073709551616", '203 invalid value for "waitIndex"'],
    ["recursive", '209 invalid value for "recursive"'],
    ["recursive=TrUe", '209 invalid value for "recursive"'],
    ["sorted=yes", '209 invalid value for "sorted"'],
    ["wait=", '209 invalid value for "wait"'],
    ["dir=2", '209 invalid value for "dir"'],
    ["quorum=tRUE", '209 invalid value for "quorum"'],
    ["stream=maybe", '209 invalid value for "stream"'],
    ["prevValue=", '201 "prevValue" cannot be empty'],
    ["noValueOnSuccess=", '209 invalid value for "noValueOnSuccess"'],
    ["ttl=x", '202 invalid value for "ttl"'],
    ["ttl=+1", '202 invalid value for "ttl"'],
    ["ttl=5%20", '202 invalid value for "ttl"'],
    ["ttl=1_0", '202 invalid value for "ttl"'],
    ["ttl=1.5", '202 invalid value for "ttl"'],
    ["ttl=18446744073709551616", '202 invalid value for "ttl"'],
    ["prevExist=", "209 invalid value for prevExist"],
    ["refresh=x", "209 invalid value for refresh"],
    ["refresh=true&value=x&ttl=5", "211 A value was provided on a refresh"],
    ["refresh=true&value=x", "211 A value was provided on a refresh"],
    ["refresh=true", "212 No TTL value set"],
    ["refresh=true&ttl=", "212 No TTL value set"],
    ["unknown=%zz", '210 invalid URL escape "%zz"'],
    ["a;b", "210 invalid semicolon separator in query"],
  ];
  for (const name of ["GET", "HEAD", "PUT", "POST", "DELETE"] as const) {
    for (const [query, shown] of cases) {
      assert.equal(outcome(parse(name, query)), shown, `${name} ?${query}`);
    }
  }
});

test("of several bad values the first in etcd's order is shown, wherever it stands", () => {
  const inOrder: readonly (readonly [string, string])[] = [
    ["prevIndex=x", '203 invalid value for "prevIndex"'],
    ["waitIndex=x", '203 invalid value for "waitIndex"'],
    ["recursive=x", '209 invalid value for "recursive"'],
    ["sorted=x", '209 invalid value for "sorted"'],
    ["wait=x", '209 invalid value for "wait"'],
    ["dir=x", '209 invalid value for "dir"'],
    ["quorum=x", '209 invalid value for "quorum"'],
    ["stream=x", '209 invalid value for "stream"'],
    ["prevValue=", '201 "prevValue" cannot be empty'],
    ["noValueOnSuccess=x", '209 invalid value for "noValueOnSuccess"'],
    ["ttl=x", '202 invalid value for "ttl"'],
    ["prevExist=x", "209 invalid value for prevExist"],
    ["refresh=x", "209 invalid value for refresh"],
  ];
  for (let first = 0; first < inOrder.length; first++) {
    const rest = inOrder.slice(first);
    const query = rest.map(([text]) => text).reverse();
    assert.equal(outcome(parse("GET", query.join("&"))), rest[0]?.[1]);
  }
  const wait = '209 "wait" can only be used with GET requests';
  assert.equal(outcome(parse("PUT", "prevValue=&wait=true")), wait);
  assert.equal(outcome(parse("PUT", "stream=x&wait=true")), '209 invalid value for "stream"');
});

test("GET reads, waits, or reads through the log; HEAD only reads", () => {
  const read = { kind: "get", path: "/1/a", isRecursive: false, isQuorum: false };
  const watch = { kind: "watch", path: "/1/a", isRecursive: false, isStream: false, waitIndex: 0 };
  assert.deepEqual(parse("GET", "quorum=false&recursive=false&sorted=false"), read);
  assert.deepEqual(parse("GET", "recursive=%74rue&sorted=1"), { ...read, isRecursive: true });
  assert.deepEqual(parse("GET", "quorum=T"), { ...read, isQuorum: true });
  assert.deepEqual(parse("GET", "wait=true&quorum=true"), { ...read, isQuorum: true });
  assert.deepEqual(parse("HEAD", "quorum=true"), read);
  assert.deepEqual(parse("GET", "recursive=false&wait=true&waitIndex=0"), watch);
  assert.deepEqual(parse("GET", "wait=1&stream=1&recursive=1&waitIndex=0012"), {
    ...watch,
    isRecursive: true,
    isStream: true,
    waitIndex: 12,
  });
  assert.equal(
    outcome(parse("HEAD", "wait=true")),
    '209 "wait" can only be used with GET requests',
  );
});

test("ttls count from now and wrap as 64-bit nanoseconds do", () => {
  const cases: readonly (readonly [string, number])[] = [
    ["", PERMANENT],
    ["0", NOW_MS],
    ["00000000000000000000000005", NOW_MS + 5000],
    ["1000000000", NOW_MS + 1e12],
  ];
  for (const [ttl, expirationMs] of cases) {
    assert.equal(command("PUT", `ttl=${ttl}`).expirationMs, expirationMs, ttl);
  }
  // 2^63 nanoseconds are 9223372036.85 seconds: beyond, the deadline is long past.
  assert.ok(command("PUT", "ttl=9223372036").expirationMs < 0);
  assert.equal(command("PUT", "ttl=18446744074").expirationMs, NOW_MS + 290);
  assert.equal(command("PUT", "ttl=18446744073709551615").expirationMs, NOW_MS - 1000);
});

test("a refresh has an effect on set, update and swap alone", () => {
  const isRefresh = (name: MethodName, query: string) => {
    return command(name, `refresh=true&ttl=5&${query}`).isRefresh;
  };
  assert.equal(isRefresh("PUT", ""), true);
  assert.equal(isRefresh("PUT", "prevExist=true"), true);
  assert.equal(isRefresh("PUT", "prevValue=x"), true);
  assert.equal(isRefresh("PUT", "prevExist=false"), false);
  assert.equal(isRefresh("POST", ""), false);
  assert.equal(command("PUT", "refresh=false").isRefresh, false);
});

test("other methods are not allowed", () => {
  for (const name of ["OPTIONS", "OTHER"] as const) {
    const parsed = parse(name, "recursive=x");
    assert.equal(parsed.kind, "answer");
    if (parsed.kind !== "answer") return;
    assert.equal(parsed.answer.head.status, 405);
    assert.equal(parsed.answer.head.allow, "HEAD,GET,PUT,POST,DELETE");
    assert.equal(parsed.answer.body.toString(), "Method Not Allowed\n");
  }
});

test("a key may be long, or have many levels, but not both", () => {
  const tooDeep = "209 the key is too long for its number of levels";
  const cases: readonly (readonly [string, string])[] = [
    ["/a".repeat(2000), "write"],
    [`/${"a".repeat(900_000)}`, "write"],
    [`${"/a".repeat(6)}${"a".repeat(900_000)}`, "write"],
    ["/a".repeat(2100), tooDeep],
    [`/${"a".repeat(900_000)}${"/a".repeat(10)}`, tooDeep],
    ["/a".repeat(450_000), tooDeep],
  ];
  for (const [key, wanted] of cases) {
    assert.equal(outcome(parse("PUT", "", "value=1", `/v2/keys${key}`)), wanted);
    assert.equal(outcome(parse("POST", "ttl=5", "dir=true", `/v2/keys${key}`)), wanted);
    assert.equal(outcome(parse("GET", "", "", `/v2/keys${key}`)), "get");
    assert.equal(outcome(parse("DELETE", "", "", `/v2/keys${key}`)), "write");
  }
});

test("any bytes are parsed or rejected, and commands hold bytes and finite numbers", () => {
  const prng = new Prng(SEED);
  const words = [
    ..."prevIndex waitIndex recursive sorted wait dir quorum stream prevValue".split(" "),
    ..."noValueOnSuccess ttl prevExist refresh value = = = & & & % ; + true 1 0 99999999999".split(
      " ",
    ),
    ..."\xff \x00 \n %00 %ff %e2%80%a8 18446744073709551615 __proto__ constructor".split(" "),
  ];
  const types = ["", FORM, FORM, FORM, `${FORM};`, `${FORM};\xff`, "multipart/form-data", "\x00"];
  const draw = () => {
    let text = "";
    for (let n = prng.below(10); n > 0; n--) text += words[prng.below(words.length)];
    return text;
  };
  for (let run = 0; run < 50_000; run++) {
    const name = METHODS[prng.below(METHODS.length)] as MethodName;
    const drawn = request(name, draw(), draw(), types[prng.below(types.length)]);
    const shown = `${name} ${JSON.stringify(drawn)}, SEED=${SEED}`;
    const parsed = parseKeysRequest(drawn, `/v2/keys/${draw()}`, NOW_MS);
    if (parsed.kind !== "write") continue;
    const { value, prevValue, path, expirationMs, prevIndex } = parsed.command;
    for (const bytes of [value, prevValue, path]) assert.doesNotMatch(bytes, /[^\0-\xff]/, shown);
    assert.ok(Number.isFinite(expirationMs) && prevIndex >= 0, shown);
  }
});
