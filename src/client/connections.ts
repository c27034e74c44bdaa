import { Agent, type AgentOptions } from "node:http";
import { ConnectError } from "./errors.js";
import type { TlsOptions } from "./options.js";

/** TCP keep-alive: after this, ten probes a second apart detect a host that vanished. */
const PROBE_IDLE_MS = 10_000;
/** Shorter than servers' limits, so that no request is sent on a connection being closed. */
const UNUSED_MS_MAX = 4000;

/** Keep-alive connections, with and without TLS. */
export class Connections {
  readonly #tls: TlsOptions | undefined;
  readonly #options: AgentOptions;
  readonly #plain: Agent;
  #secure: Promise<Agent> | undefined;

  /** @param countMax to one member */
  constructor(tls: TlsOptions | undefined, countMax: number) {
    this.#tls = tls;
    this.#options = {
      keepAlive: true,
      keepAliveMsecs: PROBE_IDLE_MS,
      maxSockets: countMax,
      timeout: UNUSED_MS_MAX,
    };
    this.#plain = new Agent(this.#options);
  }

  /** @throws ConnectError for certificates and keys that OpenSSL rejects */
  async agentFor({ protocol, origin }: URL): Promise<Agent> {
    if (protocol !== "https:") return this.#plain;
    try {
      this.#secure ??= this.#makeSecure();
      return await this.#secure;
    } catch (error) {
      throw new ConnectError(origin, error);
    }
  }

  async close(): Promise<void> {
    this.#plain.destroy();
    (await this.#secure?.catch(() => undefined))?.destroy();
  }

  /** Loads TLS on first use: it takes longer than a whole plain request. */
  async #makeSecure(): Promise<Agent> {
    const [https, tls] = await Promise.all([import("node:https"), import("node:tls")]);
    const { servername, rejectUnauthorized, ...credentials } = this.#tls ?? {};
    return new https.Agent({
      ...this.#options,
      // One context for all connections: else the agent compares certificates and keys per request.
      secureContext: tls.createSecureContext(credentials),
      ...(servername === undefined ? {} : { servername }),
      ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
    });
  }
}
