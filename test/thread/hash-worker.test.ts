import assert from "node:assert/strict";
import { test } from "node:test";
import { hashSync } from "bcryptjs";
import { HashJobType, HashOutcomeType, writeHashJob } from "#ringd/messages/hashes.js";
import { Bell } from "#ringd/ring/bell.js";
import { Inlet, Outlet } from "#ringd/ring/fragments.js";
import { createRing, RingReader, RingWriter } from "#ringd/ring/ring.js";
import { HashLoop, runHashes } from "#ringd/thread/hash-worker.js";

/** Made by etcd 3.4.23, golang.org/x/crypto/bcrypt. */
const OF_GO = [
  ["p", "$2a$10$fHkm7Xh0ywIK9la6/p2aTebk5BueD99LitsN7Pn02qOLRDe89Q396"],
  ["a\u0000b", "$2a$10$LV2XpuPSh1uAGGAW3Q3b7uF0I7ERG85Iz9F0ZsX9EiG416Yr8FTou"],
  ["x".repeat(80), "$2a$10$r853vgFeJTE.qP7AZRClReb7k5cG1i5S/SpTmAfnSQAHIafa1zse."],
] as const;

function setUp() {
  const topology = {
    ...{ hashJobs: createRing(65_536), hashOutcomes: createRing(65_536) },
    ...{ hashBell: Bell.create(), coreBell: Bell.create() },
  };
  const bell = new Bell(topology.hashBell);
  const jobs = new Outlet(new RingWriter(topology.hashJobs, bell));
  const seen: (readonly [job: number, outcome: string | boolean])[] = [];
  const outcomes = Inlet.withCursor<HashOutcomeType>(
    new RingReader(topology.hashOutcomes, bell),
    (record) => {
      const isHash = record.type === HashOutcomeType.hashed;
      seen.push([record.u32(0), isHash ? record.text(4) : record.u32(4) === 1]);
    },
  );
  let job = 0;
  const latin1 = (password: string | Buffer) => Buffer.from(password as string).toString("latin1");
  return {
    hash: (password: string) =>
      writeHashJob(jobs, HashJobType.hash, { job: ++job, hash: "", password: latin1(password) }),
    compare: (hash: string, password: string | Buffer) =>
      writeHashJob(jobs, HashJobType.compare, { job: ++job, hash, password: latin1(password) }),
    run: (bcryptCost = 4) => {
      jobs.publish();
      runHashes({ topology, bcryptCost });
      outcomes.drain(Number.POSITIVE_INFINITY);
      return seen.splice(0);
    },
  };
}

test("hashes of etcd are compared, and only their password matches", () => {
  const { compare, run } = setUp();
  for (const [password, hash] of OF_GO) {
    compare(hash, password);
    compare(hash, `y${password}`);
  }
  assert.deepEqual(
    run().map(([, outcome]) => outcome),
    [true, false, true, false, true, false],
  );
});

test("hashes have Go's form, the cost that is set, and a salt of their own", () => {
  const { hash, compare, run } = setUp();
  hash("pä:ß");
  hash("pä:ß");
  const hashes = run(5).map(([, made]) => String(made));
  for (const made of hashes) assert.match(made, /^\$2[ab]\$05\$[./A-Za-z0-9]{53}$/);
  assert.equal(new Set(hashes).size, 2);
  for (const made of hashes) compare(made, "pä:ß");
  assert.deepEqual(run(), [
    [3, true],
    [4, true],
  ]);
});

test("bytes that are not UTF-8 and damaged hashes match nothing", () => {
  const { compare, run } = setUp();
  compare(hashSync("\ufffd", 4), Buffer.from([0xff]));
  compare(hashSync("\ufffd", 4), "\ufffd");
  compare("", "");
  compare("no hash", "p");
  compare("$2a$04$short", "p");
  assert.deepEqual(
    run().map(([, outcome]) => outcome),
    [false, true, false, false, false],
  );
});

test("a run does not end within a job, whose rest still waits for room", () => {
  const [bell, memory] = [new Bell(Bell.create()), createRing(65_536)];
  const outcomes = createRing(65_536);
  const jobs = new Outlet(new RingWriter(memory, bell));
  const loop = new HashLoop(new RingReader(memory, bell), new RingWriter(outcomes, bell), 4);
  const password = "x".repeat(14_000);
  for (let job = 1; job <= 6; job++) {
    writeHashJob(jobs, HashJobType.compare, { job, hash: "no hash", password });
  }
  jobs.publish();
  while (loop.turn());
  assert.notEqual(jobs.queuedBytes % (8 + "no hash".length + password.length), 0, "in parts");
  assert.ok(!loop.isDone);
  jobs.publish();
  while (loop.turn());
  assert.ok(loop.isDone);
  let answered = 0;
  Inlet.withCursor(new RingReader(outcomes, bell), () => answered++).drain(100);
  assert.equal(answered, 6);
});
