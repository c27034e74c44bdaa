import type { StartPlan } from "../bootstrap/start-plan.js";
import type { Config } from "../config/config.js";
import { hasTlsThread } from "../config/frontends.js";
import { createLogCells } from "../log/logger.js";
import { createMetricsMemory } from "../metrics/cells.js";
import { createProfileCells, type ProfileReport } from "../process/profiler.js";
import { createPulse } from "../process/pulse.js";
import { Bell } from "../ring/bell.js";
import { createRing } from "../ring/ring.js";
import type { LocalRequest, LocalResponse } from "./local.js";

/**
 * READ FIRST. All threads of a member, and everything they share: rings, each with one producer and
 * one consumer, a bell for each thread, and cells for metrics and the log level.
 *
 *   ring      from      to        records      carries
 *   requests  frontend  core      RequestType  HTTP requests, aborts, stop
 *   responses core      frontend  ResponseType responses, watch events
 *   append    core      wal       AppendType   log entries, hard states, ends of jobs
 *   durable   wal       core      DurableType  the disk's content at start; durable jobs
 *   jobs      core      pool      JobType      a snapshot to be written to a file
 *   outcomes  pool      core      OutcomeType  how each job ended
 *   saveJobs  core      pool      JobType      a snapshot for --snapshot-interval
 *   saveOutc. pool      core      OutcomeType
 *   hashJobs  core      pool      HashJobType  passwords to hash or to compare
 *   hashOutc. pool      core      HashOutcomeType
 *   outbox    core      peer      OutboxType   raft messages to other members, the membership
 *   inbox     peer      core      InboxType    raft messages from them, the state of the streams
 *
 * Each frontend has its own pair of requests and responses; the first frontend is the main thread,
 * the last one serves the ports with TLS, if there are any.
 *
 * The pool is piscina's. The main thread awaits the pool's bell; when a job is in the ring, it
 * makes piscina run thread/pool-worker.ts, which takes that one job and parks on the bell until the
 * job's end. The worker has its own ends of both rings: no record passes through the main thread,
 * and the core does not depend on piscina. Passwords have rings and a thread of their own
 * (thread/hash-worker.ts), so that they do not wait for a snapshot, nor it for them; and so have
 * snapshots for --snapshot-interval, whose file system may be slow or gone.
 *
 * Start: main creates the topology; peer and main bind all ports, where early connections wait;
 * only then does the member send requests or write: main plans a first start; wal locks the data
 * directory and replays the disk; core restores the store from that and starts raft; peer gets the
 * member's identity, serves and dials; core publishes the member; then main serves the waiting
 * requests, and other frontends listen.
 *
 * Stop: frontends stop listening; core finishes accepted requests, ends watches, then makes wal and
 * peer close; main exits when all three are done, even with a pool job in flight: its partial file
 * is removed at the next start. A thread that crashes or exits unexpectedly ends the process.
 */
export interface Topology {
  readonly frontends: readonly FrontendMemory[];
  readonly append: SharedArrayBuffer;
  readonly durable: SharedArrayBuffer;
  readonly jobs: SharedArrayBuffer;
  readonly outcomes: SharedArrayBuffer;
  readonly saveJobs: SharedArrayBuffer;
  readonly saveOutcomes: SharedArrayBuffer;
  readonly hashJobs: SharedArrayBuffer;
  readonly hashOutcomes: SharedArrayBuffer;
  readonly outbox: SharedArrayBuffer;
  readonly inbox: SharedArrayBuffer;
  readonly peerBell: SharedArrayBuffer;
  readonly coreBell: SharedArrayBuffer;
  readonly walBell: SharedArrayBuffer;
  readonly poolBell: SharedArrayBuffer;
  readonly saveBell: SharedArrayBuffer;
  readonly hashBell: SharedArrayBuffer;
  /** Parts, by index: core, wal, peer, then one per frontend. */
  readonly metrics: SharedArrayBuffer;
  readonly logLevel: SharedArrayBuffer;
  /** Profiles requested from threads, by part as in `metrics`. */
  readonly profiles: SharedArrayBuffer;
  /** Beats of the threads, by part as in `metrics`. */
  readonly pulse: SharedArrayBuffer;
}

export interface FrontendMemory {
  readonly requests: SharedArrayBuffer;
  readonly responses: SharedArrayBuffer;
  readonly bell: SharedArrayBuffer;
}

const MIB = 1024 * 1024;
export const REQUESTS_RING_BYTES = 4 * MIB;
export const RESPONSES_RING_BYTES = 8 * MIB;
export const APPEND_RING_BYTES = 8 * MIB;
export const DURABLE_RING_BYTES = 4 * MIB;
export const JOBS_RING_BYTES = 4 * MIB;
export const OUTCOMES_RING_BYTES = MIB / 16;
/** Its blocks are paced. */
export const SAVE_RING_BYTES = MIB / 2;
/** Passwords are short, and few wait. */
export const HASH_RING_BYTES = MIB / 16;
export const PEER_RING_BYTES = 8 * MIB;

/** Sizes of the rings' data areas in bytes; powers of two. */
export interface RingSizes {
  readonly requests: number;
  readonly responses: number;
  readonly append: number;
  readonly durable: number;
  readonly jobs: number;
  readonly outcomes: number;
  readonly peer: number;
}

const RING_SIZES: RingSizes = {
  requests: REQUESTS_RING_BYTES,
  responses: RESPONSES_RING_BYTES,
  append: APPEND_RING_BYTES,
  durable: DURABLE_RING_BYTES,
  jobs: JOBS_RING_BYTES,
  outcomes: OUTCOMES_RING_BYTES,
  peer: PEER_RING_BYTES,
};

export const CORE_PART = 0;
export const WAL_PART = 1;
export const PEER_PART = 2;
export const FIRST_FRONTEND_PART = 3;

/** @param sizes smaller in simulations, which create hundreds of members per minute */
export function createTopology(config: Config, sizes: RingSizes = RING_SIZES): Topology {
  const frontends = config.frontendThreads + (hasTlsThread(config) ? 1 : 0);
  return {
    frontends: Array.from({ length: frontends }, () => ({
      requests: createRing(sizes.requests),
      responses: createRing(sizes.responses),
      bell: Bell.create(),
    })),
    append: createRing(sizes.append),
    durable: createRing(sizes.durable),
    jobs: createRing(sizes.jobs),
    outcomes: createRing(sizes.outcomes),
    saveJobs: createRing(SAVE_RING_BYTES),
    saveOutcomes: createRing(OUTCOMES_RING_BYTES),
    hashJobs: createRing(HASH_RING_BYTES),
    hashOutcomes: createRing(HASH_RING_BYTES),
    outbox: createRing(sizes.peer),
    inbox: createRing(sizes.peer),
    peerBell: Bell.create(),
    coreBell: Bell.create(),
    walBell: Bell.create(),
    poolBell: Bell.create(),
    saveBell: Bell.create(),
    hashBell: Bell.create(),
    metrics: createMetricsMemory(FIRST_FRONTEND_PART + frontends),
    logLevel: createLogCells(config.log.level),
    profiles: createProfileCells(FIRST_FRONTEND_PART + frontends),
    pulse: createPulse(FIRST_FRONTEND_PART + frontends),
  };
}

/** Input of a worker thread. */
export interface WorkerInput {
  readonly config: Config;
  readonly topology: Topology;
  /** Undefined if there is a log, which takes the plan's place. */
  readonly plan: StartPlan | undefined;
}

/** The member's identity in its log. Posted to the peer thread as its only message. */
export interface MemberIdentity {
  readonly memberId: bigint;
  readonly clusterId: bigint;
}

/** Messages of a worker to the main thread: at start and stop, and for `--enable-pprof`. */
export type WorkerMessage =
  | ProfileReport
  | { readonly kind: "recovered"; readonly identity: MemberIdentity }
  | { readonly kind: "ready" }
  /** The core is ready. `news` are lines to log as soon as clients are served. */
  | { readonly kind: "published"; readonly news: readonly string[] }
  | { readonly kind: "failed"; readonly code: string; readonly message: string }
  | { readonly kind: "stopped" };

/** Input of a frontend's thread. */
export interface FrontendInput {
  readonly config: Config;
  readonly topology: Topology;
  /** Undefined for the thread of the ports with TLS, which is told when to serve. */
  readonly identity: MemberIdentity | undefined;
  /** Index in `Topology.frontends`; the main thread has 0. */
  readonly frontend: number;
  /** Of the main thread, to be shared. */
  readonly endpoints: readonly { readonly host: string; readonly port: number }[];
}

/** Messages of a frontend's thread to the main thread. */
export type FrontendMessage =
  | Extract<WorkerMessage, { kind: "ready" | "failed" | "profile" }>
  | { readonly kind: "ask"; readonly id: number; readonly request: LocalRequest };

/** Messages of the main thread to a frontend's. */
export type FrontendOrder =
  /** To the thread of the ports with TLS: the member is ready. */
  | { readonly kind: "serve"; readonly identity: MemberIdentity }
  | { readonly kind: "stopListening" }
  | { readonly kind: "close" }
  | { readonly kind: "answer"; readonly id: number; readonly answer: LocalResponse };
