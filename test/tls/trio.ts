import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { send } from "../support/http.js";
import { TestMember } from "../support/member.js";
import { until } from "../support/until.js";
import type { Authority, Issued, Wish } from "./authority.js";

const RINGCTL = new URL("../../bin/ringctl.js", import.meta.url).pathname;
const SERVING_MS = 30_000;

/** Flags of a certificate for TLS between members; they require each other's. */
export function peerFlags(authority: Authority, pair: Issued): string[] {
  return [
    ...["--peer-cert-file", pair.certFile, "--peer-key-file", pair.keyFile],
    ...["--peer-trusted-ca-file", authority.caFile, "--peer-client-cert-auth"],
  ];
}

export interface TrioOptions {
  readonly scheme?: "http" | "https";
  readonly flags: (trio: Trio, i: number) => readonly string[];
  /** More flags, of a member with this client port. */
  readonly clientFlags?: (port: number) => readonly string[];
}

/** Three members, each with a loopback address of its own for its peer URL. */
export class Trio {
  readonly members: TestMember[] = [];
  readonly #net = `127.${1 + Math.floor(Math.random() * 250)}.${Math.floor(Math.random() * 250)}`;
  readonly #scheme: string;

  private constructor(scheme: string) {
    this.#scheme = scheme;
  }

  /** Not started. */
  static async make({ scheme = "https", flags }: TrioOptions): Promise<Trio> {
    const trio = new Trio(scheme);
    for (let i = 0; i < 3; i++) {
      const url = trio.peerUrl(i);
      const member = await TestMember.make("ringd", [
        ...["--name", `n${i}`, "--listen-peer-urls", url, "--initial-advertise-peer-urls", url],
        ...["--initial-cluster", [0, 1, 2].map((j) => `n${j}=${trio.peerUrl(j)}`).join(",")],
        ...flags(trio, i),
      ]);
      trio.members.push(member);
    }
    return trio;
  }

  static async start(options: TrioOptions): Promise<Trio> {
    const trio = await Trio.make(options);
    try {
      const more = (member: TestMember) => options.clientFlags?.(member.port) ?? [];
      await Promise.all(trio.members.map((member) => member.start(more(member))));
    } catch (error) {
      await trio.destroy();
      throw error;
    }
    return trio;
  }

  address(i: number): string {
    return `${this.#net}.${i + 1}`;
  }

  peerUrl(i: number, scheme = this.#scheme): string {
    return `${scheme}://${this.address(i)}:2380`;
  }

  /** A certificate of member `i`, which connects from 127.0.0.1. */
  issue(authority: Authority, i: number, wish: Wish = {}): Issued {
    return authority.issue({ names: `IP:127.0.0.1,IP:${this.address(i)}`, ...wish });
  }

  member(i: number): TestMember {
    return this.members[i] as TestMember;
  }

  /** Writes through each of these members, and reads it by quorum through all. */
  async serves(...indexes: readonly number[]): Promise<void> {
    for (const i of indexes) {
      await until(
        () => `member ${i} writes:\n${this.member(i).log.slice(-2000)}`,
        SERVING_MS,
        () => this.put(i, `/v2/keys/by/${i}`, "1"),
      );
    }
    for (const i of indexes) {
      for (const by of indexes) {
        const got = await send(this.member(i).port, "GET", `/v2/keys/by/${by}?quorum=true`);
        if (got.status !== 200) throw new Error(`GET by ${i}: ${got.status} ${got.body}`);
      }
    }
  }

  async put(i: number, path: string, value: string): Promise<boolean> {
    try {
      const { status } = await send(this.member(i).port, "PUT", path, `value=${value}`);
      return status === 200 || status === 201;
    } catch {
      return false;
    }
  }

  async untilLogged(i: number, line: RegExp): Promise<void> {
    const member = this.member(i);
    await until(
      () => `member ${i} logs ${line}:\n${member.log.slice(-3000)}`,
      SERVING_MS,
      () => line.test(member.log),
    );
  }

  async ringctl(i: number, ...argv: readonly string[]): Promise<string> {
    const endpoint = ["--endpoints", this.member(i).clientUrl];
    const run = promisify(execFile);
    const { stdout } = await run(process.execPath, [RINGCTL, ...endpoint, ...argv]);
    return stdout;
  }

  async destroy(): Promise<void> {
    await Promise.all(this.members.map((member) => member.destroy()));
  }
}
