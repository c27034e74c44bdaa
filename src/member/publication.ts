import { publishAttributesCommand, setClusterVersionCommand } from "../cluster/commands.js";
import { formatId } from "../cluster/ids.js";
import type { Membership } from "../cluster/membership.js";
import { attributesPath, VERSION_PATH } from "../cluster/paths.js";
import type { Config } from "../config/config.js";
import { assert } from "../lib/assert.js";
import { type Command, CommandOp } from "../store/command.js";
import { COMPAT_CLUSTER_VERSION } from "../v2/status.js";

/** How long a command may be in flight before it is proposed again. */
const RETRY_MS = 2000;

export interface PublicationSources {
  readonly config: Config;
  readonly memberId: bigint;
  readonly clusterId: bigint;
  readonly membership: Membership;
}

export interface PublicationPorts {
  /** Proposes one of the member's own commands; false if that is impossible now. */
  readonly propose: (command: Command) => boolean;
  /** Whether this member knows the cluster's time; until then it accepts no writes. */
  readonly hasTime: () => boolean;
  /**
   * Called once, when this member begins to serve clients.
   *
   * @param news log lines that test harnesses and supervisors wait for before they connect
   */
  readonly onReady: (news: readonly string[]) => void;
}

/**
 * The last steps of a start, each a log entry that is repeated until applied: this member publishes
 * its name and client URLs; the leader sets the cluster version; then the member is ready.
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
  /** When to publish once more if the time has not come; undefined unless it is waited for. */
  #timeByMs: number | undefined;

  constructor(sources: PublicationSources, ports: PublicationPorts) {
    assert(sources.memberId > 0n && sources.clusterId > 0n, "a member and its cluster have ids");
    this.#config = sources.config;
    this.#id = sources.memberId;
    this.#clusterId = sources.clusterId;
    this.#membership = sources.membership;
    this.#ports = ports;
  }

  /** Call while a leader is known: proposes the next step when it is due. */
  step(isLeader: boolean, clusterMs: number, monoMs: number): void {
    assert(this.#isPublished || !this.#isReady, "a member is published before it is ready");
    this.#awaitTime(isLeader, monoMs);
    if (monoMs < this.#retryMs) return;
    if (!this.#isPublished) this.#propose(this.#attributes(clusterMs), monoMs);
    else if (isLeader && this.#membership.version === "") {
      this.#propose(setClusterVersionCommand(COMPAT_CLUSTER_VERSION, clusterMs), monoMs);
    }
  }

  /** A command in flight may have been lost on its way to the leader: the next step is due. */
  onLeaderReached(): void {
    this.#retryMs = Number.NEGATIVE_INFINITY;
  }

  /** One of this member's own commands was applied. */
  onOwnCommand(command: Command): void {
    if (command.op !== CommandOp.set || command.path === VERSION_PATH) return;
    assert(command.path === attributesPath(this.#id), "a member publishes itself alone");
    if (this.#isPublished) return;
    this.#isPublished = true;
    this.#retryMs = Number.NEGATIVE_INFINITY;
  }

  /** Until it is ready: the time came too late, and comes once more after another publication. */
  again(): void {
    if (this.#isReady) return;
    this.#isPublished = false;
    this.#retryMs = Number.NEGATIVE_INFINITY;
  }

  /** Call when the membership, the cluster version or the cluster's time may have become known. */
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

  /**
   * The SYNC that follows the publication may be part of a snapshot that does not tell it apart
   * from an earlier one; the leader owes no other.
   */
  #awaitTime(isLeader: boolean, monoMs: number): void {
    if (!this.#isPublished || isLeader || this.#ports.hasTime()) this.#timeByMs = undefined;
    else if (this.#timeByMs === undefined) this.#timeByMs = monoMs + RETRY_MS;
    else if (monoMs >= this.#timeByMs) this.again();
  }

  #attributes(clusterMs: number): Command {
    const { name, advertiseClientUrls } = this.#config;
    return publishAttributesCommand(this.#id, name, advertiseClientUrls, clusterMs);
  }

  #propose(command: Command, monoMs: number): void {
    assert(!this.#isReady, "a member that is ready has taken all steps of its start");
    if (this.#ports.propose(command)) this.#retryMs = monoMs + RETRY_MS;
  }
}
