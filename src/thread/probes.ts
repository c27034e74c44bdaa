import { ReusedRequest } from "../frontend/reused-request.js";
import type { RingGateway } from "../frontend/ring-gateway.js";
import type { LocalHandler } from "../messages/local.js";
import type { ResponseRecord } from "../messages/requests.js";
import {
  CORE_PART,
  FIRST_FRONTEND_PART,
  PEER_PART,
  type Topology,
  WAL_PART,
} from "../messages/topology.js";
import { MetricCells } from "../metrics/cells.js";
import { cellOf, idCellOf } from "../metrics/families.js";
import { PulseWatch } from "../process/pulse.js";
import { type Check, type CheckName, handleProbe, isProbePath } from "../v2/probes.js";
import { Method } from "../v2/request.js";
import { toApi, toLocal } from "./local.js";

const WAL_FAILED = cellOf("walFailed");
const LEAD = idCellOf("lead");
const LOOK_MS = 250;
/**
 * All threads beat at least once a second when idle. One that takes longer hangs, or waits for a
 * call of the system: the wal thread for its disk.
 */
const SILENT_MS_MAX = 3000;
/** Timeout of the reads that a probe makes; the core's own, of a second, comes first. */
const READ_MS_MAX = 2000;

/**
 * Answers `/livez` and `/readyz` on the main thread, so that a core that hangs is reported, too.
 * Before the member has read its log, reads fail.
 */
export class Probes {
  readonly #gateway: RingGateway;
  readonly #watch: PulseWatch;
  readonly #wal: MetricCells;
  readonly #core: MetricCells;
  readonly #request = new ReusedRequest();
  readonly #threads: ReadonlyMap<string, number>;
  readonly #checks: Readonly<Record<CheckName, Check>>;
  #isRecovered = false;

  constructor(topology: Topology, gateway: RingGateway) {
    this.#gateway = gateway;
    this.#watch = new PulseWatch(topology.pulse, performance.now());
    this.#wal = new MetricCells(topology.metrics, WAL_PART);
    this.#core = new MetricCells(topology.metrics, CORE_PART);
    this.#threads = new Map([
      ["core", CORE_PART],
      ["peer", PEER_PART],
      // The main thread is the first, and it is the one that answers.
      ...topology.frontends
        .slice(1)
        .map((_, i) => [`frontend${i + 1}`, FIRST_FRONTEND_PART + 1 + i] as const),
    ]);
    this.#checks = {
      threads: () => this.#silentThread(),
      disk: () => this.#diskTrouble(),
      serializable_read: () => this.#read("serializable=true&exclude=NOSPACE"),
      leader: () => (this.#core.getId(LEAD) === 0n ? "no leader is known" : undefined),
      linearizable_read: () => this.#read("exclude=NOSPACE"),
    };
    setInterval(() => this.#watch.look(performance.now()), LOOK_MS).unref();
  }

  /** The core answers reads from now on, also while clients' requests are held. */
  recovered(): void {
    this.#isRecovered = true;
  }

  readonly handle: LocalHandler = (request) => {
    if (!isProbePath(request.path)) return undefined;
    return handleProbe(toApi(request), this.#checks).then(toLocal);
  };

  #silentThread(): string | undefined {
    const nowMs = performance.now();
    this.#watch.look(nowMs);
    for (const [name, part] of this.#threads) {
      const silentMs = this.#watch.silentMs(part, nowMs);
      if (silentMs > SILENT_MS_MAX) return `thread ${name} hangs for ${seconds(silentMs)}`;
    }
    return undefined;
  }

  #diskTrouble(): string | undefined {
    if (this.#wal.get(WAL_FAILED) > 0) return "the log failed; restart once the disk is repaired";
    const nowMs = performance.now();
    this.#watch.look(nowMs);
    const silentMs = this.#watch.silentMs(WAL_PART, nowMs);
    if (silentMs <= SILENT_MS_MAX) return undefined;
    return `the log waits for its disk for ${seconds(silentMs)}`;
  }

  /** A health check by the core. */
  #read(query: string): Promise<string | undefined> {
    if (!this.#isRecovered) return Promise.resolve("the member is starting");
    return new Promise((resolve) => {
      let requestId: number | undefined;
      const timer = setTimeout(() => {
        if (requestId !== undefined) this.#gateway.abort(requestId);
        resolve(`no answer within ${seconds(READ_MS_MAX)}`);
      }, READ_MS_MAX);
      const finish = (why: string | undefined) => {
        clearTimeout(timer);
        resolve(why);
      };
      const exchange = {
        requestId: undefined,
        large: undefined,
        answer: ({ status }: ResponseRecord) =>
          finish(status === 200 ? undefined : "the member cannot serve it now"),
        open: () => undefined,
        chunk: () => undefined,
        cut: () => finish("the member stops"),
      };
      requestId = this.#gateway.ask(exchange, this.#request.begin(Method.get, "/health", query));
    });
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
