import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { foundingPlan } from "#ringd/bootstrap/start-plan.js";
import { type Config, readConfig } from "#ringd/config/config.js";
import type { Logger } from "#ringd/log/logger.js";
import type { MemberLimits } from "#ringd/member/limits.js";
import { cellOf, type FamilyKey } from "#ringd/metrics/families.js";
import { NO_LIMITS } from "#ringd/process/heap.js";
import { FORM_TYPE, Method } from "#ringd/v2/request.js";
import { drawFaults } from "../sim/member-faults.js";
import { type Life, SimMember } from "../sim/member-node.js";
import type { SimThread } from "../sim/member-thread.js";
import { Prng } from "../support/prng.js";

const TURNS_MAX = 1000;
const STEP_MS = 10;
/** Core, wal, peer and pool come before them. */
const FIRST_FRONTEND = 4;

/** What became of a request. */
export interface Asked {
  status: number;
  body: string;
  isOpen: boolean;
  wasCut: boolean;
  readonly giveUp: () => void;
}

/** A member alone, over simulated threads, a disk in memory and a clock that the test moves. */
export class OneMember {
  /** Of each request from now on. */
  authorization = "";
  commonName = "";
  readonly warnings: string[] = [];
  /** The same with their fields. */
  readonly lines: (readonly unknown[])[] = [];
  readonly #life: Life;
  readonly #member: SimMember;
  #nowMs = 1000;

  /** @param flags of the member, besides its name */
  constructor(
    memberLimits: Partial<MemberLimits>,
    ringBytes = 65_536,
    frontends = 1,
    storeLimits = NO_LIMITS,
    flags: readonly string[] = [],
    options: Partial<Config> = {},
  ) {
    const me = [{ name: "n1", peerUrls: ["http://127.0.0.1:2380"] }];
    const plan = foundingPlan(me, "n1", "etcd-cluster", (bytes) =>
      createHash("sha1").update(bytes).digest(),
    );
    const prng = new Prng(1);
    const faults = {
      ...drawFaults(prng, prng),
      ...{ ringBytes, frontends, memberLimits, storeLimits, startFaultOneIn: 0, raftLimits: {} },
    };
    const request = readConfig(["--name", "n1", "--data-dir", "/sim", ...flags], {});
    assert.equal(request.kind, "run");
    const { config } = request as { config: Config };
    const quiet = () => undefined;
    const warn = (fields: unknown, line: string) => {
      this.warnings.push(line);
      this.lines.push([fields, line]);
    };
    const log = { debug: quiet, info: quiet, warn, error: warn } as unknown as Logger;
    this.#member = new SimMember(
      plan.memberId,
      "n1",
      { ...config, ...options, frontendThreads: frontends },
      plan,
      {
        ...{ seed: 1, isHealed: false, prng, faults, log },
        peers: { send: () => undefined },
        monoMs: () => this.#nowMs,
        onRecovered: () => undefined,
      },
    );
    assert.ok(this.#member.start());
    const { life } = this.#member;
    assert.ok(life !== undefined);
    this.#life = life;
    this.until("the member serves", () => life.isReady);
  }

  metric(key: FamilyKey, ...labels: readonly string[]): number {
    return this.#life.metrics.get(cellOf(key, ...labels));
  }

  ask(method: keyof typeof Method, target: string, form?: string, frontend = 0): Asked {
    const type = FORM_TYPE;
    return this.#ask(
      method,
      target,
      form === undefined ? undefined : { type, text: form },
      frontend,
    );
  }

  askJson(method: keyof typeof Method, target: string, json: unknown): Asked {
    return this.#ask(method, target, { type: "application/json", text: JSON.stringify(json) }, 0);
  }

  #ask(
    method: keyof typeof Method,
    target: string,
    body: { readonly type: string; readonly text: string } | undefined,
    frontend: number,
  ): Asked {
    const [path = "", query = ""] = target.split("?");
    const asked = { status: 0, body: "", isOpen: true, wasCut: false };
    const giveUp = this.#life.request(
      frontend,
      Method[method],
      path,
      query,
      body,
      {
        answer: (status, _etcdIndex, text, isOpen) => {
          Object.assign(asked, { status, body: text, isOpen });
        },
        chunk: (text, isEnd) => {
          asked.body += text;
          asked.isOpen = !isEnd;
        },
        cut: () => {
          asked.wasCut = true;
          asked.isOpen = false;
        },
      },
      { authorization: this.authorization, commonName: this.commonName },
    );
    return Object.assign(asked, { giveUp });
  }

  unreadResponseBytes(frontend: number): number {
    return this.#life.unreadResponseBytes(frontend);
  }

  /** Lines of the audit log since the last call. */
  takeAudit(): Record<string, unknown>[] {
    return this.#life.audit.splice(0).map((line) => JSON.parse(line));
  }

  /** Lets all threads take turns. */
  turn(): void {
    this.#turn(this.#life.threads);
  }

  /** All but a frontend's, which is stuck. */
  turnBut(frontend: number, turns: number): void {
    const stuck = this.#life.threads[FIRST_FRONTEND + frontend];
    const others = this.#life.threads.filter((thread) => thread !== stuck);
    for (let n = 0; n < turns; n++) this.#turn(others);
  }

  until(what: string, isSo: () => boolean): void {
    for (let n = 0; n < TURNS_MAX; n++) {
      if (isSo()) return;
      this.turn();
    }
    assert.fail(`not in ${TURNS_MAX} turns: ${what}`);
  }

  #turn(threads: readonly SimThread[]): void {
    this.#nowMs += STEP_MS;
    for (const thread of threads) thread.step();
  }
}
