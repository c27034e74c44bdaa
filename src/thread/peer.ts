import { once } from "node:events";
import { join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import type { TlsSettings } from "../config/tls.js";
import { assert, unreachable } from "../lib/assert.js";
import { RingdError } from "../lib/errors.js";
import { createLogger } from "../log/logger.js";
import { InboxType, OutboxType, readMembers, writePeerEvent } from "../messages/peers.js";
import {
  type MemberIdentity,
  PEER_PART,
  type WorkerInput,
  type WorkerMessage,
} from "../messages/topology.js";
import { MetricCells } from "../metrics/cells.js";
import { PeerTable } from "../metrics/peer-table.js";
import { PeerListener } from "../peer/listener.js";
import { type PeerInbox, PeerNetwork } from "../peer/network.js";
import { flushCompileCache } from "../process/compile-cache.js";
import { ProfiledThread } from "../process/profiler.js";
import { Pulse } from "../process/pulse.js";
import { Bell } from "../ring/bell.js";
import { EventLoopPort } from "../ring/event-loop-port.js";
import { Inlet, type OnCursor, Outlet } from "../ring/fragments.js";
import { RingReader, RingWriter } from "../ring/ring.js";
import type { TlsIdentity } from "../tls/identity.js";
import { portMetrics } from "./port-metrics.js";

/**
 * The thread that talks to the other members. It sleeps in its event loop; sockets wake it, and its
 * bell when the core has written to the outbox or made room in the inbox.
 */

/** A snapshot transfer without progress for so long is aborted. */
const SNAPSHOT_STALL_MS = 10_000;

const { config, topology } = workerData as WorkerInput;
const log = createLogger(config.log, "peer", topology.logLevel);
const metrics = new MetricCells(topology.metrics, PEER_PART);
const coreBell = new Bell(topology.coreBell);

function tellMain(message: WorkerMessage): void {
  parentPort?.postMessage(message);
}

/** This thread's end of both rings to the core, and its bell. */
class CorePort implements PeerInbox {
  readonly #inbox = new Outlet(new RingWriter(topology.inbox, coreBell));
  readonly #port: EventLoopPort;

  /**
   * @param onRecord takes what the core sent
   * @param onTurn after each batch of that
   */
  constructor(onRecord: OnCursor<OutboxType>, onTurn: () => void) {
    this.#port = new EventLoopPort({
      outlet: this.#inbox,
      inlet: Inlet.withCursor(new RingReader(topology.outbox, coreBell), onRecord),
      bell: new Bell(topology.peerBell),
      later: setImmediate,
      onTurn: () => {
        onTurn();
        return false;
      },
      figures: portMetrics(metrics, "peer"),
    });
  }

  start(): void {
    this.#port.start();
  }

  get queuedBytes(): number {
    return this.#inbox.queuedBytes;
  }

  message(payload: Buffer): void {
    this.#inbox.open(payload.length);
    payload.copy(this.#inbox.bytes, this.#inbox.at);
    this.#inbox.close(InboxType.message, payload.length);
    this.#port.sent();
  }

  up(id: bigint, format: number): void {
    this.#event(InboxType.up, id, format);
  }

  down(id: bigint): void {
    this.#event(InboxType.down, id);
  }

  overflow(id: bigint): void {
    this.#event(InboxType.overflow, id);
  }

  snapshotSent(id: bigint, hasArrived: boolean): void {
    this.#event(InboxType.snapshotSent, id, hasArrived ? 1 : 0);
  }

  snapshotReceived(payload: Uint8Array): void {
    this.#inbox.open(payload.length);
    this.#inbox.bytes.set(payload, this.#inbox.at);
    this.#inbox.close(InboxType.snapshotReceived, payload.length);
    this.#port.sent();
  }

  removed(): void {
    this.#event(InboxType.removed, 0n);
  }

  /** Stops reading from the core; publishes records still queued for it. */
  close(): void {
    this.#port.close();
  }

  #event(type: number, id: bigint, value = 0): void {
    writePeerEvent(this.#inbox, type, id, value);
    this.#port.sent();
  }
}

interface Opened {
  readonly listener: PeerListener;
  /** The certificates of TLS between members. */
  readonly tls: TlsIdentity | undefined;
}

/** @returns undefined if it failed, which the main thread has been told */
async function listen(): Promise<Opened | undefined> {
  const { peerTls, listenPeerUrls } = config;
  let listener: PeerListener | undefined;
  try {
    const tls = peerTls && (await openTls(peerTls));
    listener = new PeerListener(undefined, {}, tls && { identity: tls, log });
    for (const url of listenPeerUrls) await listener.listen(url);
    return { listener, tls };
  } catch (error) {
    if (!(error instanceof RingdError)) throw error;
    listener?.close();
    tellMain({ kind: "failed", code: error.code, message: error.message });
    return undefined;
  }
}

/** Loads its code only here: a member without TLS does not need it. @throws TlsFileError */
async function openTls(settings: TlsSettings): Promise<TlsIdentity> {
  const { TlsIdentity } = await import("../tls/identity.js");
  const { filesOf } = await import("../tls/files.js");
  const tls = await TlsIdentity.open(settings, { log, metrics });
  const { trustedCaFile, takesCommonName, crlFile } = settings;
  const { cert, key } = filesOf(settings);
  // As etcd's TLSInfo.
  log.info(
    `peerTLS: cert = ${cert.file}, key = ${key.file}, trusted-ca = ${trustedCaFile}, ` +
      `client-cert-auth = ${takesCommonName}, crl-file = ${crlFile}`,
  );
  return tls;
}

async function main(): Promise<void> {
  assert(parentPort !== null, "this is a worker thread");
  // Before the identity is known: a port in use then fails a start that has changed nothing yet.
  const opened = await listen();
  if (opened === undefined) return;
  const { listener, tls } = opened;
  tellMain({ kind: "ready" });
  const [identity] = (await once(parentPort, "message")) as [MemberIdentity];
  let isStopping = false;
  const port: CorePort = new CorePort(
    (record) => {
      const { type } = record;
      switch (type) {
        case OutboxType.message:
          return network.send(record.bytes(0));
        case OutboxType.members:
          return network.setMembers(readMembers(record));
        case OutboxType.stop:
          isStopping = true;
          return;
        default:
          unreachable(type);
      }
    },
    () => {
      network.flush();
      network.inboxMoved();
      if (isStopping) void stop();
    },
  );
  const network = new PeerNetwork({
    identity,
    heartbeatMs: config.heartbeatMs,
    electionMs: config.electionMs,
    advertisedUrls: config.initialAdvertisePeerUrls,
    snapDir: join(config.dataDir, "member", "snap"),
    maxSnapshots: config.maxSnapshots,
    snapshotStallMs: SNAPSHOT_STALL_MS,
    formatLevel: config.formatLevel,
    trust: tls,
    log,
    inbox: port,
    listener,
    figures: new PeerTable(metrics, "links"),
  });
  const stop = async () => {
    port.close();
    await network.stop();
    port.close();
    tellMain({ kind: "stopped" });
  };
  for (const url of config.listenPeerUrls) log.info(`serving peer requests on ${url.text}`);
  if (config.enablePprof) {
    new ProfiledThread(topology.profiles, PEER_PART, tellMain).pollByTimer();
  }
  new Pulse(topology.pulse, PEER_PART).beatByTimer();
  port.start();
  flushCompileCache();
}

void main();
