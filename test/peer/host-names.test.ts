import assert from "node:assert/strict";
import { test } from "node:test";
import { TestHostNames } from "../support/host-names.js";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";
import { until } from "../support/until.js";

const SIZE = 3;

/** Members that know each other by names only; each can listen on an address of the test's choice. */
async function makeNamed() {
  const names = new TestHostNames();
  const ports = await freePorts(SIZE);
  const part = () => 1 + Math.floor(Math.random() * 250);
  const net = `127.${part()}.${part()}`;
  const urls = ports.map((port, i) => `http://n${i + 1}.ringd.test:${port}`);
  const cluster = urls.map((url, i) => `n${i + 1}=${url}`).join(",");
  const members: TestMember[] = [];
  for (const [i, url] of urls.entries()) {
    members.push(
      await TestMember.make("ringd", [
        ...["--name", `n${i + 1}`, "--initial-cluster", cluster],
        ...["--initial-advertise-peer-urls", url],
        ...["--heartbeat-interval", "50", "--election-timeout", "500"],
      ]),
    );
  }
  const launch = (i: number, host: number) => {
    process.env.NODE_OPTIONS = names.nodeOptions;
    try {
      const at = `http://${net}.${host}:${ports[i]}`;
      members[i]?.launch(["--listen-peer-urls", at]);
    } finally {
      delete process.env.NODE_OPTIONS;
    }
  };
  const name = (i: number, host: number) => names.set(`n${i + 1}.ringd.test`, `${net}.${host}`);
  const ask = async (i: number, method: string, path: string, form?: string) => {
    try {
      return await send((members[i] as TestMember).port, method, path, form);
    } catch {
      return undefined; // It does not listen yet.
    }
  };
  const isHealthy = (i: number) => async () => (await ask(i, "GET", "/health"))?.status === 200;
  const reads = (i: number, key: string) => async () => {
    return (await ask(i, "GET", `/v2/keys/${key}`))?.status === 200;
  };
  const close = async () => {
    await Promise.all(members.map((member) => member.destroy()));
    names.close();
  };
  return { ask, close, isHealthy, launch, members, name, reads };
}

test("a member whose name is unknown at first, and one that comes back with another address", async () => {
  const { ask, close, isHealthy, launch, members, name, reads } = await makeNamed();
  try {
    for (const i of [0, 1]) {
      name(i, i + 1);
      launch(i, i + 1);
    }
    for (const i of [0, 1]) await until("two of three serve", 30_000, isHealthy(i));
    assert.equal((await ask(0, "PUT", "/v2/keys/before", "value=1"))?.status, 201);
    await until("the unknown name is logged", 10_000, async () => {
      return /ENOTFOUND n3\.ringd\.test/.test((members[0]?.log ?? "") + (members[1]?.log ?? ""));
    });

    // Its name comes after it, as in DNS.
    launch(2, 3);
    name(2, 3);
    await until("the third serves", 30_000, isHealthy(2));
    await until("it has what was written before", 10_000, reads(2, "before"));

    // A pod that is moved: another address under the name, and nothing else changes.
    await members[2]?.end("SIGKILL");
    launch(2, 33);
    assert.equal((await ask(0, "PUT", "/v2/keys/moving", "value=1"))?.status, 201);
    name(2, 33);
    await until("it serves at its new address", 30_000, isHealthy(2));
    await until("it has what was written meanwhile", 10_000, reads(2, "moving"));

    // The others are moved, too, one after the other, so the third one dials anew as well.
    for (const i of [0, 1]) {
      await members[i]?.end("SIGTERM");
      launch(i, 41 + i);
      name(i, 41 + i);
      await until(`member ${i + 1} is back`, 30_000, isHealthy(i));
    }
    assert.equal((await ask(2, "PUT", "/v2/keys/after", "value=1"))?.status, 201);
    for (const i of [0, 1]) await until("all have it", 10_000, reads(i, "after"));
  } finally {
    await close();
  }
});
