import { VERSION_PATH } from "../cluster/paths.js";
import { cleanPath } from "../go/clean-path.js";
import { type Command, CommandOp, commandOf, syncCommand } from "../store/command.js";
import { PERMANENT } from "../store/node.js";
import type { Store } from "../store/store.js";
import { EtcdMembers } from "./members.js";
import {
  decodeEtcdCommand,
  decodeEtcdConfChange,
  type EtcdEntry,
  type EtcdRequest,
} from "./messages.js";
import { msOfNs } from "./store-json.js";

const CONF_CHANGE = 1;
/** Digits of an in-order key's name, from etcd 2.3 on. */
const IN_ORDER_DIGITS = 20;

/**
 * Applies entries of etcd's log to the store as etcd does (etcdserver/apply_v2.go, server.go), so
 * that every change takes the index it took there.
 */
export class EtcdReplay {
  readonly store: Store;
  readonly members: EtcdMembers;
  readonly #shownAtMs: number;
  #v3Requests = 0;
  #syncMs = 0;

  /**
   * @param shownAtMs the time for which the events of the replay show their TTLs: etcd computes
   *   them when it replays its log
   */
  constructor(store: Store, shownAtMs: number) {
    this.store = store;
    this.members = new EtcdMembers(store);
    this.#shownAtMs = shownAtMs;
  }

  /** Requests of the v3 API, which were skipped. */
  get v3Requests(): number {
    return this.#v3Requests;
  }

  /** The latest time of the log, Unix milliseconds; 0 if it has none. */
  get syncMs(): number {
    return this.#syncMs;
  }

  /** @throws ProtobufError */
  apply({ type, data }: EtcdEntry): void {
    if (type === CONF_CHANGE) {
      this.members.change(decodeEtcdConfChange(data));
      return;
    }
    if (data.length === 0) return; // A new leader's first entry.
    const command = decodeEtcdCommand(data);
    switch (command.kind) {
      case "v2":
        this.#request(command.request);
        return;
      case "version":
        this.#setVersion(command.version);
        return;
      case "attributes":
        this.members.publish(command.memberId, command.name, command.clientUrls, this.#shownAtMs);
        return;
      case "v3":
        this.#v3Requests++;
        return;
    }
  }

  #request(request: EtcdRequest): void {
    const path = cleanPath(request.path).replace(/(?<=.)\/$/, "");
    switch (request.method) {
      case "POST": {
        const name = String(this.store.index + 1).padStart(this.#digits(), "0");
        this.store.apply(this.#command(CommandOp.create, `${path}/${name}`, request));
        return;
      }
      case "PUT":
        this.#put(path, request);
        return;
      case "DELETE": {
        const isConditional = request.prevIndex > 0n || request.prevValue !== "";
        const op = isConditional ? CommandOp.compareAndDelete : CommandOp.delete;
        this.store.apply(this.#command(op, path, request));
        return;
      }
      case "QGET":
        this.store.read(path);
        return;
      case "SYNC": {
        const timeMs = msOfNs(request.timeNs);
        this.#syncMs = Math.max(this.#syncMs, timeMs);
        this.store.apply(syncCommand(timeMs));
        return;
      }
    }
  }

  #put(path: string, request: EtcdRequest): void {
    const isConditional = request.prevIndex > 0n || request.prevValue !== "";
    if (request.prevExist === false) {
      this.store.apply(this.#command(CommandOp.create, path, request));
    } else if (isConditional) {
      this.store.apply(this.#command(CommandOp.compareAndSwap, path, request));
    } else if (request.prevExist === true) {
      this.store.apply(this.#command(CommandOp.update, path, request));
    } else if (path === VERSION_PATH) {
      this.#setVersion(request.value);
    } else if (!this.members.publishJson(path, request.value, this.#shownAtMs)) {
      this.store.apply(this.#command(CommandOp.set, path, request));
    }
  }

  #setVersion(version: string): void {
    this.store.apply(commandOf(CommandOp.set, VERSION_PATH, version, this.#shownAtMs));
  }

  #command(op: CommandOp, path: string, request: EtcdRequest): Command {
    const { prevIndex } = request;
    return commandOf(op, path, request.value, this.#shownAtMs, {
      isDirectory: request.isDirectory,
      isRecursive: request.isRecursive,
      isRefresh: request.isRefresh,
      expirationMs: request.expirationNs === 0n ? PERMANENT : msOfNs(request.expirationNs),
      prevValue: request.prevValue,
      prevIndex: prevIndex <= Number.MAX_SAFE_INTEGER ? Number(prevIndex) : prevIndex,
    });
  }

  /** etcd before 2.3 did not pad the names of in-order keys. */
  #digits(): number {
    const [major = 0, minor = 0] = (this.store.get(VERSION_PATH)?.value ?? "3.0")
      .split(".")
      .map(Number);
    return major < 2 || (major === 2 && minor < 3) ? 0 : IN_ORDER_DIGITS;
  }
}
