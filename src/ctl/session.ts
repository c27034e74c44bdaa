import { Cluster, type ReadAnswer } from "../client/cluster.js";
import type { ClientOptions, SentRequest } from "../client/options.js";
import type { Request } from "../client/transport.js";
import { goQuote } from "../lib/go-text.js";
import { discoveryDomain, readEndpoints, variable } from "./endpoints.js";
import { isConnectionTrouble, toKeyFailure } from "./errors.js";
import { EXIT, Failure, keyFailure } from "./exit.js";
import type { Context } from "./spec.js";
import { err } from "./terminal.js";

/** What a command line says about how to reach the cluster. */
export interface Connection {
  readonly cluster: Cluster;
  /** For a client of one's own with the same settings. */
  readonly options: ClientOptions;
  /** Milliseconds for the whole command; what is not more than 0 is over at once. */
  readonly totalTimeoutMs: number;
}

/** The cluster a command talks to, by etcdctl's rules: endpoints, synchronization, time-outs, debugging. */
export class Session {
  readonly #connection: Connection;

  private constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * Takes the client URLs of all members in place of the endpoints given, unless `--no-sync` is given.
   *
   * @throws Failure with exit code 2 if no endpoint can be reached
   */
  static async open(context: Context): Promise<Session> {
    const connection = await connect(context);
    const { cluster } = connection;
    const session = new Session(connection);
    const isDebug = context.globals.bool("debug");
    if (!context.globals.bool("no-sync")) {
      if (isDebug) err(`start to sync cluster using endpoints(${cluster.endpoints.join(",")})\n`);
      await session.#sync();
      if (isDebug) err(`got endpoints(${cluster.endpoints.join(",")}) after sync\n`);
    }
    session.#showEndpoints(context);
    return session;
  }

  /** With the endpoints given. */
  static async openUnsynced(context: Context): Promise<Session> {
    const session = new Session(await connect(context));
    session.#showEndpoints(context);
    return session;
  }

  get options(): ClientOptions {
    return { ...this.#connection.options, endpoints: this.endpoints };
  }

  get endpoints(): readonly string[] {
    return this.#connection.cluster.endpoints;
  }

  /**
   * @param isRepeatable whether it may be sent to another endpoint when it failed at one
   * @throws ClientError
   */
  async ask(request: Request, isRepeatable = true): Promise<ReadAnswer> {
    const { cluster, totalTimeoutMs } = this.#connection;
    const isLimited = request.isWatch !== true;
    if (isLimited && totalTimeoutMs <= 0) throw await deadlineExceeded();
    return await cluster.ask(request, isLimited ? { totalTimeoutMs } : {}, isRepeatable);
  }

  /** One request to one URL, without credentials and not shown by --debug. @throws ClientError */
  async askApart(endpoint: string, request: Request, timeoutMs: number): Promise<ReadAnswer> {
    const { tls } = this.#connection.options;
    const apart = new Cluster({ endpoints: [endpoint], tls });
    try {
      return await apart.ask(request, { timeoutMs });
    } finally {
      await apart.close();
    }
  }

  /** Without a limit on the time for all endpoints together. @throws ClientError */
  async askUnlimited(request: Request): Promise<ReadAnswer> {
    return await this.#connection.cluster.ask(request);
  }

  /** etcdctl goes on with the endpoints it has when a member answers, but not with a list of members. */
  async #sync(): Promise<void> {
    const { cluster } = this.#connection;
    let urls: string[];
    try {
      const answer = await this.ask({ method: "GET", path: "/v2/members" });
      if (answer.status !== 200) return;
      const { members } = JSON.parse(answer.body) as { members?: { clientURLs?: string[] }[] };
      urls = (members ?? []).flatMap(({ clientURLs }) => clientURLs ?? []);
    } catch (error) {
      if (error instanceof SyntaxError) return;
      if (isConnectionTrouble(error)) throw await toKeyFailure(EXIT.badConnection, error);
      return;
    }
    if (urls.length === 0) {
      throw new Failure(
        EXIT.server,
        [
          "etcd cluster has no published client endpoints.",
          `Try '--no-sync' if you want to access non-published client endpoints(${cluster.endpoints.join(",")}).`,
          "Error:  client: no endpoints available",
        ].join("\n"),
      );
    }
    cluster.replace(urls);
  }

  #showEndpoints({ globals }: Context): void {
    if (globals.bool("debug")) err(`Cluster-Endpoints: ${this.endpoints.join(", ")}\n`);
  }
}

async function deadlineExceeded(): Promise<Error> {
  const { TimeoutError } = await import("../client/errors.js");
  return new TimeoutError(0);
}

/** Reads flags, variables and files; connects to nothing yet. */
async function connect(context: Context): Promise<Connection> {
  const { globals, env } = context;
  const endpoints = await readEndpoints(context);
  const tls = await readTls(context);
  const user = await readUser(globals.string("username") || variable(env, "USERNAME"));
  const options: ClientOptions = {
    endpoints: supported(endpoints),
    timeoutMs: Math.max(globals.durationMs("timeout"), 0),
    ...(tls === undefined ? {} : { tls }),
    ...user,
    ...(globals.bool("debug") ? { onRequest: showCurl } : {}),
  };
  return {
    cluster: new Cluster(options),
    options,
    totalTimeoutMs: globals.durationMs("total-timeout"),
  };
}

/** Those that http can reach; others never answer. */
function supported(endpoints: readonly string[]): string[] {
  const schemeOf = (url: string) => /^[^:]*/.exec(url)?.[0] ?? "";
  const known = endpoints.filter((url) => /^https?:\/\//.test(url));
  if (known.length > 0) return known;
  const lines = endpoints.map(
    (url, n) => `error #${n}: unsupported protocol scheme ${goQuote(schemeOf(url))}\n`,
  );
  throw keyFailure(
    EXIT.server,
    `client: etcd cluster is unavailable or misconfigured${lines.map((line) => `; ${line}`).join("")}\n${lines.join("")}`,
  );
}

function showCurl({ method, url, body }: SentRequest): void {
  const data = body === undefined ? "" : ` -d ${goQuote(body)}`;
  err(`cURL Command: curl -X ${method} ${url}${data}\n`);
}

async function readUser(
  text: string,
): Promise<{ readonly username?: string; readonly password?: string }> {
  if (text === "") return {};
  const colon = text.indexOf(":");
  if (colon >= 0) return { username: text.slice(0, colon), password: text.slice(colon + 1) };
  const { askPassword } = await import("./password.js");
  return { username: text, password: await askPassword("Password: ") };
}

/** @throws Failure */
export async function readTls(context: Context): Promise<ClientOptions["tls"]> {
  const { globals, env } = context;
  const caFile = globals.string("ca-file") || variable(env, "CA_FILE");
  const certFile = globals.string("cert-file") || variable(env, "CERT_FILE");
  const keyFile = globals.string("key-file") || variable(env, "KEY_FILE");
  const { domain, isInsecure } = discoveryDomain(context);
  const servername = isInsecure ? "" : domain;
  if (caFile === "" && certFile === "" && keyFile === "" && servername === "") return undefined;
  const { readTlsFiles } = await import("./tls-files.js");
  return { ...readTlsFiles(caFile, certFile, keyFile), ...(servername && { servername }) };
}
