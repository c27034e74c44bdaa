import { Agent, type IncomingHttpHeaders, request } from "node:http";

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A server that a client can connect to. */
export interface Served {
  readonly name: string;
  readonly clientUrl: string;
}

/** No response. The request may have been carried out, unless it was never sent. */
export class NoAnswerError extends Error {
  override readonly name = "NoAnswerError";
  /** False only if the connection failed. */
  readonly isSent: boolean;

  constructor(message: string, isSent: boolean) {
    super(message);
    this.isSent = isSent;
  }
}

export interface CallOptions {
  /** Sent as a form. */
  readonly form?: string;
  readonly json?: unknown;
  /** The connection is closed afterwards. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** A client of one member, over keep-alive connections with one request at a time each. */
export class Client {
  readonly url: string;
  readonly #agent: Agent;

  constructor(url: string, connectionsMax = 1) {
    this.url = url;
    this.#agent = new Agent({ keepAlive: true, maxSockets: connectionsMax });
  }

  /** @throws NoAnswerError */
  call(method: string, path: string, options: CallOptions): Promise<Answer> {
    const { form, json, timeoutMs, signal } = options;
    const body = json === undefined ? form : JSON.stringify(json);
    const headers: Record<string, string | number> = {};
    if (body !== undefined) {
      const isForm = json === undefined;
      headers["Content-Type"] = isForm ? "application/x-www-form-urlencoded" : "application/json";
      headers["Content-Length"] = Buffer.byteLength(body);
    }
    return new Promise((resolve, reject) => {
      const fail = (error: NodeJS.ErrnoException) => {
        clearTimeout(timer);
        reject(new NoAnswerError(error.message, error.code !== "ECONNREFUSED"));
      };
      const agent = this.#agent;
      const sent = request(
        `${this.url}${path}`,
        { method, agent, headers, ...(signal === undefined ? {} : { signal }) },
        (response) => {
          let text = "";
          response.setEncoding("latin1");
          response.on("data", (part: string) => {
            text += part;
          });
          response.on("error", fail);
          response.on("end", () => {
            clearTimeout(timer);
            const { statusCode: status = 0, headers } = response;
            if (response.complete) resolve({ status, headers, body: text });
            else reject(new NoAnswerError("the answer was cut off", true));
          });
        },
      );
      const timer = setTimeout(
        () => sent.destroy(new Error(`no answer in ${timeoutMs} ms`)),
        timeoutMs,
      );
      sent.on("error", fail);
      sent.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
