import { Auth } from "./auth.js";
import { Cluster, type ReadAnswer } from "./cluster.js";
import { encodePath, encodeQuery } from "./encode.js";
import { NoEndpointsError } from "./errors.js";
import { callJsonApi } from "./json-api.js";
import { type KeysCall, keysRequest, readKeysAnswer } from "./keys.js";
import { Members } from "./members.js";
import type {
  CallOptions,
  ClientOptions,
  CompareAndSwapOptions,
  CompareOptions,
  DeleteOptions,
  GetOptions,
  RefreshOptions,
  SetOptions,
  TtlOptions,
  WatchOptions,
} from "./options.js";
import type {
  KeysAnswer,
  LeaderStats,
  Node,
  SelfStats,
  StoreStats,
  Version,
  Watch,
} from "./responses.js";
import type { MemberRequest } from "./transport.js";
import { watchKey } from "./watch.js";

/** Text, stored as UTF-8, or bytes. */
export type Value = string | Uint8Array;

/**
 * A client of a cluster that speaks etcd's v2 protocol.
 *
 * Its connections keep a process alive only while a call or a watch is in flight. Methods may be
 * called concurrently; they reject with a ClientError or with the reason of the caller's signal.
 */
export class Client {
  readonly members: Members;
  readonly auth: Auth;
  readonly #cluster: Cluster;

  /** Opens no connection yet. @throws TypeError for an invalid URL, NoEndpointsError for none */
  constructor(options: ClientOptions = {}) {
    this.#cluster = new Cluster(options);
    this.members = new Members(this.#cluster);
    this.auth = new Auth(this.#cluster);
  }

  // ---- keys ----

  /** @throws KeyNotFoundError */
  get(key: string, options: GetOptions = {}): Promise<KeysAnswer> {
    const { recursive = false, sorted = false, quorum = false } = options;
    return this.#keys({ method: "GET", key, query: { recursive, sorted, quorum } }, options);
  }

  /** The children of a directory, or the file itself. */
  async list(key = "/", options: GetOptions = {}): Promise<readonly Node[]> {
    const { node } = await this.get(key, options);
    return node.dir ? (node.nodes ?? []) : [node];
  }

  /** Creates or replaces. @throws NotAFileError for a directory */
  set(key: string, value: Value, options: SetOptions = {}): Promise<KeysAnswer> {
    const { dir, prevValue, prevIndex, prevExist, ttl, refresh } = options;
    const isConditional = prevValue !== undefined || (prevIndex ?? 0) !== 0;
    const isNew = prevExist === false || (dir === true && prevExist === undefined);
    return this.#keys(
      {
        method: "PUT",
        key,
        query: { dir: dir || undefined, prevValue, prevIndex, prevExist },
        form: { value: dir ? undefined : value, ttl, refresh: refresh || undefined },
      },
      options,
      !isConditional && !isNew,
    );
  }

  /** @throws KeyExistsError */
  create(key: string, value: Value, options: TtlOptions = {}): Promise<KeysAnswer> {
    return this.set(key, value, { ...options, prevExist: false });
  }

  /** Adds a key to a directory; its generated name sorts after all earlier ones. */
  createInOrder(directory: string, value: Value, options: TtlOptions = {}): Promise<KeysAnswer> {
    const { ttl } = options;
    return this.#keys({ method: "POST", key: directory, form: { value, ttl } }, options, false);
  }

  /** @throws KeyNotFoundError */
  update(key: string, value: Value, options: TtlOptions = {}): Promise<KeysAnswer> {
    return this.set(key, value, { ...options, prevExist: true });
  }

  /**
   * Replaces a file if it has this value (not empty), this modifiedIndex, or both.
   *
   * @throws CompareFailedError, KeyNotFoundError
   */
  async compareAndSwap(
    key: string,
    value: Value,
    options: CompareAndSwapOptions,
  ): Promise<KeysAnswer> {
    return this.set(key, value, compared(options));
  }

  /** @throws KeyNotFoundError, and for directories NotAFileError, DirectoryNotEmptyError */
  delete(key: string, options: DeleteOptions = {}): Promise<KeysAnswer> {
    const { prevValue, prevIndex, dir, recursive } = options;
    const query = {
      prevValue,
      prevIndex,
      dir: dir || undefined,
      recursive: recursive || undefined,
    };
    return this.#keys({ method: "DELETE", key, query }, options, false);
  }

  /** @throws CompareFailedError, KeyNotFoundError */
  async compareAndDelete(key: string, options: CompareOptions): Promise<KeysAnswer> {
    return this.delete(key, compared(options));
  }

  /** @throws KeyExistsError */
  mkdir(key: string, options: TtlOptions = {}): Promise<KeysAnswer> {
    return this.set(key, "", { ...options, dir: true, prevExist: false });
  }

  /**
   * Creates a directory, or replaces a file by one.
   *
   * @throws NotAFileError if the directory exists
   */
  setDir(key: string, options: TtlOptions = {}): Promise<KeysAnswer> {
    return this.set(key, "", { ...options, dir: true });
  }

  /** Sets the TTL of a directory, or makes it permanent. @throws KeyNotFoundError */
  updateDir(key: string, options: TtlOptions = {}): Promise<KeysAnswer> {
    return this.set(key, "", { ...options, dir: true, prevExist: true });
  }

  /** Renews a TTL (seconds) without an event; the value stays. @throws KeyNotFoundError */
  refresh(key: string, ttl: number, options: RefreshOptions = {}): Promise<KeysAnswer> {
    return this.set(key, "", { ...options, ttl, refresh: true, prevExist: true });
  }

  /**
   * Yields the changes of a key in order, each once. It resumes at another member when one fails,
   * and yields an item of kind `reset` when events were lost.
   *
   * @throws EtcdError (not allowed), UnavailableError (see `outageMs`)
   */
  watch(key: string, options: WatchOptions = {}): Watch {
    return watchKey(this.#cluster, key, options);
  }

  // ---- the cluster ----

  /** Of the pinned member, unless `endpoint` is given; so are the other statistics. */
  selfStats(options: CallOptions = {}): Promise<SelfStats> {
    return callJsonApi(this.#cluster, "GET", "/v2/stats/self", options) as Promise<SelfStats>;
  }

  /** @throws ApiError from any member but the leader */
  leaderStats(options: CallOptions = {}): Promise<LeaderStats> {
    return callJsonApi(this.#cluster, "GET", "/v2/stats/leader", options) as Promise<LeaderStats>;
  }

  storeStats(options: CallOptions = {}): Promise<StoreStats> {
    return callJsonApi(this.#cluster, "GET", "/v2/stats/store", options) as Promise<StoreStats>;
  }

  version(options: CallOptions = {}): Promise<Version> {
    return callJsonApi(this.#cluster, "GET", "/version", options) as Promise<Version>;
  }

  /** Whether one member has a quorum. @throws UnavailableError if it cannot be reached */
  health(options: CallOptions = {}): Promise<boolean> {
    return this.#cluster.isHealthy(options);
  }

  /** URLs in the order they are tried. */
  get endpoints(): readonly string[] {
    return this.#cluster.endpoints;
  }

  /** @throws TypeError for an invalid URL, NoEndpointsError for none */
  set endpoints(urls: readonly string[]) {
    this.#cluster.endpoints = urls;
  }

  /**
   * Replaces the endpoints by the client URLs of all members.
   *
   * @returns the endpoints
   * @throws NoEndpointsError if the members advertise none
   */
  async syncEndpoints(options: CallOptions = {}): Promise<readonly string[]> {
    const members = await this.members.list(options);
    const urls = members.flatMap(({ clientURLs }) => clientURLs);
    if (urls.length === 0) throw new NoEndpointsError();
    this.#cluster.replace(urls);
    return this.endpoints;
  }

  /** Any other path, such as `/metrics`. @param path with a leading slash, not encoded */
  request(
    method: MemberRequest["method"],
    path: string,
    options: RequestOptions = {},
  ): Promise<ReadAnswer> {
    const query = encodeQuery(options.query ?? {});
    const request: MemberRequest = {
      method,
      path: encodePath(path) + (query === "" ? "" : `?${query}`),
      body: options.json === undefined ? undefined : JSON.stringify(options.json),
      contentType: options.json === undefined ? undefined : "application/json",
    };
    return this.#cluster.request(request, options, options.repeat ?? method === "GET");
  }

  /** Ends all calls and watches and closes the connections. */
  close(): Promise<void> {
    return this.#cluster.close();
  }

  async #keys(change: KeysCall, options: CallOptions, isRepeatable = true): Promise<KeysAnswer> {
    const repeat = options.repeat ?? isRepeatable;
    return readKeysAnswer(await this.#cluster.request(keysRequest(change), options, repeat));
  }
}

/** Options of `Client.request`. */
export interface RequestOptions extends CallOptions {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>> | undefined;
  /** Sent as JSON. */
  readonly json?: unknown;
}

/** Without a condition it would be an unconditional write, which nobody means by this name. */
function compared<T extends CompareOptions>(options: T): T {
  if ((options.prevValue ?? "") === "" && (options.prevIndex ?? 0) === 0) {
    throw new TypeError("compare needs prevValue (not empty) or prevIndex (not 0)");
  }
  return options;
}
