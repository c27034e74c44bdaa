import { publishAttributesCommand, setClusterVersionCommand } from "../cluster/commands.js";
import { formatId } from "../cluster/ids.js";
import type { Membership } from "../cluster/membership.js";
import { VERSION_PATH } from "../cluster/paths.js";
import type { Config } from "../config/config.js";
import { type Command, CommandOp } from "../store/command.js";
import { COMPAT_CLUSTER_VERSION } from "../v2/status.js";

/** How long one of the commands may be under way before it is proposed again. */
const RETRY_MS = 2000;

export interface PublicationSources {
  readonly config: Config;
  readonly memberId: bigint;
  readonly clusterId: bigint;
  readonly membership: Membership;
}

export interface PublicationPorts {
  /** Proposes a command of the member's own; false if that cannot be done now. */
  readonly propose: (command: Command) => boolean;
  /** Whether this member knows the cluster's time, without which it takes no writes. */
  readonly hasTime: () => boolean;
  /**
   * Once: this member serves clients from now on.
   *
   * @param news lines that those who start members wait for in its log, to connect at once
   */
  readonly onReady: (news: readonly string[]) => void;
}

/**
 * The steps of a start, each a log entry, each repeated until it is applied: this member tells the
 * cluster its name and client URLs; the leader sets the cluster version; with both known the member
 * is ready.
 */
export class Publication {
  readonly #config: Config;
  readonly #id: bigint;
  readonly #clusterId: bigint;
  readonly #membership: Membership;
  readonly #ports: PublicationPorts;
  #isPublished = false;
  #isReady = false;
  #retryMs = Number.NEGATIVE_INFINITY;

  constructor(sources: PublicationSources, ports: PublicationPorts) {
    this.#config = sources.config;
    this.#id = sources.memberId;
    this.#clusterId = sources.clusterId;
    this.#membership = sources.membership;
    this.#ports = ports;
  }

  /** There is a leader, and time has passed. */
  step(isLeader: boolean, clusterMs: number, monoMs: number): void {
    if (monoMs < this.#retryMs) return;
    if (!this.#isPublished) this.#propose(this.#attributes(clusterMs), monoMs);
    else if (isLeader && this.#membership.version === "") {
      this.#propose(setClusterVersionCommand(COMPAT_CLUSTER_VERSION, clusterMs), monoMs);
    }
  }

  /** A command that this member itself proposed was applied. */
  onOwnCommand(command: Command): void {
    if (command.op !== CommandOp.set || command.path === VERSION_PATH) return;
    if (this.#isPublished) return;
    this.#isPublished = true;
    this.#retryMs = Number.NEGATIVE_INFINITY;
  }

  /** The membership or the cluster version may have changed, or the cluster's time become known. */
  check(): void {
    if (this.#isReady || !this.#isPublished || this.#membership.version === "") return;
    if (!this.#ports.hasTime()) return;
    this.#isReady = true;
    const { name, advertiseClientUrls } = this.#config;
    const text = `{Name:${name} ClientURLs:[${advertiseClientUrls.join(" ")}]}`;
    const minor = this.#membership.version.split(".").slice(0, 2).join(".");
    this.#ports.onReady([
      `published ${text} to cluster ${formatId(this.#clusterId)}`,
      `enabled capabilities for version ${minor}`,
    ]);
  }

  #attributes(clusterMs: number): Command {
    const { name, advertiseClientUrls } = this.#config;
    return publishAttributesCommand(this.#id, name, advertiseClientUrls, clusterMs);
  }

  #propose(command: Command, monoMs: number): void {
    if (this.#ports.propose(command)) this.#retryMs = monoMs + RETRY_MS;
  }
}
