import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type AnswerStream, open, request, send } from "../../support/http.js";

/**
 * Replays recorded scenarios against a server and compares every answer with what etcd 3.4.23
 * answered. The format of the recording, in short: scenarios run one after the other against one
 * server; `@` stands for the scenario's id and `<i+N>` for the server's index when it began, plus
 * N.
 */

export interface Expect {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly present?: readonly string[];
  readonly body?: string;
  readonly bodySha256?: string;
  readonly bodyLength?: number;
  readonly events?: readonly string[];
  readonly error?: unknown;
}

export interface Step {
  readonly do: "request" | "sleep" | "watch" | "collect";
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly bodyRepeat?: readonly [string, number];
  readonly quiet?: boolean;
  readonly ms?: number;
  readonly name?: string;
  readonly events?: number;
  readonly expect?: Expect;
}

export interface Scenario {
  readonly id: string;
  readonly area: string;
  readonly steps: readonly Step[];
}

const COMPARED_HEADERS = [
  "content-type",
  "allow",
  "location",
  "x-etcd-index",
  "access-control-allow-origin",
  "access-control-allow-methods",
  "access-control-allow-headers",
];
const PRESENCE_HEADERS = ["x-raft-index", "x-raft-term", "x-etcd-cluster-id"];
/** Wait for unexpected data of a watch, milliseconds. */
const STRAY_MS = 120;
const WARM_UP_WRITES = 100;
const TRIES_MAX = 10;
const NEAR_INDEXES = 50;
/** Lines of a watch were recorded on collection, some time after they arrived. */
const WATCH_EXPIRATION_SECONDS = 5;

export function readScenarios(area: string): Scenario[] {
  // Compiled to dist/test/compat/golden; the recording stays where it is.
  const url = new URL(`../../../../test/compat/golden/cases/${area}.jsonl`, import.meta.url);
  return readFileSync(url, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Scenario);
}

/** Raises the index, so that small literal numbers are never taken for indexes. */
export async function warmUp(port: number): Promise<void> {
  for (let n = 0; n < WARM_UP_WRITES; n++) await send(port, "PUT", "/v2/keys/warm", `value=${n}`);
  await send(port, "DELETE", "/v2/keys/warm");
}

/**
 * In a scenario without waits no node should expire. If one does, the leader's expiry, twice a
 * second, happened to run in between: such a run is repeated.
 *
 * @returns the differences, one text per response
 */
export async function replay(port: number, scenario: Scenario): Promise<string[]> {
  const waits = scenario.steps.some((step) => step.do === "sleep" || step.do === "collect");
  for (let tries = 1; ; tries++) {
    const expired = await expiredSoFar(port);
    const differences = await replayOnce(port, scenario);
    if (differences.length === 0 || waits || tries === TRIES_MAX) return differences;
    if ((await expiredSoFar(port)) === expired) return differences;
  }
}

async function replayOnce(port: number, scenario: Scenario): Promise<string[]> {
  const run = new Run(port, scenario.id, await currentIndex(port));
  for (const [i, step] of scenario.steps.entries()) {
    const difference = await run.step(step);
    if (difference !== "") {
      run.differences.push(
        `${scenario.id}, step ${i}: ${step.method ?? step.do} ${step.path ?? ""}\n${difference}`,
      );
    }
  }
  run.closeAll();
  await send(port, "DELETE", `/v2/keys/${scenario.id}?recursive=true`);
  return run.differences;
}

async function expiredSoFar(port: number): Promise<number> {
  return JSON.parse((await send(port, "GET", "/v2/stats/store")).body.toString()).expireCount;
}

async function currentIndex(port: number): Promise<number> {
  return Number((await send(port, "GET", "/v2/keys/")).headers.get("x-etcd-index"));
}

interface Reply {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

class Run {
  readonly #port: number;
  readonly #id: string;
  readonly #base: number;
  readonly #watches = new Map<string, AnswerStream>();
  #stats: Record<string, number> | undefined;
  readonly differences: string[] = [];

  constructor(port: number, id: string, base: number) {
    this.#port = port;
    this.#id = id;
    this.#base = base;
  }

  closeAll(): void {
    for (const watch of this.#watches.values()) watch.close();
  }

  async step(step: Step): Promise<string> {
    switch (step.do) {
      case "sleep":
        await sleep(step.ms);
        return "";
      case "request":
        return this.#request(step);
      case "watch":
        return this.#watch(step);
      case "collect":
        return this.#collect(step);
    }
  }

  async #request(step: Step): Promise<string> {
    let reply: Reply;
    try {
      const { status, headers, body } = await request(this.#port, this.#toRaw(step));
      reply = { status, headers, body: body.toString("latin1") };
    } catch (error) {
      const isExpected = step.quiet === true || step.expect?.error !== undefined;
      return isExpected ? "" : `no answer: ${(error as Error).message}`;
    }
    if (step.quiet === true || step.expect === undefined) return "";
    if (step.expect.error !== undefined) return "";
    return this.#compare(step.expect, reply, sortsNodes(step));
  }

  async #watch(step: Step): Promise<string> {
    const stream = await open(this.#port, this.#toRaw(step));
    this.#watches.set(step.name ?? "", stream);
    if (step.expect === undefined) return "";
    const { body: _body, ...head } = step.expect;
    // A response other than a watch, such as an error, is complete at once; a watch's lines are
    // collected.
    const isWatch = step.expect.status === 200;
    if (!isWatch) await stream.ended;
    const { status, headers } = stream;
    const reply = { status, headers, body: stream.body.toString("latin1") };
    return this.#compare(isWatch ? head : step.expect, reply, true);
  }

  async #collect(step: Step): Promise<string> {
    const stream = this.#watches.get(step.name ?? "");
    if (stream === undefined) return `there is no watch ${step.name}`;
    const count = step.events ?? 0;
    if (count === 0) await sleep(step.ms);
    else await stream.untilLines(count, step.ms ?? 0);
    await sleep(STRAY_MS);
    stream.close();
    const expected = (step.expect?.events ?? []).map((line) => this.#mask(line.trimEnd()));
    const got = stream.lines.map((line) => this.#mask(utf8(line)));
    return describe("events", expected.join("\n"), got.join("\n"), WATCH_EXPIRATION_SECONDS);
  }

  #toRaw(step: Step) {
    const fill = (text: string) =>
      text
        .replaceAll("@", this.#id)
        .replace(/<i([+-]\d+)>/g, (_, n) => String(this.#base + Number(n)));
    const body = step.body === undefined ? undefined : fill(step.body);
    const [character, times] = step.bodyRepeat ?? ["", 0];
    return {
      method: step.method ?? "GET",
      path: fill(step.path ?? "/"),
      headers: step.headers ?? {},
      ...(body === undefined ? {} : { body: body + character.repeat(times) }),
    };
  }

  #compare(expect: Expect, reply: Reply, isOrdered: boolean): string {
    const differences = [describe("status", String(expect.status), String(reply.status))];
    for (const name of COMPARED_HEADERS) {
      const want = this.#mask(expect.headers?.[name] ?? "(none)");
      const got = reply.headers.get(name) ?? "(none)";
      const isIndex = name === "x-etcd-index";
      differences.push(describe(name, want, isIndex ? this.#maskIndex(got) : got));
    }
    const present = PRESENCE_HEADERS.filter((name) => reply.headers.has(name));
    differences.push(
      describe("present", [...(expect.present ?? [])].sort().join(), present.sort().join()),
    );
    if (expect.bodySha256 !== undefined) {
      const bytes = Buffer.from(reply.body, "latin1");
      const sha256 = createHash("sha256")
        .update(this.#mask(utf8(reply.body)))
        .digest("hex");
      const plain = createHash("sha256").update(bytes).digest("hex");
      const matches = [sha256, plain].includes(expect.bodySha256);
      if (!matches) differences.push(`body of ${bytes.length} bytes differs from the recorded one`);
    } else if (expect.body !== undefined) {
      differences.push(this.#compareBody(expect.body, utf8(reply.body), isOrdered));
    }
    return differences.filter((text) => text !== "").join("\n");
  }

  #compareBody(want: string, got: string, isOrdered: boolean): string {
    if (want.startsWith("SHAPE ")) return compareShape(want.slice(6), got);
    if (want.startsWith("DELTA ")) return this.#compareDelta(want.slice(6), got);
    const order = isOrdered ? (text: string) => text : sortNodes;
    return describe("body", order(this.#mask(want)), order(this.#mask(got)));
  }

  /** Auth was set up during the recording, so its lookups succeeded: see `gets`. */
  #compareDelta(want: string, got: string): string {
    const now = JSON.parse(got) as Record<string, number>;
    this.#stats ??= now;
    const before = this.#stats;
    const delta = Object.entries(now).map(([name, n]) => [name, n - (before[name] ?? 0)] as const);
    return describe("delta", gets(JSON.parse(want)), gets(Object.fromEntries(delta)));
  }

  #maskIndex(text: string): string {
    return /^\d+$/.test(text) && text !== "0" ? this.#relative("i", Number(text)) : text;
  }

  #relative(letter: string, index: number): string {
    const offset = index - this.#base;
    return `<${letter}${offset < 0 ? "" : "+"}${offset}>`;
  }

  /** Replaces values that differ between runs by the recording's placeholders. */
  #mask(text: string): string {
    const index = (digits: string) => (digits === "0" ? "0" : this.#relative("i", Number(digits)));
    return text
      .replaceAll(`http://127.0.0.1:${this.#port}`, "<client-url>")
      .replace(
        /"(modifiedIndex|createdIndex|index)":(\d+)/g,
        (_, name, n) => `"${name}":${index(n)}`,
      )
      .replace(/\/(\d{20})/g, (_, n) => `/${this.#relative("o", Number(n))}`)
      .replace(/\[(\d+) != (\d+)\]/g, (_, a, b) => {
        // The requested index may be any number; one near the base is relative to it.
        const isNear = Math.abs(Number(a) - this.#base) <= NEAR_INDEXES;
        return `[${isNear ? index(a) : a} != ${index(b)}]`;
      })
      .replace(/cleared \[(\d+)\/(\d+)\]/g, (_, a, b) => {
        const isNear = Math.abs(Number(b) - this.#base) <= NEAR_INDEXES;
        return `cleared [${index(a)}/${isNear ? index(b) : b}]`;
      })
      .replace(/"expiration":"([^<"]*)"/g, (_, time) => {
        const seconds = Math.round((Date.parse(time) - Date.now()) / 1000);
        const isNano = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/.test(time);
        return `"expiration":"${isNano ? "" : "malformed "}<t+${seconds}>"`;
      })
      .replace(/"ttl":(-?\d+)/g, (_, seconds) => `"ttl":<ttl ${seconds}>`);
  }
}

function utf8(latin1: string): string {
  return Buffer.from(latin1, "latin1").toString("utf8");
}

function gets(stats: Record<string, number | string>): string {
  const { getsSuccess, getsFail, watchers: _watchers, ...rest } = stats;
  const all = { ...rest, gets: Number(getsSuccess) + Number(getsFail) };
  return JSON.stringify(Object.fromEntries(Object.entries(all).sort()));
}

function sortsNodes(step: Step): boolean {
  return /[?&]sorted=(true|1|t)/i.test(step.path ?? "");
}

/** Sorts listings by key; texts that are not JSON with quoted placeholders stay unchanged. */
function sortNodes(text: string): string {
  try {
    const quoted = text.replace(/:(<[^>]*>)/g, ':"$1"');
    const sort = (value: unknown): unknown => {
      if (Array.isArray(value)) {
        return value
          .map(sort)
          .sort((a, b) =>
            String((a as { key: string }).key) < String((b as { key: string }).key) ? -1 : 1,
          );
      }
      if (typeof value !== "object" || value === null) return value;
      return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, sort(inner)]));
    };
    return JSON.stringify(sort(JSON.parse(quoted)));
  } catch {
    return text;
  }
}

/** Expirations may differ by two seconds, remaining times by one. */
function describe(what: string, want: string, got: string, expirationSeconds = 2): string {
  const near = (pattern: RegExp, tolerance: number) => {
    const wanted = [...want.matchAll(pattern)].map((match) => Number(match[1]));
    let i = 0;
    return (text: string) =>
      text.replace(pattern, (whole, n) => {
        const expected = wanted[i++];
        const isNear = expected !== undefined && Math.abs(Number(n) - expected) <= tolerance;
        return isNear ? whole.replace(n, String(expected)) : whole;
      });
  };
  const close = near(/<ttl (-?\d+)>/g, 1)(near(/<t\+?(-?\d+)>/g, expirationSeconds)(got));
  return want === close ? "" : `  ${what} expected ${want}\n  ${what} got      ${got}`;
}

function compareShape(want: string, got: string): string {
  const shape = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.slice(0, 1).map(shape);
    if (typeof value !== "object" || value === null) return typeof value;
    return Object.fromEntries(
      Object.entries(value)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, inner]) => [name, shape(inner)]),
    );
  };
  return describe("shape", want, JSON.stringify(shape(JSON.parse(got))));
}
