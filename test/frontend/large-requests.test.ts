import assert from "node:assert/strict";
import { test } from "node:test";
import { BODY_BYTES_MAX } from "#ringd/frontend/body-room.js";
import { LargeRequests, largeBytes } from "#ringd/frontend/large-requests.js";
import { answer, KINDS, serve } from "./harness.js";
import { RawConnection } from "./raw.js";

const BYTES = 2_000_000;
const BODY = Buffer.alloc(BYTES, "v");
const HEAD =
  "PUT /v2/keys/large HTTP/1.1\r\nHost: x\r\n" +
  "Content-Type: application/x-www-form-urlencoded\r\n";
const PUT = `${HEAD}Content-Length: ${BYTES}\r\n\r\n`;
const TOO_MANY = /^HTTP\/1\.1 500 [\s\S]*etcdserver: too many requests/;

for (const kind of KINDS) {
  test(`${kind}: large requests are read in turn, each after the responses to those before it`, async () => {
    const { frontend, gateway, port } = await serve(kind, { largeLimits: { bytesMax: 2 * BYTES } });
    const clients = await Promise.all(
      Array.from({ length: 6 }, async () => {
        const client = await RawConnection.open(port, PUT);
        client.send(BODY);
        return client;
      }),
    );
    const first = await gateway.next();
    await gateway.next();
    // Once this one has its response, all earlier input has been seen.
    const between = await RawConnection.open(port, "GET /between HTTP/1.1\r\nHost: x\r\n\r\n");
    answer(await gateway.next(), "{}");
    await between.until("{}");
    assert.equal(gateway.requests.length, 3, "there is room for two");
    answer(first, "{}");
    for (let n = 0; n < 4; n++) {
      const next = await gateway.next();
      assert.ok(next.body.equals(BODY));
      answer(next, "{}");
    }
    answer(gateway.requests[1] as (typeof gateway.requests)[0], "{}");
    await Promise.all(clients.map((client) => client.until("{}")));
    for (const client of [...clients, between]) client.close();
    frontend.stopListening();
    frontend.close();
  });

  test(`${kind}: a large request that waits too long, or finds no room to wait, is rejected`, async () => {
    const { frontend, gateway, port } = await serve(kind, {
      largeLimits: { bytesMax: BYTES, waitingBytesMax: BYTES, patienceMs: 300 },
    });
    const begin = async (head: string) => {
      const client = await RawConnection.open(port, head);
      client.send(BODY.subarray(0, 150_000));
      return client;
    };
    const carried = await RawConnection.open(port, PUT);
    carried.send(BODY);
    const request = await gateway.next();
    const waits = await begin(PUT);
    // One without a length counts as the longest allowed.
    const above = await RawConnection.open(port, `${HEAD}Transfer-Encoding: chunked\r\n\r\n`);
    above.send(Buffer.concat([Buffer.from("30d40\r\n"), BODY.subarray(0, 200_000)]));
    await Promise.all([above.until(TOO_MANY), waits.until(TOO_MANY)]);
    assert.equal(gateway.requests.length, 1);
    answer(request, "{}");
    await carried.until("{}");
    for (const client of [carried, waits, above]) client.close();
    const last = await RawConnection.open(port, PUT);
    last.send(BODY);
    answer(await gateway.next(), "{}");
    await last.until("{}");
    last.close();
    frontend.stopListening();
    frontend.close();
  });

  test(`${kind}: a large request whose client disconnects keeps its room until the core is done`, async () => {
    const { frontend, gateway, port } = await serve(kind, { largeLimits: { bytesMax: BYTES } });
    const leaves = await RawConnection.open(port, PUT);
    leaves.send(BODY);
    const left = await gateway.next();
    const waiting = await RawConnection.open(port, PUT);
    waiting.send(BODY);
    // For `node`, a half-closed client still waits for its response.
    leaves.socket.resetAndDestroy();
    await gateway.until(() => gateway.aborted.has(left.id), "an abort");
    assert.equal(gateway.requests.length, 1);
    answer(left, "{}");
    answer(await gateway.next(), "{}");
    await waiting.until("{}");
    waiting.close();
    frontend.stopListening();
    frontend.close();
  });
}

test("node: a client with Expect gets its 100 for a large body when admitted, or is rejected", async () => {
  const { frontend, gateway, port } = await serve("node", {
    largeLimits: { bytesMax: BYTES, waitingBytesMax: BYTES },
  });
  const ask = PUT.replace(/\r\n$/, "Expect: 100-continue\r\n\r\n");
  const first = await RawConnection.open(port, ask);
  await first.until("HTTP/1.1 100 Continue\r\n\r\n");
  first.send(BODY);
  const request = await gateway.next();
  const second = await RawConnection.open(port, ask);
  const above = await RawConnection.open(port, ask);
  assert.match(await above.untilClosed(), /^HTTP\/1\.1 500 [\s\S]*Connection: close\r\n/);
  assert.equal(second.text, "");
  answer(request, "{}");
  await second.until("HTTP/1.1 100 Continue\r\n\r\n");
  second.send(BODY);
  answer(await gateway.next(), "{}");
  await second.until("{}");
  for (const client of [first, second, above]) client.close();
  frontend.stopListening();
  frontend.close();
});

test("node: a body that lets another go first is still sent as its own request", async () => {
  const { frontend, gateway, port } = await serve("node", {
    largeLimits: { bytesMax: BODY_BYTES_MAX + 8 },
  });
  const put = (key: string) =>
    `PUT /v2/keys/${key} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n${key}${key}\r\n`;
  const first = await RawConnection.open(port, put("aa"));
  const second = await RawConnection.open(port, `${put("bb")}0\r\n\r\n`);
  const passing = await RawConnection.open(port, "GET /passing HTTP/1.1\r\nHost: x\r\n\r\n");
  await gateway.next(); // By now both are there.
  first.send("0\r\n\r\n");
  const requests = [await gateway.next(), await gateway.next()];
  const seen = requests.map(({ path, body }) => `${path} ${body}`).sort();
  assert.deepEqual(seen, ["/v2/keys/aa aaaa", "/v2/keys/bb bbbb"]);
  for (const each of [first, second, passing]) each.close();
  frontend.stopListening();
  frontend.close();
});

test("node: a client that stops in the middle of a large body gives its room to others", async () => {
  const { frontend, gateway, port } = await serve("node", { largeLimits: { bytesMax: 1 } });
  const stops = await RawConnection.open(port, `${PUT}half`);
  const waits = await RawConnection.open(port, PUT);
  waits.send(BODY);
  await stops.until(/^HTTP\/1\.1 408 /);
  answer(await gateway.next(), "{}");
  await waits.until("{}");
  for (const each of [stops, waits]) each.close();
  frontend.stopListening();
  frontend.close();
});

test("a large request that leaves the queue lets smaller ones after it go", () => {
  const requests = new LargeRequests({ bytesMax: 10, waitingBytesMax: 100, patienceMs: 60_000 });
  const proceeded: string[] = [];
  const enter = (name: string, bytes: number) =>
    requests.enter(bytes, { proceed: () => proceeded.push(name), refuse: () => undefined });
  const first = enter("first", 8);
  const large = enter("large", 9);
  const small = enter("small", 2);
  large?.leave();
  assert.deepEqual(proceeded, ["small"]);
  for (const each of [first, small]) each?.leave();
});

test("uws: a chunked body that arrives whole before its turn is served, and outlives its wait", async () => {
  const { frontend, gateway, port } = await serve("uws", {
    largeLimits: { bytesMax: BYTES, patienceMs: 300 },
  });
  const carried = await RawConnection.open(port, PUT);
  carried.send(BODY);
  const first = await gateway.next();
  // Two chunks: the library reports the first before the end, and the length is unknown.
  const chunked = `${HEAD}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n4\r\nhalf\r\n0\r\n\r\n`;
  const [stays, leaves] = [
    await RawConnection.open(port, chunked),
    await RawConnection.open(port, chunked),
  ];
  const requests = [await gateway.next(), await gateway.next()];
  for (const { body } of requests) assert.equal(body.toString(), "halfhalf");
  leaves.socket.resetAndDestroy();
  await gateway.until(() => gateway.aborted.size === 1, "the abort");
  // One that came later has waited too long: the timers of these two must have had no effect.
  const late = await RawConnection.open(port, PUT);
  late.send(BODY.subarray(0, 150_000));
  await late.until(TOO_MANY);
  for (const request of requests) answer(request, "{}");
  await stays.until("{}");
  answer(first, "{}");
  await carried.until("{}");
  // All room is free again.
  const last = await RawConnection.open(port, PUT);
  last.send(BODY);
  answer(await gateway.next(), "{}");
  await last.until("{}");
  for (const client of [carried, stays, late, last]) client.close();
  frontend.stopListening();
  frontend.close();
});

test("a client that disconnects while waiting frees its place for the next", () => {
  const large = new LargeRequests({ bytesMax: 10, waitingBytesMax: 100, patienceMs: 60_000 });
  const seen: number[] = [];
  const enter = (n: number) =>
    large.enter(8, { proceed: () => seen.push(n), refuse: () => assert.fail() });
  const [one, two, three] = [enter(1), enter(2), enter(3)];
  assert.deepEqual([one?.isWaiting, two?.isWaiting, three?.isWaiting], [false, true, true]);
  two?.leave();
  one?.leave();
  one?.leave();
  assert.deepEqual(seen, [3]);
  three?.leave();
  assert.equal(enter(4)?.isWaiting, false);
});

test("only large requests are counted, by their Content-Length", () => {
  assert.equal(largeBytes(99_999), 0);
  assert.equal(largeBytes(100_000), 100_000);
  assert.equal(largeBytes(99_999_999_999), 0, "nothing of it is kept");
  assert.equal(largeBytes(undefined), 10 * 1024 * 1024);
});
