import { encodeSavedHead } from "../cluster/saved-head.js";
import type { SnapshotHead } from "../cluster/snapshot-head.js";
import { assert } from "../lib/assert.js";
import { NONE } from "../raft/entry.js";
import type { Raft } from "../raft/raft.js";
import { SNAPSHOT_FORMAT } from "../snap/format.js";
import { SnapshotStream } from "../snap/stream.js";
import type { Store } from "../store/store.js";
import type { ByteWriter } from "../v2/byte-writer.js";
import type { ApiRequest } from "../v2/request.js";
import { readSnapshotRequest, snapshotHead, snapshotUnavailable } from "../v2/snapshot.js";
import type { Applier } from "./apply.js";
import type { Audit, AuditSource } from "./audit.js";
import type { Gate } from "./gate.js";
import { TOO_MANY } from "./limits.js";
import type { Listings, SlicedBody } from "./listings.js";
import type { Machines } from "./machine.js";
import type { Reads } from "./reads.js";
import type { ClientPort, ClientRequest } from "./replies.js";
import type { TurnTimes } from "./times.js";

/** A block is made within one slice: writes wait for no more than that. */
export const SAVED_BLOCK_BYTES = 64 * 1024;
const NO_LEADER = "etcdserver: no leader";
const GONE = "the client has gone";

/** What a saved snapshot is made of: the state as of the last applied entry. */
export interface SavedState {
  readonly store: Store;
  readonly machines: Machines;
  readonly raft: Raft;
  readonly applier: Applier;
  readonly clusterId: bigint;
  readonly head: () => SnapshotHead;
}

export interface SnapshotServiceParts {
  readonly state: SavedState;
  readonly raft: Raft;
  readonly gate: Gate;
  readonly audit: Audit;
  readonly reads: Reads;
  readonly listings: Listings;
  readonly clients: ClientPort;
  readonly times: TurnTimes;
}

/**
 * `GET /v2/admin/snapshot`: a saved snapshot (snap/format.ts) in slices, from a frozen view, as
 * large listings are.
 */
export class SnapshotService {
  readonly #parts: SnapshotServiceParts;
  /** Those that wait for a read index. */
  readonly #waiting = new Set<ClientRequest>();

  constructor(parts: SnapshotServiceParts) {
    this.#parts = parts;
  }

  handle(client: ClientRequest, request: ApiRequest): void {
    const { gate, audit, clients, raft, reads, times } = this.#parts;
    const asked = readSnapshotRequest(request);
    if (asked.kind === "answer") {
      clients.answerWhole(client, asked.answer);
      return;
    }
    const verdict = gate.admitsRoot(client, request);
    if (!verdict.isAdmitted) return;
    const source = audit.source(request, verdict.user);
    const refuse = (why: string) => clients.answerWhole(client, snapshotUnavailable(why));
    if (!asked.isLinearizable) {
      this.#start(client, source);
      return;
    }
    if (raft.lead === NONE) {
      refuse(NO_LEADER);
      return;
    }
    this.#waiting.add(client);
    reads.add({
      frontend: client.frontend,
      startMs: times.monoMs,
      isHealthCheck: false,
      confirmed: () => {
        if (this.#waiting.delete(client)) this.#start(client, source);
        else refuse(GONE);
      },
      failed: (why) => {
        this.#waiting.delete(client);
        refuse(why);
      },
    });
  }

  /** The client disconnected; a snapshot that has begun is a listing's. */
  abort({ frontend, requestId }: ClientRequest): void {
    for (const client of this.#waiting) {
      const isIt = client.frontend === frontend && client.requestId === requestId;
      if (isIt) this.#waiting.delete(client);
    }
  }

  #start(client: ClientRequest, source: AuditSource | undefined): void {
    const { state, audit, listings, clients } = this.#parts;
    if (!listings.hasRoomForSnapshot()) {
      clients.answerWhole(client, snapshotUnavailable(TOO_MANY));
      return;
    }
    const { version, ...head } = savedHead(state);
    const stream = new SnapshotStream(
      { ...head, version },
      state.machines.encoder(SAVED_BLOCK_BYTES),
    );
    listings.startSnapshot(client, snapshotHead(state.store.index), new SnapshotBody(stream), {
      outBytes: state.machines.outBytes,
      viewBytesMax: state.machines.stateBytes,
    });
    audit.write("snapshot", source, 200, `etcd index ${state.store.index}`);
  }
}

/** The file's header: position, metadata, version. */
export function savedHead({ applier, raft, store, clusterId, head }: SavedState) {
  const { index, term } = applier;
  assert(index > 0 && term > 0, "a member that serves has applied an entry");
  assert(index <= raft.commit, "a snapshot holds only what is committed");
  assert(raft.conf.voters.length > 0, "a snapshot is of a cluster that has voters");
  const at = head();
  const origin = { etcdIndex: store.index, clusterId, memberId: raft.id };
  const version = Math.min(at.format, SNAPSHOT_FORMAT);
  assert(version >= 1, "versions count from 1");
  return { index, term, version, metadata: encodeSavedHead(raft.conf, at, origin) };
}

class SnapshotBody implements SlicedBody {
  readonly #stream: SnapshotStream;

  constructor(stream: SnapshotStream) {
    this.#stream = stream;
  }

  next(out: ByteWriter, bytesMax: number): boolean {
    // Small nodes make blocks a little longer than a slice: each is to take one, not two.
    out.raw(this.#stream.next(2 * bytesMax));
    return this.#stream.isDone;
  }
}
