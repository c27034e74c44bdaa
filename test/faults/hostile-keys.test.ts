import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { CommandOp, syncCommand } from "#ringd/store/command.js";
import { Store } from "#ringd/store/store.js";
import { ByteWriter } from "#ringd/v2/byte-writer.js";
import { Listing } from "#ringd/v2/listing.js";
import { head, RawConnection } from "../frontend/raw.js";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";

/** Keys and parameters meant to confuse or to overload. Outcomes are etcd 3.4.23's. */

/** SIBLINGS=1000000 takes some seconds, and 300 MB. */
const SIBLINGS = Number(process.env.SIBLINGS ?? 100_000);
/** The library's binary for Node.js 20 needs the first line in one piece: loopback's are 64 KB. */
const LEVELS = { uws: process.versions.node.startsWith("20.") ? 12_000 : 100_000, node: 100_000 };
/** On a machine that does other things, too. */
const QUICK_MS = 5000;

/** Target of a PUT with value=1, status, and the key, cause or location shown. */
const TRICKS: readonly (readonly [target: string, status: RegExp, shown?: string])[] = [
  ["/v2/keys/../members", /301/, "/v2/members"],
  ["/v2/keys/%2e%2e/members", /301/, "/v2/members"],
  ["/v2/keys/..%2f..%2fv2/members", /301/, "/v2/members"],
  ["/v2/keys/../../../../etc/passwd", /301/, "/etc/passwd"],
  ["/v2/keys/a/./b", /301/, "/v2/keys/a/b"],
  ["//v2/keys/a", /301/, "/v2/keys/a"],
  ["/v2/keys//a", /301/, "/v2/keys/a"],
  ["/v2/keysa", /404/],
  ["/v2/KEYS/a", /404/],
  ["/v2/keys/nul%00b", /20[01]/, "/nul\\u0000b"],
  ["/v2/keys/overlong%c0%af", /20[01]/, "/overlong\\ufffd\\ufffd"],
  ["/v2/keys/%c0%ae%c0%ae/members", /20[01]/, "/\\ufffd\\ufffd\\ufffd\\ufffd/members"],
  ["/v2/keys/surrogate%ed%a0%80", /20[01]/, "/surrogate\\ufffd\\ufffd\\ufffd"],
  ["/v2/keys/beyond%f5%80%80%80", /20[01]/, "/beyond\\ufffd\\ufffd\\ufffd\\ufffd"],
  ["/v2/keys/__proto__", /20[01]/, "/__proto__"],
  ["/v2/keys/__proto__/polluted", /400/, "/__proto__"],
  ["/v2/keys/constructor/prototype", /20[01]/, "/constructor/prototype"],
  ["/v2/keys/hasOwnProperty", /20[01]/, "/hasOwnProperty"],
  ["/v2/keys/a%2fb", /20[01]/, "/a/b"],
  ["/v2/keys/%25", /20[01]/, "/%"],
  ["/v2/keys/%", /400/],
  ["/v2/keys/%zz", /400/],
  ["/v2/keys/%0d%0aX-Evil:1", /20[01]/, "/\\r\\nX-Evil:1"],
  ["/v2/keys//%0d%0aX-Evil:1", /301/, "/v2/keys/%0D%0AX-Evil:1"],
  ["/v2/keys/%3c%3e%26", /20[01]/, "/\\u003c\\u003e\\u0026"],
  ["/v2/keys/...", /20[01]/, "/..."],
  ["/v2/keys/..a", /20[01]/, "/..a"],
  ["/v2/keys/b;c", /20[01]/, "/b;c"],
  ["/v2/keys/b%5c..%5cc", /20[01]/, "/b\\\\..\\\\c"],
  ["/v2/keys/p?__proto__=2&constructor=3", /20[01]/, "/p"],
  ["/v2/keys/p?prevExist=__proto__", /400/, "invalid value for prevExist"],
  ["/v2/keys/p?prevExist=constructor", /400/, "invalid value for prevExist"],
  ["/v2/keys/p?ttl=1e3", /400/, 'invalid value for \\"ttl\\"'],
  ["/v2/keys/p?ttl=-1", /400/, 'invalid value for \\"ttl\\"'],
  ["/v2/keys/p?ttl=99999999999999999999", /400/, 'invalid value for \\"ttl\\"'],
  [`/v2/keys/p?ttl=${"9".repeat(5000)}`, /400/, 'invalid value for \\"ttl\\"'],
  ["/v2/keys/p?prevIndex=18446744073709551616", /400/, 'invalid value for \\"prevIndex\\"'],
  ["/v2/keys/p?x=1;dir=true", /400/, "invalid semicolon separator in query"],
];

let member: TestMember;
let nodePort = 0;

before(async () => {
  [nodePort] = (await freePorts(1)) as [number];
  member = await TestMember.make("ringd");
  const nodeUrl = `http://127.0.0.1:${nodePort}`;
  await member.start([
    ...["--frontend", `uws,${nodeUrl}=node`],
    ...["--listen-client-urls", `${member.clientUrl},${nodeUrl}`],
  ]);
});
after(() => member.destroy());

/** @returns the response of a request on a connection of its own */
async function ask(port: number, method: string, target: string): Promise<string> {
  const more = method === "PUT" ? ["Content-Length: 0"] : [];
  const connection = await RawConnection.open(port, head(method, target, ...more));
  await connection.until(/^HTTP\/1\.1 \d[\s\S]*\r\n\r\n/, QUICK_MS);
  if (!connection.text.includes("Transfer-Encoding")) {
    await connection.until(/\r\n\r\n[\s\S]*\n$|\r\nContent-Length: 0\r\n|Bad Request$/, QUICK_MS);
  }
  connection.close();
  return connection.text;
}

for (const kind of ["uws", "node"] as const) {
  const portOf = () => (kind === "uws" ? member.port : nodePort);

  for (const [target, status, shown] of TRICKS) {
    test(`${kind}: PUT ${target.slice(0, 60)}`, async () => {
      const text = await ask(
        portOf(),
        "PUT",
        `${target}${target.includes("?") ? "&" : "?"}value=1`,
      );
      assert.match(text.slice("HTTP/1.1 ".length, 12), status);
      const [, found] =
        /"key":"((?:[^"\\]|\\.)*)"/.exec(text) ??
        /"cause":"((?:[^"\\]|\\.)*)"/.exec(text) ??
        /Location: ([^?\r]*)/.exec(text) ??
        [];
      if (shown !== undefined) assert.equal(found, shown);
      assert.doesNotMatch(text, /^X-Evil/m);
      assert.equal(({} as Record<string, unknown>).polluted, undefined);
    });
  }

  test(`${kind}: keys ${LEVELS[kind]} levels deep are rejected or missing, and delay nobody`, async () => {
    const levels = LEVELS[kind];
    const deep = `/v2/keys${"/a".repeat(levels)}`;
    const startMs = performance.now();
    for (const [method, target, status] of [
      ["PUT", `${deep}?value=1`, "400"],
      ["POST", `${deep}?value=1`, "400"],
      ["GET", deep, "404"],
      ["GET", `${deep}?quorum=true`, "404"],
      ["GET", `${deep}?recursive=true&sorted=true`, "404"],
      ["DELETE", `${deep}?recursive=true`, "404"],
      ["GET", `${deep}?wait=true`, "200"],
      ["PUT", `/v2/keys${"/.".repeat(levels)}?value=1`, "301"],
      ["PUT", `/v2/keys${"/a/..".repeat(levels)}/x?value=1`, "301"],
    ] as const) {
      const text = await ask(portOf(), method, target);
      assert.equal(text.slice("HTTP/1.1 ".length, 12), status, `${method} ${target.slice(0, 20)}`);
    }
    assert.ok(performance.now() - startMs < 2 * QUICK_MS);
    const longest = `/v2/keys${"/a".repeat(2000)}`;
    assert.match((await ask(portOf(), "PUT", `${longest}?value=1`)).slice(9, 12), /20[01]/);
    assert.match(await ask(portOf(), "GET", `${longest}?quorum=true`), /"value":"1"/);
    assert.equal((await send(portOf(), "DELETE", "/v2/keys/a?recursive=true")).status, 200);
  });
}

test(`${SIBLINGS} siblings cost each request as much as a few do`, () => {
  const store = new Store();
  const command = { ...syncCommand(0), op: CommandOp.set as CommandOp, value: "x" };
  for (let i = 0; i < SIBLINGS; i++) store.apply({ ...command, path: `/1/d/${i}` });
  const timed = (run: () => void) => {
    const startMs = performance.now();
    run();
    return performance.now() - startMs;
  };
  const ms = timed(() => {
    for (let n = 0; n < 1000; n++) {
      store.apply({ ...command, op: CommandOp.createInOrder, path: "/1/d" });
      store.read(`/1/d/${n}`);
    }
  });
  assert.ok(ms < 1000, `${ms} ms for 1000 of each`);
  const directory = store.get("/1/d");
  assert.ok(directory !== undefined);
  const listing = new Listing(directory, store.view().cursor(""), true, 0);
  const writer = new ByteWriter();
  let slices = 1;
  for (; !listing.next(writer, 65_536); slices++) {
    assert.ok(writer.length < 70_000, "a slice has a limit");
    writer.clear();
  }
  assert.ok(slices > (SIBLINGS * 60) / 65_536);
  store.apply({ ...command, op: CommandOp.delete, path: "/1/d", isRecursive: true });
  assert.equal(store.get("/1/d"), undefined);
  store.checkInvariants();
});
