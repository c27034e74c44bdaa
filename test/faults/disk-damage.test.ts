import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, test } from "node:test";
import { snapshotName } from "#ringd/snap/format.js";
import { crc32c } from "#ringd/storage/crc32c.js";
import { hasBegun } from "#ringd/wal/data-dir.js";
import { lastFile } from "../support/full-disk.js";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { freePorts } from "../support/ports.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";
import { until } from "../support/until.js";

/** Real starts on unusable or damaged data directories. FLIPS=n flips more bits. */
const flips = Number(process.env.FLIPS ?? 4);
const RINGD = new URL("../../bin/ringd.js", import.meta.url).pathname;
const START_MS = 30_000;
const KEYS = 150;

let root: string;
/** A directory with a log and a snapshot, as left by kill -9, and its content. */
let sound: string;
let content: string;
let clientPort: number;
let urls: string[];

before(async () => {
  root = mkdtempSync(join(tmpdir(), "ringd-damage-"));
  const [client = 0, peer = 0] = await freePorts(2);
  clientPort = client;
  urls = [
    ["--listen-client-urls", `http://127.0.0.1:${client}`],
    ["--advertise-client-urls", `http://127.0.0.1:${client}`],
    ["--listen-peer-urls", `http://127.0.0.1:${peer}`],
    ["--initial-advertise-peer-urls", `http://127.0.0.1:${peer}`],
    ["--initial-cluster", `default=http://127.0.0.1:${peer}`],
  ].flat();
  const member = await TestMember.create("ringd", ["--snapshot-count", "100"]);
  for (let n = 0; n < KEYS; n++) {
    await send(member.port, "PUT", `/v2/keys/k/${n}`, `value=${String(n).padEnd(300, "v")}`);
  }
  content = (await send(member.port, "GET", "/v2/keys/k?recursive=true")).body.toString();
  const snapDir = join(member.dataDir, "member", "snap");
  const hasSnapshot = () => readdirSync(snapDir).some((name) => name.endsWith(".snap"));
  await until("a snapshot is written", START_MS, hasSnapshot);
  await member.end("SIGKILL");
  sound = join(root, "sound");
  cpSync(member.dataDir, sound, { recursive: true });
  await member.destroy();
});

after(() => rmSync(root, { recursive: true }));

let copies = 0;

function copyOfSound(): string {
  const dir = join(root, `copy-${++copies}`);
  cpSync(sound, dir, { recursive: true });
  return dir;
}

const segmentOf = (dir: string) => lastFile(join(dir, "member", "wal"), ".wal");
const snapshotOf = (dir: string) => lastFile(join(dir, "member", "snap"), ".snap");

interface Outcome {
  /** Undefined: it serves. */
  readonly code: number | undefined;
  /** The lines for people: those that are not log records. */
  readonly said: readonly string[];
  readonly log: string;
  /** The response to GET of all keys, if it serves. */
  readonly content: string;
}

/** Starts a member, and ends it once it serves. */
async function start(dataDir: string): Promise<Outcome> {
  const child = spawn(process.execPath, [RINGD, ...urls, "--data-dir", dataDir]);
  let output = "";
  const isReady = () => output.includes("ready to serve client requests");
  const decided = new Promise<void>((resolve) => {
    const take = (text: Buffer) => {
      output += text;
      if (isReady()) resolve();
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.once("close", () => resolve());
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), START_MS);
  await decided;
  clearTimeout(timer);
  const found = isReady() ? await read() : "";
  await end(child);
  return {
    code: isReady() ? undefined : (child.exitCode ?? -1),
    said: output.split("\n").filter((line) => line !== "" && !line.startsWith("{")),
    log: output,
    content: found,
  };
}

/** Starts a member, and kills it once it has logged `said` and written its first record. */
async function untilMember(args: readonly string[], said: string): Promise<void> {
  const child = spawn(process.execPath, [RINGD, ...args]);
  let output = "";
  child.stdout.on("data", (text: Buffer) => {
    output += text;
  });
  child.stderr.on("data", (text: Buffer) => {
    output += text;
  });
  const exit = once(child, "exit");
  const isWritten = () => {
    const dir = join(args.at(-1) as string, "member", "wal");
    return existsSync(dir) && readdirSync(dir).some((name) => name.endsWith(".wal"));
  };
  const signal = AbortSignal.timeout(START_MS);
  while (!output.includes(said) || !isWritten() || !hasBegun(args.at(-1) as string)) {
    assert.ok(!signal.aborted && child.exitCode === null, output);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  child.kill("SIGKILL");
  await exit;
}

async function read(): Promise<string> {
  return (await send(clientPort, "GET", "/v2/keys/k?recursive=true")).body.toString();
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  await exit;
}

/** All files below a directory and their content, without the lock. */
function filesOf(dir: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.name === "lock") continue;
    const path = join(entry.path, entry.name);
    files.set(path, readFileSync(path, "latin1"));
  }
  return files;
}

/**
 * The start must fail with one line and exit code 1, and change nothing on disk.
 *
 * @param mayServe it may also serve, if it has all data
 * @returns the line; undefined if it serves
 */
async function assertRefused(
  dataDir: string,
  says: RegExp,
  mayServe = false,
): Promise<string | undefined> {
  const files = filesOf(dataDir);
  const outcome = await start(dataDir);
  if (mayServe && outcome.code === undefined) {
    assert.equal(outcome.content, content);
    return undefined;
  }
  assert.equal(outcome.code, 1, outcome.log);
  assert.equal(outcome.said.length, 1, outcome.log);
  const [line = ""] = outcome.said;
  assert.match(line, says);
  assert.deepEqual(filesOf(dataDir), files, "nothing was changed");
  return line;
}

function flipBit(path: string, bit: number): void {
  const bytes = readFileSync(path);
  const at = bit >>> 3;
  bytes[at] = (bytes[at] as number) ^ (1 << (bit & 7));
  writeFileSync(path, bytes);
}

test("the undamaged directory serves", async () => {
  const outcome = await start(copyOfSound());
  assert.equal(outcome.code, undefined, outcome.log);
  assert.equal(outcome.content, content);
});

test(`a flipped bit in a snapshot is rejected, SEED=${SEED}`, async () => {
  const prng = new Prng(SEED);
  const bytes = readFileSync(snapshotOf(sound)).length;
  for (let i = 0; i < flips; i++) {
    const dir = copyOfSound();
    const bit = prng.below(8 * bytes);
    flipBit(snapshotOf(dir), bit);
    const line = await assertRefused(dir, new RegExp(basename(snapshotOf(dir))));
    const at = Number(/ at byte (\d+) of /.exec(line ?? "")?.[1] ?? 0);
    assert.ok(at <= bit >>> 3, `bit ${bit}: ${line}`);
  }
});

/** Offset after the last nonzero byte of a segment. */
function usedBytes(path: string): number {
  const bytes = readFileSync(path);
  return bytes.findLastIndex((byte) => byte !== 0) + 1;
}

test(`a flipped bit in the log is rejected, SEED=${SEED}`, async () => {
  const prng = new Prng(SEED);
  const used = usedBytes(segmentOf(sound));
  let refused = 0;
  for (let i = 0; i < flips; i++) {
    const dir = copyOfSound();
    const bit = prng.below(8 * used);
    flipBit(segmentOf(dir), bit);
    // Up to 15 bytes of padding after a record have no meaning.
    const line = await assertRefused(dir, new RegExp(basename(segmentOf(dir))), true);
    if (line === undefined) continue;
    refused++;
    const at = Number(/ at byte (\d+) of /.exec(line)?.[1] ?? 0);
    assert.ok(at <= bit >>> 3, `bit ${bit}: ${line}`);
  }
  assert.ok(refused >= flips / 2, `${refused} of ${flips} were in use`);
});

test(`a flipped bit after the end of the log does no harm, SEED=${SEED}`, async () => {
  const prng = new Prng(SEED);
  const { length } = readFileSync(segmentOf(sound));
  const used = usedBytes(segmentOf(sound));
  assert.ok(length > used + 10_000, "space is taken ahead of the log's end");
  const dir = copyOfSound();
  // The next record's header would begin within 16 bytes, and is rejected if damaged.
  flipBit(segmentOf(dir), 8 * (used + 32 + prng.below(length - used - 32)));
  const outcome = await start(dir);
  assert.equal(outcome.code, undefined, outcome.log);
  assert.equal(outcome.content, content);
});

test("a log that ends in the middle of a record starts without it, with a warning", async () => {
  const dir = copyOfSound();
  const path = segmentOf(dir);
  truncateSync(path, (usedBytes(path) - 100) | 1); // No record ends on an odd byte.
  const outcome = await start(dir);
  assert.equal(outcome.code, undefined, outcome.log);
  assert.match(outcome.log, /truncated torn WAL tail/);
  const last = KEYS - 1;
  const expected = JSON.parse(content).node.nodes as { key: string }[];
  const found = JSON.parse(outcome.content).node.nodes as { key: string }[];
  // The last record may be the member's own: at most the last key is missing.
  assert.deepEqual(
    found.filter(({ key }) => key !== `/k/${last}`),
    expected.filter(({ key }) => key !== `/k/${last}`),
  );
  const again = await start(dir);
  assert.equal(again.content, outcome.content);
  assert.doesNotMatch(again.log, /truncated torn WAL tail/);
});

test("a first start that was interrupted in its first record is repeated", async () => {
  // Many initial members, so that the record is longer than a sector. They do not run, so it waits.
  const [own = ""] = urls.slice(-1);
  const others = Array.from({ length: 30 }, (_, i) => `o${i}=http://127.0.0.1:${i + 1}`).join();
  const args = [...urls.slice(0, -1), `${own},${others}`, "--data-dir", join(root, "torn")];
  const launch = (untilSaid: string) => untilMember(args, untilSaid);
  await launch("starting a new member");
  const path = segmentOf(join(root, "torn"));
  const bytes = readFileSync(path);
  assert.ok(bytes.findLastIndex((byte) => byte !== 0) > 1024, "the record has two sectors");
  writeFileSync(path, bytes.fill(0, 1024));
  await launch("starting a new member");
  assert.ok(readFileSync(path).findLastIndex((byte) => byte !== 0) > 1024);
});

test("a log of a later version of ringd is rejected", async () => {
  const dir = copyOfSound();
  const bytes = readFileSync(segmentOf(dir));
  bytes.writeUInt32LE(3, 8);
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 508), 0), 508);
  writeFileSync(segmentOf(dir), bytes);
  await assertRefused(
    dir,
    /was written by a newer ringd \(segment format 3\); this build reads up to 2; ringd \S+ reads it$/m,
  );
});

test("a snapshot of a later version of ringd is rejected", async () => {
  const dir = copyOfSound();
  const bytes = readFileSync(snapshotOf(dir));
  bytes.writeUInt32LE(3, 8);
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, 44), 0), 44);
  writeFileSync(snapshotOf(dir), bytes);
  await assertRefused(dir, /its format version is 3, which .* reads; this ringd reads up to 2/);
});

test("a snapshot under another's name is rejected", async () => {
  const dir = copyOfSound();
  renameSync(snapshotOf(dir), join(dir, "member", "snap", snapshotName({ term: 9, index: 5000 })));
  await assertRefused(dir, /file's name and header differ/);
});

test("a snapshot without the log is rejected", async () => {
  const dir = copyOfSound();
  rmSync(segmentOf(dir));
  await assertRefused(dir, /^Cannot use the log: .* has no log, but there is a snapshot at /);
});

test("etcd's data are rejected", async () => {
  const etcd = await TestMember.create("etcd");
  await send(etcd.port, "PUT", "/v2/keys/a", "value=1");
  await etcd.end("SIGTERM");
  const dir = join(root, "etcd");
  cpSync(etcd.dataDir, dir, { recursive: true });
  await etcd.destroy();
  await assertRefused(dir, /written by etcd/);
});

test("a directory that cannot be made or written is rejected", async () => {
  // Not writable even for root.
  for (const dir of ["/proc/ringd", "/proc/version", "/dev/null/ringd"]) {
    const outcome = await start(dir);
    assert.equal(outcome.code, 1, outcome.log);
    assert.equal(outcome.said.length, 1, outcome.log);
    assert.match(
      outcome.said[0] ?? "",
      new RegExp(`^Cannot use (data|log|snapshot) directory ${dir}.*: `),
    );
  }
});
