import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { TestMember } from "../support/member.js";
import { type Answers, answersOf, fill } from "./scenario.js";

/**
 * A directory that etcd 3.4.23 wrote, and what etcd answered then. Written anew by
 * `node dist/test/etcd/fixture.js`.
 */
const FILE = new URL("../../../test/etcd/testdata/etcd-3.4.23.json.gz", import.meta.url).pathname;

export interface Fixture {
  /** base64, by path; the zeros at the ends of log segments are cut off. */
  readonly files: Readonly<Record<string, string>>;
  readonly answers: Answers;
}

export function readFixture(): Fixture {
  return JSON.parse(gunzipSync(readFileSync(FILE)).toString()) as Fixture;
}

/** The fixture in a temporary directory. */
export class FixtureDir {
  readonly parent = mkdtempSync(join(tmpdir(), "ringd-etcd-"));
  readonly path = join(this.parent, "etcd");
  /** The only segment and the snapshot. */
  readonly log: string;
  readonly snapshot: string;

  constructor({ files }: Fixture = readFixture()) {
    for (const [name, text] of Object.entries(files)) {
      const path = join(this.path, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, Buffer.from(text, "base64"));
    }
    const only = (dir: string, ending: string) => {
      const name = readdirSync(join(this.path, dir)).find((each) => each.endsWith(ending));
      return join(this.path, dir, name ?? "");
    };
    this.log = only("member/wal", ".wal");
    this.snapshot = only("member/snap", ".snap");
  }

  remove(): void {
    rmSync(this.parent, { recursive: true });
  }
}

async function write(): Promise<void> {
  const etcd = await TestMember.create("etcd", ["--snapshot-count", "100"]);
  try {
    await fill(etcd.clientUrl, 40);
    const answers = await answersOf(etcd.clientUrl);
    await etcd.end("SIGTERM");
    const files: Record<string, string> = {};
    for (const dir of ["member/wal", "member/snap"]) {
      for (const name of readdirSync(join(etcd.dataDir, dir))) {
        if (!/\.(wal|snap)$/.test(name)) continue;
        const bytes = readFileSync(join(etcd.dataDir, dir, name));
        const end = bytes.findLastIndex((byte) => byte !== 0) + 1;
        files[`${dir}/${name}`] = bytes.subarray(0, end + ((8 - (end % 8)) % 8)).toString("base64");
      }
    }
    writeFileSync(FILE, gzipSync(JSON.stringify({ files, answers }), { level: 9 }));
  } finally {
    await etcd.destroy();
  }
}

if (process.argv[1] === new URL(import.meta.url).pathname) await write();
