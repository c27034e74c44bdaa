import { readEnvelope } from "../cluster/envelope.js";
import { formatId } from "../cluster/ids.js";
import type { SlowLimits } from "../config/observability.js";
import { goDurationOfMs } from "../go/text.js";
import { assert } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { type Entry, EntryType } from "../raft/entry.js";
import { type Command, CommandOp } from "../store/command.js";
import { decodeCommand } from "../store/command-codec.js";
import type { ClientRequest } from "./replies.js";
import type { TurnTimes } from "./times.js";

const SLOW_APPLIES = cellOf("slowApplies");

/** Of a key. */
const SHOWN_BYTES_MAX = 1024;
const OP_NAMES = new Map<number, string>(Object.entries(CommandOp).map(([name, op]) => [op, name]));

/** A write that has its result. */
export interface FinishedWrite {
  readonly client: ClientRequest;
  readonly command: Command;
  /** Of its proposal. */
  readonly number: number;
  readonly data: Uint8Array;
}

/**
 * Warns of what took too long, in etcd's words. Callers compare times that they have anyway; all
 * else happens once something is slow. The log keeps one line of a kind and minute.
 *
 * Two numbers tell what a line is about: `request-id`, of a client's request at this member, and
 * `proposal`, of a write, in the lines of every member.
 */
export class SlowWarnings {
  /** Limit of a write. */
  readonly requestSeconds: number;
  /** Limit of a batch of entries, and of a read by quorum. */
  readonly applyMs: number;
  readonly #memberId: bigint;
  readonly #metrics: MetricCells;
  readonly #log: Pick<Logger, "warn">;
  readonly #writes = new Turns();
  readonly #reads = new Turns();

  constructor(
    { applyMs, requestMs }: SlowLimits,
    memberId: bigint,
    metrics: MetricCells,
    log: Pick<Logger, "warn">,
  ) {
    this.applyMs = applyMs;
    this.requestSeconds = requestMs / 1000;
    this.#memberId = memberId;
    this.#metrics = metrics;
    this.#log = log;
  }

  /** A batch took longer than `applyMs`. The line names the entry that probably took the time. */
  apply(entries: readonly Entry[], tookMs: number): void {
    const [first, last] = [entries[0], entries.at(-1)];
    assert(first !== undefined && last !== undefined, "a batch that was applied has entries");
    assert(last.index - first.index === entries.length - 1, "a batch has no gap");
    assert(tookMs > this.applyMs, "only what took too long is logged");
    const [proposal, request] = described(entries.find(mayBeLong) ?? first);
    this.#metrics.add(SLOW_APPLIES, 1);
    this.#tooLong(tookMs, "", {
      ...{ proposal, request, entries: entries.length },
      ...{ "first-index": first.index, "last-index": last.index },
    });
  }

  /** A read by quorum took longer than `applyMs`. @param path of the store */
  read(
    client: ClientRequest,
    path: string,
    isRecursive: boolean,
    tookMs: number,
    { monoMs }: TurnTimes,
  ): void {
    assert(tookMs > this.applyMs, "only what took too long is logged");
    this.#metrics.add(SLOW_APPLIES, 1);
    const others = this.#reads.next(monoMs);
    if (others === undefined) return;
    this.#tooLong(tookMs, "read-only range ", {
      ...others,
      "request-id": idOf(client),
      request: `method:"QGET" path:${shown(path)} recursive:${isRecursive}`,
    });
  }

  #tooLong(tookMs: number, prefix: string, more: Readonly<Record<string, unknown>>): void {
    this.#log.warn(
      {
        took: goDurationOfMs(tookMs),
        "expected-duration": goDurationOfMs(this.applyMs),
        prefix,
        ...more,
      },
      "apply request took too long",
    );
  }

  /** A write took longer than `requestSeconds`. */
  wrote(write: FinishedWrite, seconds: number, { wallMs, monoMs }: TurnTimes): void {
    const others = this.#writes.next(monoMs);
    if (others === undefined) return;
    const { client, command, number, data } = write;
    assert(seconds > this.requestSeconds, "only what took too long is logged");
    assert(number > 0 && data.length > 0, "a write with a result was an entry");
    this.#log.warn(
      {
        "start time": new Date(wallMs - seconds * 1000).toISOString(),
        "time spent": goDurationOfMs(seconds * 1000),
        "expected-duration": goDurationOfMs(this.requestSeconds * 1000),
        ...others,
        "request-id": idOf(client),
        proposal: proposalId(this.#memberId, number),
        "request size": data.length,
        "request content": contentOf(command),
      },
      "request stats",
    );
  }
}

/** One line for each turn of the core: when all requests are slow, lines must not add to it. */
class Turns {
  #loggedMs = Number.NEGATIVE_INFINITY;
  #others = 0;

  /** @returns undefined for no line; else its field for those that had none */
  next(monoMs: number): { readonly "also-slow"?: number } | undefined {
    assert(monoMs >= this.#loggedMs, "the monotonic clock never goes back");
    if (monoMs === this.#loggedMs) {
      this.#others++;
      return undefined;
    }
    const others = this.#others;
    this.#loggedMs = monoMs;
    this.#others = 0;
    return others === 0 ? {} : { "also-slow": others };
  }
}

function idOf({ frontend, requestId }: ClientRequest): string {
  assert(requestId > 0, "requests are numbered from 1");
  return `${frontend}-${requestId}`;
}

function proposalId(origin: bigint, number: number): string {
  return `${formatId(origin)}-${number.toString(16)}`;
}

/** Only these do work that grows with the store: they delete a directory, or what has expired. */
function mayBeLong({ type, data }: Entry): boolean {
  if (type !== EntryType.normal || data.length === 0) return false;
  const command = decodeCommand(data, readEnvelope(data).payloadAt);
  return command.op === CommandOp.sync || (command.op === CommandOp.delete && command.isRecursive);
}

/** @returns its proposal and what it is */
function described({ type, data }: Entry): [proposal: string, request: string] {
  if (type !== EntryType.normal || data.length === 0) return ["", "a change of the cluster"];
  const { origin, number, payloadAt } = readEnvelope(data);
  return [proposalId(origin, number), contentOf(decodeCommand(data, payloadAt))];
}

/** Without its value. */
function contentOf({ op, path, value, isRecursive }: Command): string {
  const text = `method:"${OP_NAMES.get(op)}" path:${shown(path)}`;
  return `${text} recursive:${isRecursive} value_size:${value.length}`;
}

/** Quoted. A path of the store holds bytes. */
function shown(path: string): string {
  return JSON.stringify(Buffer.from(path.slice(0, SHOWN_BYTES_MAX), "latin1").toString("utf8"));
}
