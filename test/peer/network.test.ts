import assert from "node:assert/strict";
import { test } from "node:test";
import { QUEUED_BYTES_MAX } from "#ringd/peer/link.js";
import { append, connected, Endpoint, listenUrl, membersOf, reply, stopAll } from "./endpoint.js";

const MIB = 1024 * 1024;

test("three members get each other's messages, in the order they were sent", async () => {
  const endpoints = await connected(3);
  const rounds = 300;
  for (let i = 1; i <= rounds; i++) {
    for (const from of endpoints) {
      const others = endpoints.filter((to) => to !== from);
      from.send(...others.map((to) => reply(from.id, to.id, i)));
    }
  }
  for (const to of endpoints) {
    await to.until("all messages", () => to.messages.length === 2 * rounds);
    for (const from of endpoints) {
      if (from === to) continue;
      const expected = Array.from({ length: rounds }, (_, i) => reply(from.id, to.id, i + 1));
      assert.deepEqual(
        to.messages.filter((message) => message.from === from.id),
        expected,
      );
    }
  }
  await stopAll(endpoints);
});

test("a message of 20 MiB arrives unchanged, among small ones", async () => {
  const [one, two] = (await connected(2)) as [Endpoint, Endpoint];
  const data = Buffer.alloc(20 * MIB);
  for (let at = 0; at < data.length; at += 4)
    data.writeUInt32LE(Math.imul(at, 2654435761) >>> 0, at);
  const sent = [reply(1n, 2n, 1), append(1n, 2n, 7, new Uint8Array(data)), reply(1n, 2n, 2)];
  one.send(...sent);
  await two.until("all messages", () => two.messages.length === 3);
  assert.deepEqual(two.messages, sent);
  await stopAll([one, two]);
});

test("a restarted member is reconnected at once", async () => {
  const [one, two] = (await connected(2)) as [Endpoint, Endpoint];
  await two.stop();
  await one.until("down", () => one.count("down", 2n) === 1);
  one.send(reply(1n, 2n, 1)); // No listener: dropped.
  await one.untilLogged(/cannot reach peer/);

  const again = new Endpoint(2n);
  await again.network.listen(listenUrl(two.url));
  again.url = two.url;
  again.network.setMembers(membersOf([one, again]));
  await again.untilUp(1n);
  await one.untilUp(2n, 2);
  one.send(reply(1n, 2n, 2));
  again.send(reply(2n, 1n, 3));
  await again.until("message", () => again.messages.length > 0);
  await one.until("message", () => one.messages.length > 0);
  assert.deepEqual(again.messages, [reply(1n, 2n, 2)]);
  assert.deepEqual(one.messages, [reply(2n, 1n, 3)]);
  const complaints = one.logged.filter((line) => line.includes("ECONNREFUSED"));
  assert.ok(complaints.length <= 1, "the same trouble is told once");
  await stopAll([one, again]);
});

test("the second URL is tried if the first does not respond", async () => {
  const one = new Endpoint(1n);
  const two = new Endpoint(2n);
  await one.listen();
  await two.listen();
  const closed = new Endpoint(3n);
  await closed.listen();
  await closed.stop();
  const members = membersOf([one, two]);
  const [first, second] = members.members;
  assert.ok(first !== undefined && second !== undefined);
  one.network.setMembers({
    ...members,
    members: [first, { ...second, peerUrls: [closed.url, two.url] }],
  });
  two.network.setMembers(members);
  await one.untilUp(2n);
  await stopAll([one, two]);
});

test("a member that moved is dialled at its new URL", async () => {
  const [one, two] = (await connected(2)) as [Endpoint, Endpoint];
  await two.listen();
  one.network.setMembers(membersOf([one, two]));
  await one.untilUp(2n, 2);
  assert.ok(one.logged.at(-1)?.includes(two.url));
  one.send(reply(1n, 2n, 1));
  await two.until("message", () => two.messages.length === 1);
  await stopAll([one, two]);
});

test("a removed member is disconnected, and told the reason when it dials again", async () => {
  const endpoints = (await connected(3)) as [Endpoint, Endpoint, Endpoint];
  const [one, two, three] = endpoints;
  for (const endpoint of [one, two]) endpoint.network.setMembers(membersOf([one, two], [3n]));
  await one.until("down", () => one.count("down", 3n) === 1);
  await three.until("removed", () => three.count("removed") === 1);
  await three.untilLogged(/permanently removed/);
  one.send(reply(1n, 2n, 1));
  await two.until("message", () => two.messages.length === 1);
  assert.equal(two.count("down", 1n), 0);
  await stopAll(endpoints);
  assert.equal(three.count("removed"), 1);
});

test("a member of another cluster is rejected, and logs the reason", async () => {
  const one = new Endpoint(1n);
  const two = new Endpoint(2n, { identity: { memberId: 2n, clusterId: 0xbadn } });
  await one.listen();
  await two.listen();
  for (const endpoint of [one, two]) endpoint.network.setMembers(membersOf([one, two]));
  await one.untilLogged(/cluster ID mismatch/);
  await two.untilLogged(/peer rejected stream.*cluster ID mismatch/);
  assert.equal(one.count("up"), 0);
  assert.equal(two.count("up"), 0);
  await stopAll([one, two]);
});

test("a member can respond to a member that it does not know yet", async () => {
  const one = new Endpoint(1n);
  const two = new Endpoint(2n);
  await one.listen();
  await two.listen();
  one.network.setMembers(membersOf([one])); // It lags: "add 2" is in entries it does not have.
  two.network.setMembers(membersOf([one, two]));
  await two.untilUp(1n);
  await one.untilUp(2n);
  two.send(reply(2n, 1n, 1));
  await one.until("message", () => one.messages.length === 1);
  one.send(reply(1n, 2n, 2));
  await two.until("message", () => two.messages.length === 1);

  one.network.setMembers(membersOf([one, two]));
  await two.stop();
  await one.until("down", () => one.count("down", 2n) === 1);
  await stopAll([one]);
});

test("a peer that does not read costs no memory and delays no other peer", async () => {
  const [one, two, three] = (await connected(3)) as [Endpoint, Endpoint, Endpoint];
  two.queuedBytes = Number.MAX_SAFE_INTEGER; // Its core reads nothing, so it stops reading.
  const data = new Uint8Array(MIB);
  const megabytes = (2 * QUEUED_BYTES_MAX) / MIB;
  for (let i = 1; i <= megabytes; i++) one.send(append(1n, 2n, i, data));
  await one.until("overflow", () => one.count("overflow", 2n) === 1);
  for (let i = 1; i <= 100; i++) one.send(append(1n, 2n, i, data));
  assert.equal(one.count("overflow"), 1, "told once");

  one.send(reply(1n, 3n, 9));
  await three.until("message", () => three.messages.length === 1);

  two.queuedBytes = 0;
  two.network.inboxMoved();
  const kept = (QUEUED_BYTES_MAX - MIB) / MIB;
  await two.until("what was queued", () => two.messages.length >= kept);
  assert.ok(two.messages.length < megabytes, "what was above the limit is lost");
  assert.equal(one.count("down"), 0);
  await stopAll([one, two, three]);
});

test("members talk over unix sockets", async () => {
  const one = new Endpoint(1n);
  const two = new Endpoint(2n);
  for (const endpoint of [one, two]) {
    // The file is "host:port" in the working directory.
    endpoint.url = `unix://ringd-test-${process.pid}-${endpoint.id}:1`;
    await endpoint.network.listen(listenUrl(endpoint.url));
  }
  for (const endpoint of [one, two]) endpoint.network.setMembers(membersOf([one, two]));
  await one.untilUp(2n);
  one.send(reply(1n, 2n, 1));
  await two.until("message", () => two.messages.length === 1);
  await stopAll([one, two]);
});

test("messages sent before the stop still arrive", async () => {
  const [one, two] = (await connected(2)) as [Endpoint, Endpoint];
  one.send(append(1n, 2n, 1, new Uint8Array(5 * MIB)), reply(1n, 2n, 1));
  await one.stop();
  await two.until("messages", () => two.messages.length === 2);
  await stopAll([two]);
});
