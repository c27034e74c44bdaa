import type { StartPlan } from "../bootstrap/start-plan.js";
import type { Config } from "../config/config.js";
import { createLevelCell } from "../log/logger.js";
import { createMetricsMemory } from "../metrics/cells.js";
import { createProfileCells } from "../process/profiler.js";
import { Bell } from "../ring/bell.js";
import { createRing } from "../ring/ring.js";
import type { LocalRequest, LocalResponse } from "./local.js";

/**
 * READ FIRST. All threads of a member, and all that they share: rings, each with one producer and
 * one consumer, a bell for each thread, and cells for metrics and the log level.
 *
 *   ring      from      to        records       carries
 *   requests  frontend  core      RequestType   HTTP requests, aborts, stop
 *   answers   core      frontend  ResponseType  responses, watch events
 *   append    core      wal       AppendType    log entries, hard states, ends of jobs
 *   durable   wal       core      DurableType   what the disk held at start; jobs that are durable
 *   jobs      core      pool      JobType       a snapshot on its way to a file
 *   outcomes  pool      core      OutcomeType   how each job ended
 *   outbox    core      peer      OutboxType    raft messages to other members, the membership
 *   inbox     peer      core      InboxType     raft messages from them, the state of the streams
 *
 * There is a pair of requests and answers for each frontend; the first frontend is the main thread.
 *
 * The pool is piscina's. The main thread awaits the pool's bell; when a job is in the ring it has
 * piscina run thread/pool-worker.ts, which takes that one job and parks on the bell until the job's
 * end. The job's thread holds its ends of both rings itself: no record passes through the main
 * thread, and the core knows nothing of piscina.
 *
 * Start: main makes this; peer and main bind all ports, where clients and members that connect
 * wait; only then is anything asked or written: main plans a first start, wal locks the data
 * directory and reads the disk; core takes what it read, restores the store and starts raft; peer
 * is told who this member is, serves and dials; core publishes the member; then main serves the
 * requests that wait, and other frontends listen.
 *
 * Stop: frontends stop listening; core finishes what it accepted, ends watches, then tells wal and
 * peer to close; main exits when all three are done, whether or not a job of the pool is in flight:
 * what it leaves of a file is removed at the next start. A thread that crashes, or ends otherwise,
 * takes the process down.
 */
export interface Topology {
  readonly frontends: readonly FrontendMemory[];
  readonly append: SharedArrayBuffer;
  readonly durable: SharedArrayBuffer;
  readonly jobs: SharedArrayBuffer;
  readonly outcomes: SharedArrayBuffer;
  readonly outbox: SharedArrayBuffer;
  readonly inbox: SharedArrayBuffer;
  readonly peerBell: SharedArrayBuffer;
  readonly coreBell: SharedArrayBuffer;
  readonly walBell: SharedArrayBuffer;
  readonly poolBell: SharedArrayBuffer;
  /** Parts: core, wal, peer, then one for each frontend. */
  readonly metrics: SharedArrayBuffer;
  readonly logLevel: SharedArrayBuffer;
  /** Profiles that threads are to make of themselves; by part, as metrics. */
  readonly profiles: SharedArrayBuffer;
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

/** @param sizes a simulation, with hundreds of members in a minute, has smaller rings */
export function createTopology(config: Config, sizes: RingSizes = RING_SIZES): Topology {
  const { frontendThreads } = config;
  return {
    frontends: Array.from({ length: frontendThreads }, () => ({
      requests: createRing(sizes.requests),
      responses: createRing(sizes.responses),
      bell: Bell.create(),
    })),
    append: createRing(sizes.append),
    durable: createRing(sizes.durable),
    jobs: createRing(sizes.jobs),
    outcomes: createRing(sizes.outcomes),
    outbox: createRing(sizes.peer),
    inbox: createRing(sizes.peer),
    peerBell: Bell.create(),
    coreBell: Bell.create(),
    walBell: Bell.create(),
    poolBell: Bell.create(),
    metrics: createMetricsMemory(FIRST_FRONTEND_PART + frontendThreads),
    logLevel: createLevelCell(config.log.level),
    profiles: createProfileCells(FIRST_FRONTEND_PART + frontendThreads),
  };
}

/** What a worker thread is given. */
export interface WorkerInput {
  readonly config: Config;
  readonly topology: Topology;
  /** Undefined where there is a log: it says all that a plan could. */
  readonly plan: StartPlan | undefined;
}

/** Who a member is, as its log says. The peer thread is told with the only message it gets. */
export interface MemberIdentity {
  readonly memberId: bigint;
  readonly clusterId: bigint;
}

/** What a worker tells the main thread: at start and stop, and for `--enable-pprof`. */
export type WorkerMessage =
  /** A profile that was ordered, as JSON; "" if there is none. */
  | { readonly kind: "profile"; readonly json: string }
  | { readonly kind: "recovered"; readonly identity: MemberIdentity }
  | { readonly kind: "ready" }
  /** The core's way to say it is ready, with what is to be logged as soon as clients are served. */
  | { readonly kind: "published"; readonly news: readonly string[] }
  | { readonly kind: "failed"; readonly code: string; readonly message: string }
  | { readonly kind: "stopped" };

/** What a frontend's thread is given. */
export interface FrontendInput {
  readonly config: Config;
  readonly topology: Topology;
  readonly identity: MemberIdentity;
  /** Its place in `Topology.frontends`; the main thread has 0. */
  readonly frontend: number;
  readonly endpoints: readonly { readonly host: string; readonly port: number }[];
}

/** What a frontend's thread tells the main thread. */
export type FrontendMessage =
  | Extract<WorkerMessage, { kind: "ready" | "failed" | "profile" }>
  | { readonly kind: "ask"; readonly id: number; readonly request: LocalRequest };

/** What the main thread tells a frontend's. */
export type FrontendOrder =
  | { readonly kind: "stopListening" }
  | { readonly kind: "close" }
  | { readonly kind: "answer"; readonly id: number; readonly answer: LocalResponse };
