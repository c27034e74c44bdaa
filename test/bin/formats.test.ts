import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { FORMAT_LEVEL } from "#ringd/cluster/format.js";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";

/**
 * Written by ringd 0.1.0: a data directory (without zeros at the end of files) with two snapshots
 * and a log of some sixty writes with TTLs, directories, queues and removals, and its responses.
 */
const FIXTURE = new URL("../../../test/bin/testdata/format-1.json.gz", import.meta.url).pathname;
const RINGD = new URL("../../bin/ringd.js", import.meta.url).pathname;

interface Fixture {
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly content: string }>>;
  readonly answers: Readonly<Record<string, { readonly status: number; readonly body: string }>>;
}

const fixture = JSON.parse(gunzipSync(readFileSync(FIXTURE)).toString()) as Fixture;

function unpack(dataDir: string): void {
  for (const [file, { bytes, content }] of Object.entries(fixture.files)) {
    const path = join(dataDir, file);
    const whole = Buffer.alloc(bytes);
    Buffer.from(content, "base64").copy(whole);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, whole);
  }
}

/** Masks values that depend on time, the start and this test's ports. */
function masked(body: string): string {
  return body
    .replace(/"ttl":\d+/g, '"ttl":0')
    .replace(/"clientURLs":\[[^\]]*\]/g, "")
    .replace(/"cause":"\/short","index":\d+/, "");
}

async function checkAnswers(member: TestMember): Promise<void> {
  for (const [path, { status, body }] of Object.entries(fixture.answers)) {
    const answer = await send(member.port, "GET", path);
    assert.equal(answer.status, status, path);
    assert.equal(masked(answer.body.toString()), masked(body), path);
  }
}

function digestOf(dir: string): string {
  const hash = createHash("sha1");
  for (const name of readdirSync(dir, { recursive: true, encoding: "utf8" }).sort()) {
    const path = join(dir, name);
    if (statSync(path).isFile() && !name.endsWith("lock"))
      hash.update(name).update(readFileSync(path));
  }
  return hash.digest("hex");
}

test("data of ringd 0.1.0 are read and continued in the newest format; 0.1.0 then names the version needed", async () => {
  const member = await TestMember.make("ringd", ["--snapshot-count", "10"]);
  try {
    unpack(member.dataDir);
    await member.start();
    await checkAnswers(member);
    for (let n = 0; n < 25; n++) await send(member.port, "PUT", "/v2/keys/new", `value=${n}`);
    await member.restart();
    await checkOnlyNewChanged(member);
    assert.equal(await member.end("SIGTERM"), 0);
    const before = digestOf(member.dataDir);
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [RINGD, "--data-dir", member.dataDir],
      { encoding: "utf8", env: { ...process.env, RINGD_TEST_FORMAT_LEVEL: "1" }, timeout: 20_000 },
    );
    const lines = `${stdout}${stderr}`
      .split("\n")
      .filter((line) => line.includes(`format ${FORMAT_LEVEL}`));
    assert.equal(lines.length, 1, stdout + stderr);
    assert.match(lines[0] as string, /which ringd 0\.4\.0 or later reads; this ringd reads .* 1/);
    assert.equal(status, 1);
    assert.equal(digestOf(member.dataDir), before, "a start that is refused writes nothing");
  } finally {
    await member.destroy();
  }
});

async function checkOnlyNewChanged(member: TestMember): Promise<void> {
  const answer = await send(member.port, "GET", "/v2/keys/new");
  assert.match(answer.body.toString(), /"value":"24"/);
  const before = fixture.answers["/v2/keys/forever"]?.body ?? "";
  const forever = await send(member.port, "GET", "/v2/keys/forever");
  assert.equal(masked(forever.body.toString()), masked(before));
}
