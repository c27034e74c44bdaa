import { Cluster, type ReadAnswer } from "../../client/cluster.js";
import { TimeoutError, UnavailableError } from "../../client/errors.js";
import type { CallOptions, ClientOptions, SentRequest } from "../../client/options.js";
import type { MemberRequest, MemberResponse } from "../../client/transport.js";
import { goQuote } from "../../go/text.js";
import { isConnectionFailure, toKeyFailure, type UnreachableError } from "../output/errors.js";
import { EXIT, Failure, keyFailure } from "../output/exit.js";
import { err } from "../output/terminal.js";
import { discoveryDomain, partition, readEndpoints, variable } from "./endpoints.js";
import type { Context } from "./spec.js";

/** The settings of a command line for reaching the cluster. */
export interface Connection {
  /** Undefined if no endpoint can be reached. */
  readonly cluster: Cluster | undefined;
  /** Given endpoints that no client can reach. */
  readonly unreachable: readonly UnreachableError[];
  /** For a separate client with the same settings. */
  readonly options: ClientOptions;
  /** Milliseconds for the whole command; 0 and negative values time out at once. */
  readonly totalTimeoutMs: number;
}

/** The cluster, by etcdctl's rules for endpoints, synchronization, timeouts and debugging. */
export class Session {
  readonly #connection: Connection;
  #isSynced = false;

  private constructor(connection: Connection) {
    this.#connection = connection;
  }

  /**
   * Replaces the endpoints by the client URLs of all members, unless `--no-sync` is given.
   *
   * @throws Failure with exit code 2 if no endpoint can be reached
   */
  static async open(context: Context): Promise<Session> {
    const connection = await connect(context);
    const session = new Session(connection);
    const isDebug = context.globals.bool("debug");
    if (!context.globals.bool("no-sync")) {
      if (isDebug) err(`start to sync cluster using endpoints(${session.endpoints.join(",")})\n`);
      await session.#sync();
      if (isDebug) err(`got endpoints(${session.endpoints.join(",")}) after sync\n`);
    }
    session.#showEndpoints(context);
    return session;
  }

  /** With the endpoints as given. */
  static async openUnsynced(context: Context): Promise<Session> {
    const session = new Session(await connect(context));
    session.#showEndpoints(context);
    return session;
  }

  /** @throws Failure if no endpoint can be reached */
  get options(): ClientOptions {
    const { cluster, options, unreachable } = this.#connection;
    if (cluster === undefined) throw keyFailure(EXIT.server, unreachable[0]?.message ?? "");
    return { ...options, endpoints: cluster.endpoints };
  }

  get endpoints(): readonly string[] {
    const { cluster, unreachable } = this.#connection;
    const others = this.#isSynced ? [] : unreachable.map(({ endpoint }) => endpoint);
    return [...(cluster?.endpoints ?? []), ...others];
  }

  /**
   * @param isRepeatable whether it may be sent to the next endpoint after a failure
   * @throws ClientError
   */
  async request(request: MemberRequest, isRepeatable = true): Promise<ReadAnswer> {
    const { totalTimeoutMs } = this.#connection;
    const isLimited = request.isWatch !== true;
    if (isLimited && totalTimeoutMs <= 0) throw new TimeoutError(0);
    return await this.#requestAny(request, isLimited ? { totalTimeoutMs } : {}, isRepeatable);
  }

  /** To this endpoint only, without credentials, not shown by --debug. @throws ClientError */
  async requestOnce(
    endpoint: string,
    request: MemberRequest,
    timeoutMs: number,
  ): Promise<ReadAnswer> {
    const { tls } = this.#connection.options;
    const single = new Cluster({ endpoints: [endpoint], tls });
    try {
      return await single.request(request, { timeoutMs });
    } finally {
      await single.close();
    }
  }

  /** Without a limit on the total time. @throws ClientError */
  async requestUnlimited(request: MemberRequest): Promise<ReadAnswer> {
    return await this.#requestAny(request, {}, true);
  }

  /**
   * Starts a download, whose headers must come within the total timeout.
   *
   * @throws ClientError
   */
  async download(request: MemberRequest): Promise<MemberResponse> {
    const { cluster, unreachable, totalTimeoutMs } = this.#connection;
    if (totalTimeoutMs <= 0) throw new TimeoutError(0);
    if (cluster === undefined) throw new UnavailableError(unreachable);
    return await cluster.download(request, totalTimeoutMs);
  }

  async #requestAny(
    request: MemberRequest,
    call: CallOptions,
    isRepeatable: boolean,
  ): Promise<ReadAnswer> {
    const { cluster, unreachable } = this.#connection;
    if (cluster === undefined) throw new UnavailableError(unreachable);
    try {
      return await cluster.request(request, call, isRepeatable);
    } catch (error) {
      if (this.#isSynced || !(error instanceof UnavailableError)) throw error;
      throw new UnavailableError([...error.errors, ...unreachable]);
    }
  }

  /** Like etcdctl, it keeps the given endpoints if the response is not a list of members. */
  async #sync(): Promise<void> {
    let urls: string[];
    try {
      const response = await this.request({ method: "GET", path: "/v2/members" });
      if (response.status !== 200) return;
      const { members } = JSON.parse(response.body) as { members?: { clientURLs?: string[] }[] };
      urls = (members ?? []).flatMap(({ clientURLs }) => clientURLs ?? []);
    } catch (error) {
      if (error instanceof SyntaxError) return;
      if (isConnectionFailure(error)) throw await toKeyFailure(EXIT.badConnection, error);
      return;
    }
    if (urls.length === 0) {
      throw new Failure(
        EXIT.server,
        [
          "etcd cluster has no published client endpoints.",
          `Try '--no-sync' if you want to access non-published client endpoints(${this.endpoints.join(",")}).`,
          "Error:  client: no endpoints available",
        ].join("\n"),
      );
    }
    this.#connection.cluster?.replace(urls);
    this.#isSynced = true;
  }

  #showEndpoints({ globals }: Context): void {
    if (globals.bool("debug")) err(`Cluster-Endpoints: ${this.endpoints.join(", ")}\n`);
  }
}

/** Reads flags, variables and files; opens no connection yet. */
async function connect(context: Context): Promise<Connection> {
  const { globals, env } = context;
  const { reachable, unreachable } = partition(await readEndpoints(context));
  const tls = await readTls(context);
  const user = await readUser(globals.string("username") || variable(env, "USERNAME"));
  const options: ClientOptions = {
    endpoints: reachable,
    timeoutMs: Math.max(globals.durationMs("timeout"), 0),
    ...(tls === undefined ? {} : { tls }),
    ...user,
    ...(globals.bool("debug") ? { onRequest: showCurl } : {}),
  };
  return {
    cluster: reachable.length === 0 ? undefined : new Cluster(options),
    unreachable,
    options,
    totalTimeoutMs: globals.durationMs("total-timeout"),
  };
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
  const { promptPassword } = await import("./password.js");
  return { username: text, password: await promptPassword("Password: ") };
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
