import type { Worker } from "node:worker_threads";
import type { LocalRequest, LocalResponse } from "../messages/local.js";
import type { FrontendMessage, FrontendOrder, MemberIdentity } from "../messages/topology.js";
import { ContentKind } from "../v2/response.js";

const INTERNAL_ERROR: LocalResponse = {
  status: 500,
  contentKind: ContentKind.textError,
  body: "Internal Server Error\n",
};

/** Handles the frontend workers' messages on the main thread. */
export class FrontendWorkers {
  readonly #workers: readonly Worker[];
  readonly #ended: Promise<unknown>;

  #isClosing = false;

  /**
   * @param local serves the requests that workers forward
   * @param named workers by thread name
   * @param onDeath a worker ended unasked
   */
  constructor(
    named: Readonly<Record<string, Worker>>,
    local: (
      request: LocalRequest,
    ) => LocalResponse | undefined | Promise<LocalResponse | undefined>,
    onDeath: (name: string) => void,
  ) {
    const workers = Object.values(named);
    this.#workers = workers;
    this.#ended = Promise.all(
      workers.map(
        (worker) =>
          new Promise((resolve) => {
            worker.once("exit", resolve);
          }),
      ),
    );
    for (const [name, worker] of Object.entries(named)) {
      worker.once("exit", () => {
        if (!this.#isClosing) onDeath(name);
      });
      worker.on("message", (message: FrontendMessage) => {
        if (message.kind !== "ask") return;
        const { id, request } = message;
        const tellAnswer = (answer: LocalResponse | undefined) => {
          if (answer !== undefined) tell(worker, { kind: "answer", id, answer: copied(answer) });
        };
        // Within `then`: a handler that throws is an answer, too, and not the end of the process.
        Promise.resolve()
          .then(() => local(request))
          .then(tellAnswer, () => tellAnswer(INTERNAL_ERROR));
      });
    }
  }

  /** To the thread of the ports with TLS. */
  serve(identity: MemberIdentity): void {
    for (const worker of this.#workers) tell(worker, { kind: "serve", identity });
  }

  stopListening(): void {
    for (const worker of this.#workers) tell(worker, { kind: "stopListening" });
  }

  /** Resolves once all threads have ended. */
  async close(): Promise<void> {
    this.#isClosing = true;
    for (const worker of this.#workers) tell(worker, { kind: "close" });
    await this.#ended;
  }
}

function tell(worker: Worker, order: FrontendOrder): void {
  worker.postMessage(order);
}

/** A posted Buffer takes its whole pool along; a copy has memory of its own. */
function copied(answer: LocalResponse): LocalResponse {
  return typeof answer.body === "string"
    ? answer
    : { ...answer, body: new Uint8Array(answer.body) };
}
