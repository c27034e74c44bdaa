import assert from "node:assert/strict";
import { test } from "node:test";
import { untilOwnWritesDone } from "../compat/own-writes.js";
import { etcdctl } from "../ctl/run.js";
import { hasEtcd } from "../discovery/founders.js";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { until } from "../support/until.js";
import { destroyProxied, makeProxied } from "./proxied.js";

const COMMANDS = `
set /a 1
get /a
get --quorum /a
-o extended get /a
-o json get /a
get /none
mk /a 2
mk --in-order /q j
mkdir /d
mkdir /d
update /a 5
update /none 5
set --swap-with-value 5 /a 6
set --swap-with-value 5 /a 7
ls --sort --recursive -p /
rm --with-value 7 /a
rm /a
rmdir /d
rm --recursive /none
watch --after-index 4 /a
-o json watch --after-index 4 --recursive /
set --ttl 100 /ключ значение
get /ключ
`;

async function outcomes(url: string): Promise<string[]> {
  await untilOwnWritesDone(url);
  const all: string[] = [];
  for (const command of COMMANDS.trim().split("\n")) {
    // Otherwise it would go on with the members' own URLs.
    const { code, out, err } = await etcdctl([
      "--endpoints",
      url,
      "--no-sync",
      ...command.split(" "),
    ]);
    const text = `${command}: ${code}\n${out}${err}`.replaceAll(url, "URL");
    all.push(text.replace(/"expiration":"[^"]*"/g, '"expiration":"T"'));
  }
  return all;
}

test("etcdctl's commands print through a proxy what they print without", async () => {
  const proxied = await makeProxied(1);
  const alone = await TestMember.create("ringd");
  try {
    assert.deepEqual(await outcomes(proxied.proxy.clientUrl), await outcomes(alone.clientUrl));
  } finally {
    await alone.destroy();
    await destroyProxied(proxied);
  }
});

test("through etcd's own proxy, members are killed one by one likewise", {
  skip: hasEtcd() ? false : "etcd is not installed",
}, async () => {
  const { members, proxy: ours } = await makeProxied(3);
  const cluster = members.map(({ peerUrl }, i) => `n${i + 1}=${peerUrl}`).join(",");
  const proxy = await TestMember.make("etcd", [
    ...["--proxy", "on", "--initial-cluster", cluster],
    ...["--proxy-failure-wait", "100", "--proxy-refresh-interval", "500"],
  ]);
  try {
    proxy.launch();
    const works = async () => {
      const answer = await send(proxy.port, "PUT", "/v2/keys/k", "value=1").catch(() => undefined);
      return answer?.status === 200 || answer?.status === 201;
    };
    await until(() => `etcd's proxy works: ${proxy.log}`, 20_000, works);
    for (const member of members) {
      await member.end("SIGKILL");
      await until("it goes on", 10_000, works);
      await member.start();
    }
    // It keeps the headers back until the event comes: write until it does.
    let seen = "";
    void send(proxy.port, "GET", "/v2/keys/k?wait=true").then(({ body }) => {
      seen = body.toString();
    });
    await until("the watch has seen a write", 10_000, async () => (await works()) && seen !== "");
    assert.match(seen, /"action":"set"/);
  } finally {
    await proxy.destroy();
    await destroyProxied({ members, proxy: ours });
  }
});
