import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { Stat } from "../store/stats.js";
import type { Store } from "../store/store.js";
import { healthResponse } from "../v2/status.js";
import type { ClientPort, ClientRequest } from "./replies.js";

const SUCCESS = cellOf("healthSuccess");
const FAILURES = cellOf("healthFailures");

/** Responds to health checks and counts them. */
export class Health {
  readonly #store: Store;
  readonly #clients: ClientPort;
  readonly #metrics: MetricCells;

  constructor(store: Store, clients: ClientPort, metrics: MetricCells) {
    this.#store = store;
    this.#clients = clients;
    this.#metrics = metrics;
  }

  answer(client: ClientRequest, isHealthy: boolean): void {
    if (isHealthy) this.#store.stats.add(Stat.getsSuccess); // etcd reads the root key for it.
    this.#metrics.add(isHealthy ? SUCCESS : FAILURES, 1);
    this.#clients.answerWhole(client, healthResponse(isHealthy));
  }
}
