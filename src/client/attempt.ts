import type { ClientRequest, IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { RingdError } from "../lib/errors.js";
import { ConnectError, ConnectionLostError, RequestTimeoutError } from "./errors.js";

/** Longer than any handshake takes; without it a dead network would hold a watch for minutes. */
const CONNECT_TIMEOUT_MS = 10_000;

/** Has the code of the kernel's own timeout, which fires after minutes only. */
class ConnectTimeoutError extends RingdError {
  override readonly name = "ConnectTimeoutError";
  readonly code = "ETIMEDOUT";
}

/**
 * One request to one member, redirects included. It ends with the first of these: the response is
 * complete, the connection fails, a signal fires, the timeout passes. It listens to the signals
 * until `end`.
 */
export class Attempt {
  readonly #endpoint: string;
  readonly #signals: readonly AbortSignal[];
  #request: ClientRequest | undefined;
  #timer: NodeJS.Timeout | undefined;
  #connectTimer: NodeJS.Timeout | undefined;
  #reject: (reason: unknown) => void = () => undefined;
  /** In an object, because a signal's reason may be any value. */
  #failure: { readonly reason: unknown } | undefined;
  /** Whether an established connection got the request: if not, it cannot have been applied. */
  #isSent = false;

  /** @throws the reason of a signal that has fired already */
  constructor(endpoint: string, signals: readonly AbortSignal[]) {
    for (const signal of signals) signal.throwIfAborted();
    this.#endpoint = endpoint;
    this.#signals = signals;
    for (const signal of signals) signal.addEventListener("abort", this.#onAbort);
  }

  /** @param timeoutMs until the response's headers; 0: no limit */
  startTimer(timeoutMs: number): void {
    if (timeoutMs <= 0) return;
    this.#timer = setTimeout(() => {
      this.#fail(new RequestTimeoutError(this.#endpoint, this.#isSent));
    }, timeoutMs);
  }

  stopTimer(): void {
    clearTimeout(this.#timer);
  }

  /** Waits for the headers. @throws EndpointError, or a signal's reason */
  response(request: ClientRequest, body: string | undefined): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      this.#request = request;
      request.on("response", resolve);
      request.on("error", (error) => this.#fail(this.#connectionError(error)));
      request.on("socket", (socket) => this.#onSocket(socket));
      // A signal may have fired between two redirects.
      if (this.#failure !== undefined) this.#fail(this.#failure.reason);
      request.end(body);
    });
  }

  /**
   * Reads the rest of the response as UTF-8 and ends the attempt.
   *
   * @param isRedirect whether the attempt continues with another request
   * @throws ConnectionLostError, or a signal's reason
   */
  text(response: IncomingMessage, isRedirect = false): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      if (this.#failure !== undefined) return reject(this.#failure.reason);
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
      });
      const onClose = () => this.#fail(this.#connectionError(response.errored));
      if (response.destroyed) return onClose();
      response.on("close", onClose);
      response.on("end", () => {
        response.off("close", onClose);
        if (!isRedirect) this.end();
        resolve(text);
      });
    });
  }

  /**
   * Reads the rest of the response as UTF-8, as it comes, and ends the attempt.
   *
   * @throws ConnectionLostError, or a signal's reason
   */
  pieces(response: IncomingMessage): AsyncGenerator<string, void, undefined> {
    return this.#read(response, "utf8");
  }

  /**
   * The same, as bytes.
   *
   * @param silenceMs after which it fails if no more comes
   */
  bytes(response: IncomingMessage, silenceMs: number): AsyncGenerator<Buffer, void, undefined> {
    response.setTimeout(silenceMs, () => {
      this.#fail(new RequestTimeoutError(this.#endpoint, true));
    });
    return this.#read(response, undefined);
  }

  async *#read<T>(
    response: IncomingMessage,
    encoding: BufferEncoding | undefined,
  ): AsyncGenerator<T, void, undefined> {
    try {
      if (this.#failure !== undefined) throw this.#failure.reason;
      if (encoding !== undefined) response.setEncoding(encoding);
      for await (const piece of response) yield piece as T;
    } catch (error) {
      throw this.#failure === undefined ? this.#connectionError(error) : this.#failure.reason;
    } finally {
      this.end();
    }
  }

  /** Removes the listeners from the signals. */
  end(): void {
    this.stopTimer();
    for (const signal of this.#signals) signal.removeEventListener("abort", this.#onAbort);
  }

  readonly #onAbort = (event: Event): void => {
    this.#fail((event.target as AbortSignal).reason);
  };

  /**
   * Rejects at once: node:http reports the end of a queued request only once it has a connection.
   */
  #fail(reason: unknown): void {
    this.#failure ??= { reason };
    clearTimeout(this.#connectTimer);
    this.#request?.destroy();
    this.end();
    this.#reject(this.#failure.reason);
  }

  /** Node.js sends a request once the connection is established, over TLS after the handshake. */
  #onSocket(socket: Socket | TLSSocket): void {
    const isSecure = "secureConnecting" in socket;
    if (!socket.connecting && !(isSecure && socket.secureConnecting)) {
      this.#isSent = true;
      return;
    }
    this.#connectTimer = setTimeout(() => {
      const cause = new ConnectTimeoutError(`no connection within ${CONNECT_TIMEOUT_MS} ms`);
      this.#fail(new ConnectError(this.#endpoint, cause));
    }, CONNECT_TIMEOUT_MS);
    socket.once(isSecure ? "secureConnect" : "connect", () => {
      clearTimeout(this.#connectTimer);
      this.#isSent = true;
    });
  }

  #connectionError(cause: unknown): Error {
    return this.#isSent
      ? new ConnectionLostError(this.#endpoint, cause)
      : new ConnectError(this.#endpoint, cause);
  }
}
