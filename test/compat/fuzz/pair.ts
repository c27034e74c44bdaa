import { setTimeout as sleep } from "node:timers/promises";
import { maskOwn, sameBody } from "./canonical.js";
import { type Reply, Side } from "./side.js";
import { type HttpRequest, type Step, withoutRuns } from "./step.js";

/** Timeout for the slower server to notify a watch, or to notice a closed one. */
const CATCH_UP_MS_MAX = 2000;
const POLL_MS = 5;

export interface Mismatch {
  /** Position in the sequence. */
  readonly step: number;
  /** Description of the difference. */
  readonly text: string;
}

/** A new etcd and a new ringd that get the same requests. */
export class Pair {
  readonly #etcd: Side;
  readonly #ringd: Side;

  private constructor(etcd: Side, ringd: Side) {
    this.#etcd = etcd;
    this.#ringd = ringd;
  }

  /** @param args of ringd alone */
  static async create(args: readonly string[] = []): Promise<Pair> {
    const [etcd, ringd] = await Promise.allSettled([
      Side.create("etcd"),
      Side.create("ringd", args),
    ]);
    if (etcd.status === "fulfilled" && ringd.status === "fulfilled") {
      return new Pair(etcd.value, ringd.value);
    }
    for (const side of [etcd, ringd]) if (side.status === "fulfilled") await side.value.destroy();
    throw [etcd, ringd].find((side) => side.status === "rejected")?.reason;
  }

  async destroy(): Promise<void> {
    await Promise.all([this.#etcd.destroy(), this.#ringd.destroy()]);
  }

  /** @returns the first difference */
  async run(steps: readonly Step[]): Promise<Mismatch | undefined> {
    for (const [i, step] of steps.entries()) {
      const text = await this.#step(step);
      if (text !== "") return { step: i, text };
    }
    return undefined;
  }

  async #step(step: Step): Promise<string> {
    switch (step.kind) {
      case "requests":
        return this.#requests(step.requests);
      case "watch": {
        const [etcd, ringd] = await this.#both((side) => side.watch(step.name, step.request));
        return this.#compare(etcd, ringd, isSorted(step.request));
      }
      case "collect":
        return this.#collect(step.name);
    }
  }

  async #requests(requests: readonly HttpRequest[]): Promise<string> {
    const replies: [Reply[], Reply[]] = [[], []];
    for (const request of requests) {
      if (isAboutWatchers(request)) await this.#untilSame(readWatchers);
      const [etcd, ringd] = await this.#both((side) => side.send(request));
      const text = this.#compare(etcd, ringd, isSorted(request));
      if (text !== "") return text;
      replies[0].push(etcd);
      replies[1].push(ringd);
    }
    await Promise.all([this.#etcd.settle(replies[0]), this.#ringd.settle(replies[1])]);
    return "";
  }

  async #collect(name: string): Promise<string> {
    // After this response, earlier events are at least in flight.
    await this.#both((side) => side.storeStats());
    const read = (side: Side) => {
      const watched = side.watched(name);
      return watched === undefined ? "" : `${countLines(watched.body)} ${watched.isEnded}`;
    };
    await this.#untilSame(async (side) => read(side));
    const [etcd, ringd] = [this.#etcd, this.#ringd].map((side) => {
      const watched = side.watched(name);
      side.closeWatch(name);
      const head = watched?.isEnded ? "the answer ended" : "the answer is open";
      return { head, body: watched?.body ?? "" };
    }) as [Reply, Reply];
    return this.#compare(etcd, ringd, false);
  }

  #both<T>(act: (side: Side) => Promise<T>): Promise<[T, T]> {
    return Promise.all([act(this.#etcd), act(this.#ringd)]);
  }

  /** Gives the slower server time; the comparison afterwards reports a lasting difference. */
  async #untilSame(read: (side: Side) => Promise<unknown>): Promise<void> {
    const giveUpMs = Date.now() + CATCH_UP_MS_MAX;
    while (Date.now() < giveUpMs) {
      const [etcd, ringd] = await this.#both(read);
      if (etcd === ringd) return;
      await sleep(POLL_MS);
    }
  }

  #compare(etcd: Reply, ringd: Reply, isOrdered: boolean): string {
    const etcdHead = maskOwn(etcd.head, this.#etcd.facts);
    const ringdHead = maskOwn(ringd.head, this.#ringd.facts);
    const etcdBody = maskOwn(etcd.body, this.#etcd.facts);
    const ringdBody = maskOwn(ringd.body, this.#ringd.facts);
    const texts: string[] = [];
    if (etcdHead !== ringdHead) texts.push(differs("head", etcdHead, ringdHead));
    if (!sameBody(etcdBody, ringdBody, isOrdered)) {
      texts.push(differs("body", shown(etcdBody), shown(ringdBody)));
    }
    return texts.join("\n");
  }
}

function differs(what: string, etcd: string, ringd: string): string {
  const indented = (text: string) => text.replaceAll("\n", "\n           ");
  return `${what}: etcd   ${indented(etcd)}\n      ringd  ${indented(ringd)}`;
}

function shown(body: string): string {
  return JSON.stringify(withoutRuns(Buffer.from(body, "latin1").toString("utf8")));
}

function countLines(body: string): number {
  return body.split("\n").length;
}

/** The order of a listing matters only if requested. */
function isSorted({ target }: HttpRequest): boolean {
  const [first = ""] = /[?&]sorted=[^&]*/.exec(target) ?? [];
  return /=(1|t|T|TRUE|true|True)$/.test(first);
}

/** Its response counts open watches; a close is not noticed at once. */
function isAboutWatchers({ target }: HttpRequest): boolean {
  return target.startsWith("/v2/stats/store");
}

async function readWatchers(side: Side): Promise<unknown> {
  return (await side.storeStats()).watchers;
}
