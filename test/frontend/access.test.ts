import assert from "node:assert/strict";
import { test } from "node:test";
import {
  AddressLimit,
  addressOfBytes,
  addressOfText,
  connectionsByAddress,
} from "#ringd/frontend/addresses.js";
import { HostWhitelist, hostnameOf } from "#ringd/v2/host-whitelist.js";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";
import { until } from "../support/until.js";
import { KINDS, serve } from "./harness.js";
import { head, RawConnection } from "./raw.js";

/** Who may connect, for which host, and with how much: flags on both frontends. */

const FLAGS = [
  "--host-whitelist=good.example,127.0.0.1,localhost",
  "--max-header-bytes=8192",
  "--max-body-bytes=4096",
  "--max-key-bytes=40",
  "--max-key-levels=4",
  "--max-watches=2",
  "--max-connections=40",
  "--max-connections-per-address=10",
];

/** As recorded from etcd 3.4.23. */
const MISDIRECTED = (host: string) => `
etcd received your request, but the Host header was unrecognized.

To fix this, choose one of the following options:
- Enable TLS, then any HTTPS request will be allowed.
- Add the hostname you want to use to the whitelist in settings.
  - e.g. etcd --host-whitelist ${host}

This requirement has been added to help prevent "DNS Rebinding" attacks (CVE-2018-5702).

`;

test("the host of a Host header is that of Go's net.SplitHostPort", () => {
  for (const [header, host] of [
    ["a", "a"],
    ["a:80", "a"],
    ["a:", "a"],
    [":80", ""],
    ["", ""],
    ["A.example:80", "A.example"],
    ["[::1]:80", "::1"],
    ["[::1]", "[::1]"],
    ["::1", "::1"],
    ["a:b:80", "a:b:80"],
    ["[a", "[a"],
    ["[a]b:80", "[a]b:80"],
    ["a]:80", "a]:80"],
    ["[[a]:80", "[[a]:80"],
  ] as const) {
    assert.equal(hostnameOf(header), host, header);
  }
  assert.equal(HostWhitelist.of(["a", "*"]), undefined);
  assert.equal(HostWhitelist.of([]), undefined);
});

test("addresses are equal in all notations; IPv6 counts by /64", () => {
  const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex")).buffer;
  assert.equal(addressOfText("127.0.0.1"), addressOfBytes(bytes("7f000001")));
  assert.equal(addressOfText("::ffff:127.0.0.1"), addressOfText("127.0.0.1"));
  assert.equal(
    addressOfBytes(bytes("00000000000000000000ffff7f000001")),
    addressOfText("127.0.0.1"),
  );
  const one = addressOfBytes(bytes("20010db8000000010000000000000001"));
  assert.equal(addressOfText("2001:db8:0:1::2%eth0"), one);
  assert.equal(addressOfText("2001:db8:0:1:2:3:4:5"), one);
  assert.notEqual(addressOfText("2001:db8:0:2::1"), one);
  assert.notEqual(addressOfText("::1"), "");
  assert.equal(addressOfText(undefined), "");
  assert.equal(addressOfBytes(new ArrayBuffer(0)), "");
});

test("an address at its limit is counted by the kernel, not too often", () => {
  let monoMs = 0;
  let samples = 0;
  let open = 0;
  const sample = () => {
    samples++;
    return new Map([["a", open]]);
  };
  const all = () => Number.POSITIVE_INFINITY;
  const limit = new AddressLimit(3, sample, all, () => monoMs);
  const admits = () => {
    open++;
    const isAdmitted = limit.admits("a");
    if (!isAdmitted) open--;
    return isAdmitted;
  };
  assert.deepEqual([admits(), admits(), admits(), admits()], [true, true, true, false]);
  assert.ok(limit.admits("b") && limit.admits(""));
  assert.equal(samples, 1);
  open = 1;
  assert.ok(!admits(), "not asked again yet");
  monoMs = 20;
  assert.deepEqual([admits(), admits(), admits()], [true, true, false]);
  assert.equal(samples, 2);
  const few = new AddressLimit(3, sample, () => 3);
  for (let n = 0; n < 10; n++) assert.ok(few.admits("a"), "so few are open that none is above");
});

for (const kind of KINDS) {
  test(`${kind}: the kernel's tables tell who is connected`, async () => {
    const { frontend, port, connections } = await serve(kind);
    const clients = [await RawConnection.open(port), await RawConnection.open(port)];
    await until("both are open", 5000, () => connections.open === 2);
    assert.deepEqual([...connectionsByAddress(new Set([port]))], [[addressOfText("127.0.0.1"), 2]]);
    for (const client of clients) client.close();
    frontend.stopListening();
    frontend.close();
  });
}

async function metric(port: number, name: string): Promise<number> {
  const { body } = await send(port, "GET", "/metrics");
  const values = body.toString().matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\d+)$`, "gm"));
  return [...values].reduce((sum, [, value]) => sum + Number(value), 0);
}

/** A request on a connection of its own. @returns status and whether the connection lives on */
async function ask(port: number, text: string): Promise<string> {
  const connection = await RawConnection.open(port, text);
  await connection.until(/^HTTP\/1\.1 \d/);
  const [, status = ""] = /^HTTP\/1\.1 (\d+)/.exec(connection.text) ?? [];
  connection.close();
  return status;
}

test("both frontends keep hosts, sizes, watches and connections to their flags", async (t) => {
  const [nodePort] = (await freePorts(1)) as [number];
  const member = await TestMember.make("ringd");
  const nodeUrl = `http://127.0.0.1:${nodePort}`;
  await member.start([
    ...FLAGS,
    ...["--frontend", `uws,${nodeUrl}=node`],
    ...["--listen-client-urls", `${member.clientUrl},${nodeUrl}`],
  ]);
  t.after(() => member.destroy());
  for (const [kind, port] of [
    ["uws", member.port],
    ["node", nodePort],
  ] as const) {
    const put = (path: string, body: string, ...more: string[]) =>
      ask(port, `${head("PUT", path, `Content-Length: ${body.length}`, ...more)}${body}`);
    const form = "Content-Type: application/x-www-form-urlencoded";

    await t.test(`${kind}: --host-whitelist`, async () => {
      const before = await metric(port, "ringd_frontend_misdirected_requests_total");
      const bad = (method: string) => `${method} /version HTTP/1.1\r\nHost: evil:80\r\n\r\n`;
      const connection = await RawConnection.open(port, bad("GET"));
      await connection.until(MISDIRECTED('"evil"'));
      assert.match(connection.text, /^HTTP\/1\.1 421 Misdirected Request\r\n/);
      assert.match(connection.text, /\r\nX-Content-Type-Options: nosniff\r\n/);
      assert.doesNotMatch(connection.text, /Access-Control/);
      connection.text = "";
      connection.send("GET /version HTTP/1.1\r\nHost: good.example:99\r\n\r\n");
      await connection.until("etcdserver");
      connection.text = "";
      connection.send("PUT /v2/keys/x HTTP/1.1\r\nHost: evil\r\nContent-Length: 7\r\n\r\nvalue=1");
      await connection.until(MISDIRECTED('"evil"'));
      connection.close();
      assert.equal(await ask(port, bad("OPTIONS")), "421");
      assert.equal((await send(port, "GET", "/v2/keys/x")).status, 404);
      const two = "GET /version HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil\r\n\r\n";
      assert.equal(await ask(port, two), "400");
      assert.equal(await metric(port, "ringd_frontend_misdirected_requests_total"), before + 3);
      assert.match(member.log, /rejecting HTTP request to prevent DNS rebinding attacks/);
    });

    await t.test(`${kind}: sizes`, async () => {
      const target = (bytes: number) => head("GET", `/v2/keys/${"a".repeat(bytes)}`);
      assert.equal(await ask(port, target(8000)), "404");
      const above = await RawConnection.open(port, target(13_000));
      assert.match(await above.untilClosed(), /^HTTP\/1\.1 431 /);
      assert.ok((await metric(port, "ringd_frontend_refused_heads_total")) >= 1);
      const value = (bytes: number) => `value=${"x".repeat(bytes - 6)}`;
      assert.match(await put("/v2/keys/v", value(4096), form), /^20[01]$/);
      assert.equal(await put("/v2/keys/v", value(4097), form), "400");
    });

    await t.test(`${kind}: keys`, async () => {
      const before = await metric(port, "ringd_limit_reached_total");
      assert.equal(await put(`/v2/keys/${kind}${"k".repeat(35)}`, ""), "201");
      assert.equal(
        await put(`/v2/keys/${kind}${"k".repeat(36)}`, ""),
        kind === "uws" ? "201" : "400",
      );
      assert.equal(await put(`/v2/keys/${kind}${"k".repeat(37)}`, ""), "400");
      assert.equal(await put(`/v2/keys/${kind}/2/3/4`, ""), "201");
      assert.equal(await put(`/v2/keys/${kind}/2/3/4/5`, ""), "400");
      const { status, body } = await send(port, "PUT", `/v2/keys/${kind}/2/3/4/5`, "value=1");
      assert.deepEqual(
        [status, JSON.parse(body.toString()).cause],
        [400, "the key has too many levels"],
      );
      assert.ok((await metric(port, "ringd_limit_reached_total")) >= before + 3);
    });

    await t.test(`${kind}: watches`, async () => {
      const watch = head("GET", "/v2/keys/w?wait=true");
      const open = [await RawConnection.open(port, watch), await RawConnection.open(port, watch)];
      for (const each of open) await each.until("HTTP/1.1 200 ");
      assert.equal(await ask(port, watch), "500");
      for (const each of open) each.close();
      const isFree = async () => (await metric(port, "etcd_debugging_store_watchers")) === 0;
      await until("both are gone", 5000, isFree);
    });

    await t.test(`${kind}: connections of one address`, async () => {
      const open = () => metric(port, "ringd_frontend_connections");
      await until("none is open", 5000, async () => (await open()) <= 1);
      const clients = await Promise.all(Array.from({ length: 10 }, () => RawConnection.open(port)));
      const above = await RawConnection.open(port);
      await above.untilClosed();
      for (const client of clients) {
        client.send(head("GET", "/version"));
        await client.until("200 OK");
        client.close();
      }
      const name = "ringd_frontend_refused_connections_of_address_total";
      const isAdmitted = async () => {
        try {
          return (await metric(port, name)) > 0;
        } catch {
          return false; // Not yet closed, or the kernel was asked just now.
        }
      };
      await until("others are admitted again", 5000, isAdmitted);
    });
  }
});

test("flags of limits are checked", async () => {
  for (const flag of ["--max-body-bytes=4095", "--max-header-bytes=1048577"]) {
    const member = await TestMember.make("ringd");
    const child = member.launch([flag]);
    const code = await new Promise((resolve) => child.once("exit", resolve));
    assert.notEqual(code, 0);
    assert.match(member.log, new RegExp(flag.slice(2).split("=")[0] ?? ""));
    assert.equal(member.log.trim().split("\n").length, 1, member.log);
    await member.destroy();
  }
});
