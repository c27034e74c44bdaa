import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import type { Config } from "#ringd/config/config.js";
import { readConfig } from "#ringd/config/config.js";
import { InboxType, OutboxType, readPeerId } from "#ringd/messages/peers.js";
import { createTopology, type WorkerInput, type WorkerMessage } from "#ringd/messages/topology.js";
import type { Message } from "#ringd/raft/message.js";
import { decodeMessage, encodeMessage } from "#ringd/raft/message-codec.js";
import { Bell } from "#ringd/ring/bell.js";
import { Inlet, Outlet } from "#ringd/ring/fragments.js";
import { RingReader, RingWriter } from "#ringd/ring/ring.js";
import { append, CLUSTER, reply, temporaryDirectory } from "./endpoint.js";

const PEER_THREAD = new URL("../../thread/peer.js", import.meta.url);

/** A real peer thread, with the test as its core. */
class PeerThread {
  readonly id: bigint;
  readonly url: string;
  readonly worker: Worker;
  readonly messages: Message[] = [];
  readonly ups: bigint[] = [];
  readonly #bell: Bell;
  readonly #outbox: Outlet;
  readonly #inbox: Inlet;

  constructor(id: bigint, url: string) {
    this.id = id;
    this.url = url;
    const config = configOf(url);
    const topology = createTopology(config);
    this.#bell = new Bell(topology.coreBell);
    const peerBell = new Bell(topology.peerBell);
    this.#outbox = new Outlet(new RingWriter(topology.outbox, peerBell));
    this.#inbox = Inlet.withCursor(new RingReader(topology.inbox, peerBell), (record) => {
      if (record.type === InboxType.message) {
        this.messages.push(decodeMessage(new Uint8Array(record.bytes(0))));
      } else if (record.type === InboxType.up) this.ups.push(readPeerId(record));
    });
    const input: WorkerInput = {
      config,
      plan: undefined,
      topology,
    };
    this.worker = new Worker(PEER_THREAD, { workerData: input });
    this.worker.postMessage({ memberId: id, clusterId: CLUSTER });
  }

  async started(): Promise<void> {
    const [message] = (await once(this.worker, "message")) as [WorkerMessage];
    assert.equal(message.kind, "ready");
  }

  get unsentBytes(): number {
    return this.#outbox.queuedBytes;
  }

  write(type: number, payload: Uint8Array): void {
    this.#outbox.open(payload.length);
    this.#outbox.bytes.set(payload, this.#outbox.at);
    this.#outbox.close(type, payload.length);
  }

  send(message: Message): void {
    this.write(OutboxType.message, encodeMessage(message));
    this.#outbox.publish();
  }

  setMembers(threads: readonly PeerThread[]): void {
    const members = threads.map(({ id, url }) => ({
      ...{ id: id.toString(16), name: "", peerUrls: [url], clientUrls: [] },
    }));
    const record = { members, removed: [], clusterVersion: "" };
    this.write(OutboxType.members, Buffer.from(JSON.stringify(record)));
    this.#outbox.publish();
  }

  /** Drains the inbox until the condition is true. */
  async until(isTrue: () => boolean): Promise<void> {
    const hasWork = () => this.#inbox.hasWork() || this.#outbox.canMove();
    for (;;) {
      this.#inbox.drain(100);
      this.#outbox.publish();
      if (isTrue()) return;
      await this.#bell.parkAsync(hasWork);
    }
  }

  async stop(): Promise<void> {
    this.write(OutboxType.stop, new Uint8Array(0));
    this.#outbox.publish();
    const [[message]] = await Promise.all([
      once(this.worker, "message") as Promise<[WorkerMessage]>,
      once(this.worker, "exit"),
    ]);
    assert.equal(message.kind, "stopped");
  }
}

function configOf(peerUrl: string): Config {
  const dataDir = temporaryDirectory();
  mkdirSync(join(dataDir, "member", "snap"), { recursive: true });
  const request = readConfig(
    [
      ...["--listen-peer-urls", peerUrl, "--initial-advertise-peer-urls", peerUrl],
      ...["--initial-cluster", `default=${peerUrl}`, "--log-level", "fatal"],
      // On busy cores a thread may be silent for so long that its stream, and messages, are given up.
      ...["--heartbeat-interval", "1000", "--election-timeout", "50000"],
      ...["--data-dir", dataDir],
    ],
    {},
  );
  assert.ok(request.kind === "run");
  return request.config;
}

async function freeUrl(): Promise<string> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  server.close();
  await once(server, "close");
  return `http://127.0.0.1:${address.port}`;
}

test("two peer threads deliver their cores' messages", {
  timeout: 60_000,
}, async () => {
  const one = new PeerThread(1n, await freeUrl());
  const two = new PeerThread(2n, await freeUrl());
  // A pending waitAsync does not keep the test's process alive; the workers do.
  await Promise.all([one.started(), two.started()]);
  for (const thread of [one, two]) thread.setMembers([one, two]);
  await one.until(() => one.ups.includes(2n));
  await two.until(() => two.ups.includes(1n));

  // More than the inbox ring holds, so that messages also wait for room.
  const data = new Uint8Array(3 * 1024 * 1024).fill(7);
  const sent: Message[] = [];
  for (let i = 1; i <= 8; i++) sent.push(append(1n, 2n, i, data), reply(1n, 2n, i));
  for (const message of sent) one.send(message);
  await Promise.all([
    one.until(() => one.unsentBytes === 0),
    two.until(() => two.messages.length === sent.length),
  ]);
  assert.deepEqual(two.messages, sent);
  for (let i = 1; i <= 5000; i++) two.send(reply(2n, 1n, i));
  await two.until(() => two.unsentBytes === 0);
  await one.until(() => one.messages.length === 5000);
  assert.deepEqual(one.messages.at(-1), reply(2n, 1n, 5000));
  await Promise.all([one.stop(), two.stop()]);
});

test("a peer URL in use fails with the reason", { timeout: 60_000 }, async () => {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const thread = new PeerThread(1n, `http://127.0.0.1:${address.port}`);
  const [[message]] = await Promise.all([
    once(thread.worker, "message") as Promise<[WorkerMessage]>,
    once(thread.worker, "exit"), // It may come in the same turn as the message.
  ]);
  assert.ok(message.kind === "failed");
  assert.match(
    message.message,
    /Cannot listen for peers on http:\/\/127\.0\.0\.1:\d+: .*EADDRINUSE/,
  );
  server.close();
});
