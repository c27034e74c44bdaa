import assert from "node:assert/strict";
import { fork, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { NetworkLab } from "../support/network-lab.js";
import { until } from "../support/until.js";
import { LINK_FAULTS, type LinkFault, runLinkFault } from "./lib/links.js";

const RINGD = new URL("../../bin/ringd.js", import.meta.url).pathname;
const LAB = new URL("../support/network-lab.js", import.meta.url).pathname;
const skip = NetworkLab.unavailable() ?? false;

/** `npm run faults -- links` is the long form. */
async function run(t: TestContext, fault: LinkFault | undefined, seconds: number) {
  assert.ok(fault !== undefined);
  const command = [process.execPath, RINGD];
  const result = await runLinkFault({
    command,
    fault,
    seconds,
    settleMs: 3000,
    size: 3,
    flags: [],
  });
  t.diagnostic(JSON.stringify(result));
  return result;
}

test("on flapping links no write is lost", {
  skip,
}, async (t) => {
  const result = await run(t, LINK_FAULTS["flap-all"], 8);
  assert.ok(result.failed <= 2, "what a stream lost is sent again");
  assert.ok(result.acknowledged > 0);
});

test("after a leader that could send but not receive, all members recover", { skip }, async (t) => {
  const result = await run(t, LINK_FAULTS["deaf-leader"], 6);
  assert.ok(result.failed <= 2, "what the old leader took is proposed anew");
  assert.ok(result.acknowledged > 0);
});

test("a lab is taken down when its process is killed", { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "ringd-lab-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const script = join(folder, "lab.mjs");
  writeFileSync(
    script,
    `import { NetworkLab } from ${JSON.stringify(LAB)};
    const lab = NetworkLab.create(["a", "b"]);
    lab.run(0, "sleep", ["1000"], "/dev/null");
    process.send(lab.hosts.map(({ namespace }) => namespace));
    setInterval(() => undefined, 1000);`,
  );
  const child = fork(script);
  const [namespaces] = (await once(child, "message")) as [string[]];
  const there = () => spawnSync("ip", ["netns"], { encoding: "utf8" }).stdout;
  for (const name of namespaces) assert.ok(there().includes(name));
  child.kill("SIGKILL");
  await until("the lab is gone", 10_000, () => !namespaces.some((name) => there().includes(name)));
});
