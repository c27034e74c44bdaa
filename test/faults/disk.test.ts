import assert from "node:assert/strict";
import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { bytesOf, lastFile, limitFileBytes, SmallDisk } from "../support/full-disk.js";
import { type RawAnswer, send } from "../support/http.js";
import { losePages, readLost } from "../support/lost-pages.js";
import { TestMember } from "../support/member.js";
import { until } from "../support/until.js";

/** Real members on disks that are full or fail. */

const VALUE_BYTES = 4000;
const WRITERS = 4;
/** Longer than the timeout of a write that waits for the disk. */
const PATIENCE_MS = 30_000;

/** The writes and their outcomes as acknowledged, to check the member against. */
class Ledger {
  readonly #acknowledged = new Map<string, string>();
  readonly #attempted = new Map<string, string>();
  #count = 0;
  #highest = 0;

  /** Writes a new key. */
  async write(member: TestMember): Promise<RawAnswer> {
    const key = `/k/${++this.#count}`;
    const value = `${this.#count}`.padEnd(VALUE_BYTES, "v");
    this.#attempted.set(key, value);
    const answer = await send(member.port, "PUT", `/v2/keys${key}`, `value=${value}`);
    if (answer.status !== 201) return answer;
    const { node } = JSON.parse(answer.body.toString());
    this.#highest = Math.max(this.#highest, node.modifiedIndex);
    this.#acknowledged.set(key, value);
    return answer;
  }

  async writeMany(member: TestMember, count: number): Promise<void> {
    for (let n = 0; n < count; n++) assert.equal((await this.write(member)).status, 201);
  }

  /**
   * Checks that all acknowledged keys exist with their values, and no key that was never requested.
   */
  async check(member: TestMember): Promise<void> {
    const answer = await send(member.port, "GET", "/v2/keys/k?recursive=true");
    assert.equal(answer.status, 200);
    assert.ok(Number(answer.headers.get("x-etcd-index")) >= this.#highest);
    const { nodes } = JSON.parse(answer.body.toString()).node as {
      nodes: { key: string; value: string }[];
    };
    const found = new Map(nodes.map(({ key, value }) => [key, value]));
    for (const [key, value] of this.#acknowledged) assert.equal(found.get(key), value, key);
    for (const [key, value] of found) assert.equal(value, this.#attempted.get(key), key);
  }
}

function refusalOf({ status, body }: RawAnswer): string {
  assert.equal(status, 500, body.toString());
  const { errorCode, message, cause } = JSON.parse(body.toString());
  assert.equal(errorCode, 300);
  assert.equal(message, "Raft Internal Error");
  return cause;
}

/** Reads of every kind succeed; /health reports whether writes do. */
async function checkReads(member: TestMember, ledger: Ledger, isHealthy: boolean): Promise<void> {
  await ledger.check(member);
  for (const path of ["/v2/keys/k/1", "/v2/keys/k/1?quorum=true", "/metrics"]) {
    assert.equal((await send(member.port, "GET", path)).status, 200, path);
  }
  const health = await send(member.port, "GET", "/health");
  assert.equal(health.body.toString().trim(), `{"health":"${isHealthy}"}`);
  assert.equal(health.status, isHealthy ? 200 : 503);
}

interface Disk {
  /** Leaves room for a few writes only. */
  fill(member: TestMember): void;
  free(member: TestMember): void;
}

/** Writes until the disk is full, checks the responses, makes room, checks again. */
async function liveThroughFullDisk(member: TestMember, disk: Disk): Promise<void> {
  const ledger = new Ledger();
  await ledger.writeMany(member, 50);
  disk.fill(member);
  // The write that finds the disk full waits, as there may be space soon; later ones do not.
  const isFull = () => member.log.includes("the disk is full");
  const waiting = Promise.all(
    Array.from({ length: WRITERS }, async () => {
      for (;;) {
        const answer = await ledger.write(member);
        if (answer.status !== 201) return refusalOf(answer);
      }
    }),
  );
  waiting.catch(() => {}); // Checked below.
  await until("the disk to be full", PATIENCE_MS, isFull);
  await until("a refusal", PATIENCE_MS, async () => (await ledger.write(member)).status !== 201);
  assert.match(refusalOf(await ledger.write(member)), /^Cannot extend the log: (ENOSPC|EFBIG) on /);
  await checkReads(member, ledger, false);
  for (const why of await waiting) {
    assert.match(why, /^etcdserver: request timed out$|^Cannot extend the log: /);
  }
  disk.free(member);
  await until("writes", PATIENCE_MS, async () => (await ledger.write(member)).status === 201);
  assert.ok(member.log.includes("disk space available again"));
  await ledger.writeMany(member, 10);
  await checkReads(member, ledger, true);
  await member.end("SIGKILL");
  await member.start();
  await ledger.check(member);
  await ledger.writeMany(member, 1);
}

test("a log that may not grow: writes are rejected with the reason, reads continue, then it recovers", async () => {
  const member = await TestMember.create("ringd");
  try {
    const log = () => lastFile(join(member.dataDir, "member", "wal"), ".wal");
    await liveThroughFullDisk(member, {
      fill: ({ pid }) => limitFileBytes(pid, bytesOf(log()) + 100_000),
      free: ({ pid }) => limitFileBytes(pid, "unlimited"),
    });
  } finally {
    await member.destroy();
  }
});

/** On a small disk, if mounting is permitted; otherwise the test above must do. */
async function onSmallDisk(
  t: TestContext,
  body: (member: TestMember, disk: SmallDisk) => Promise<void>,
): Promise<void> {
  const disk = SmallDisk.mount(4);
  if (disk === undefined) {
    t.diagnostic("mounting is not permitted");
    return;
  }
  const member = await TestMember.create("ringd", ["--wal-dir", join(disk.dir, "wal")]);
  try {
    await body(member, disk);
  } finally {
    await member.destroy();
    disk.unmount();
  }
}

test("a full disk: writes are rejected with the reason, reads continue, then it recovers", (t) =>
  onSmallDisk(t, (member, disk) =>
    liveThroughFullDisk(member, {
      fill: () => disk.fill(),
      free: () => disk.free(),
    }),
  ));

test("a member stops on a full disk, and starts on it as soon as there is space", (t) =>
  onSmallDisk(t, async (member, disk) => {
    const ledger = new Ledger();
    await ledger.writeMany(member, 20);
    disk.fill();
    const waiting = (async () => {
      while ((await ledger.write(member)).status === 201);
    })();
    await until("the disk to be full", PATIENCE_MS, () => member.log.includes("the disk is full"));
    assert.equal(await member.end("SIGTERM"), 0);
    await waiting.catch(() => {}); // The member has ended, perhaps without a response.
    const child = member.launch();
    // The few entries of a start may fit in place of the torn one; else it waits for space.
    await until("the start, or the wait for space", PATIENCE_MS, () =>
      /the disk is full|ready to serve client requests/.test(member.log),
    );
    assert.equal(child.exitCode, null, "it goes on or waits");
    disk.free();
    await until("the start", PATIENCE_MS, () =>
      member.log.includes("ready to serve client requests"),
    );
    await ledger.check(member);
    await ledger.writeMany(member, 5);
  }));

/** A member whose calls on files fail as ordered; see support/failing-calls.ts. */
async function withFailingCalls(
  flags: readonly string[],
  body: (
    member: TestMember,
    order: (failing: string | undefined) => void,
    orders: string,
  ) => Promise<void>,
): Promise<void> {
  const preload = new URL("../support/failing-calls.js", import.meta.url).pathname;
  const orders = join(mkdtempSync(join(tmpdir(), "ringd-orders-")), "orders");
  process.env.FAILING_CALLS = orders;
  process.env.NODE_OPTIONS = `--import ${preload}`;
  const member = await TestMember.create("ringd", flags);
  try {
    const order = (failing: string | undefined) => {
      if (failing === undefined) rmSync(orders);
      else writeFileSync(orders, failing);
    };
    await body(member, order, orders);
  } finally {
    delete process.env.NODE_OPTIONS;
    delete process.env.FAILING_CALLS;
    await member.destroy();
    rmSync(join(orders, ".."), { recursive: true });
  }
}

for (const call of ["fdatasyncSync", "writeSync"]) {
  test(`${call} of the log fails: writes are rejected until a restart, reads continue`, () =>
    withFailingCalls([], async (member, order) => {
      const ledger = new Ledger();
      await ledger.writeMany(member, 20);
      order(`${call} .wal EIO`);
      const why = /^Cannot write the log: EIO on .*\. Restart the member once the disk is sound$/;
      assert.match(refusalOf(await ledger.write(member)), why);
      order(undefined);
      // The disk may work again, but what it has lost is unknown.
      assert.match(refusalOf(await ledger.write(member)), why);
      await checkReads(member, ledger, false);
      assert.ok(member.log.includes("WAL write failed"));
      assert.equal(await member.end("SIGTERM"), 0);
      await member.start();
      await ledger.check(member);
      await ledger.writeMany(member, 5);
    }));
}

test("a snapshot that cannot be written is aborted; the member continues and retries", () =>
  withFailingCalls(["--snapshot-count", "30"], async (member, order) => {
    const ledger = new Ledger();
    order("writeSync .snap ENOSPC");
    await ledger.writeMany(member, 40);
    await until("the failure", PATIENCE_MS, () => member.log.includes("cannot save snapshot"));
    await checkReads(member, ledger, true);
    order(undefined);
    await ledger.writeMany(member, 40);
    await until("a snapshot", PATIENCE_MS, () => member.log.includes("saved snapshot"));
    await member.end("SIGKILL");
    await member.start();
    await ledger.check(member);
  }));

test("an fsync fails once, a restart, then a power cut: all acknowledged writes survive", () =>
  withFailingCalls([], async (member, order, orders) => {
    const ledger = new Ledger();
    await ledger.writeMany(member, 20);
    order("fdatasyncSync .wal EIO");
    refusalOf(await ledger.write(member));
    order(undefined);
    await member.end("SIGKILL");
    assert.ok(readLost(orders).length > 0, "the disk lacks what was written");
    await member.start();
    await ledger.writeMany(member, 30);
    await member.end("SIGKILL");
    losePages(orders);
    await member.start();
    assert.doesNotMatch(member.log, /truncated torn WAL tail/);
    await ledger.check(member);
    await ledger.writeMany(member, 5);
  }));

test("a snapshot that fails, not for lack of space, ends writes; reads continue", () =>
  withFailingCalls(["--snapshot-count", "30"], async (member, order) => {
    const ledger = new Ledger();
    order("fdatasyncSync .snap EIO");
    await until("a refusal", PATIENCE_MS, async () => (await ledger.write(member)).status !== 201);
    assert.match(refusalOf(await ledger.write(member)), /a snapshot could not be saved/);
    assert.equal(member.log.split("WAL write failed").length, 2, "one fatal line");
    await checkReads(member, ledger, false);
    order(undefined);
    assert.equal(await member.end("SIGTERM"), 0);
    await member.start();
    await ledger.check(member);
    await ledger.writeMany(member, 40);
    await until("a snapshot", PATIENCE_MS, () => member.log.includes("saved snapshot"));
  }));

/** Losses of a running member's files, and the error of the next start, if any. */
const LOSSES: readonly {
  readonly what: string;
  readonly lose: (dataDir: string) => void;
  readonly refusal: RegExp | undefined;
}[] = [
  {
    what: "member/ is removed",
    lose: (dir) => rmSync(join(dir, "member"), { recursive: true }),
    refusal:
      /member [0-9a-f]+ was started here before, and its log is missing from \S+member\/wal\. /,
  },
  {
    what: "the data directory is emptied",
    lose: (dir) => {
      for (const name of ["member", "lock", "identity"])
        rmSync(join(dir, name), { recursive: true, force: true });
    },
    refusal: undefined, // Nothing shows that there ever was data.
  },
  {
    what: "the data directory is moved away",
    lose: (dir) => renameSync(dir, `${dir}-moved`),
    refusal: undefined,
  },
  {
    what: "the snapshots' directory is removed",
    lose: (dir) => rmSync(join(dir, "member", "snap"), { recursive: true }),
    refusal: /there is a log in \S+, but its snapshot directory \S+snap is missing/,
  },
  {
    what: "the lock's file is removed",
    lose: (dir) => rmSync(join(dir, "lock")),
    refusal: undefined,
  },
];

for (const { what, lose, refusal } of LOSSES) {
  test(`${what}: an idle member detects it, rejects writes until a restart, and serves reads`, async () => {
    const member = await TestMember.create("ringd");
    try {
      const ledger = new Ledger();
      await ledger.writeMany(member, 20);
      lose(member.dataDir);
      await until("the member to notice", PATIENCE_MS, () =>
        member.log.includes("WAL write failed"),
      );
      const why = refusalOf(await ledger.write(member));
      assert.match(why, /^Cannot write the log: \S+ (is gone|was removed)\. Restart the member /);
      assert.equal(member.log.split("WAL write failed").length, 2, "one fatal line");
      await checkReads(member, ledger, false);
      assert.equal(await member.end("SIGTERM"), 0);
      if (refusal === undefined) return;
      member.launch();
      assert.equal(await member.untilExit(), 1);
      assert.match(member.log, refusal);
      assert.equal(existsSync(join(member.dataDir, "lock.holder")), false);
    } finally {
      await member.destroy();
    }
  });
}

for (const lost of ["the log", "the rest"] as const) {
  test(`with --wal-dir: a start that finds ${lost} missing is rejected, and writes nothing`, async () => {
    const root = mkdtempSync(join(tmpdir(), "ringd-apart-"));
    const walDir = join(root, "wal");
    const member = await TestMember.create("ringd", ["--wal-dir", walDir]);
    try {
      await new Ledger().writeMany(member, 5);
      await member.end("SIGTERM");
      const gone = lost === "the log" ? walDir : member.dataDir;
      rmSync(gone, { recursive: true });
      member.launch();
      assert.equal(await member.untilExit(), 1);
      const lines = member.log.split("\n").filter((line) => line !== "" && !line.startsWith("{"));
      assert.equal(lines.length, 1, member.log);
      assert.match(
        member.log,
        lost === "the log" ? /its log is missing from/ : /there is a log in/,
      );
      assert.equal(existsSync(gone), false, "nothing was made");
    } finally {
      await member.destroy();
      rmSync(root, { recursive: true, force: true });
    }
  });
}
