import assert from "node:assert/strict";
import { test } from "node:test";
import { type KeysParts, KeysService } from "#ringd/member/v2-keys.js";
import { createMetricsMemory, MetricCells } from "#ringd/metrics/cells.js";
import { CommandOp, syncCommand } from "#ringd/store/command.js";
import { Store } from "#ringd/store/store.js";
import { ByteWriter } from "#ringd/v2/byte-writer.js";
import { Method } from "#ringd/v2/request.js";
import { requestOf } from "../v2/request-of.js";

const FRONTENDS = 3;
const EVENT_BYTES = 100;
const QUEUE_MAX = 250;

/** A service whose client port remembers what it would have written. */
class World {
  readonly store = new Store();
  readonly sent: string[] = [];
  readonly warnings: unknown[] = [];
  /** Queued response bytes by frontend; a frontend that is stuck takes none. */
  readonly queued = new Array<number>(FRONTENDS).fill(0);
  readonly stuck = new Set<number>();
  /** Complete searches through the open watches. */
  scans = 0;
  readonly keys: KeysService;

  constructor() {
    const port = {
      body: new ByteWriter(),
      open: () => undefined,
      queuedBytes: (frontend: number) => this.queued[frontend],
      chunk: (frontend: number, ids: readonly number[], isEnd: boolean) => {
        this.sent.push(`${frontend} ${isEnd ? "last" : "next"} ${ids.join(",")}`);
        if (this.stuck.has(frontend)) this.queued[frontend] = this.queuedOf(frontend) + EVENT_BYTES;
      },
      cut: (frontend: number, ids: readonly number[]) => {
        this.sent.push(`${frontend} cut ${ids.toSorted((a, b) => a - b).join(",")}`);
      },
    };
    const { hub } = this.store;
    const removeAll = hub.removeAll.bind(hub);
    hub.removeAll = (isConcerned) => {
      this.scans++;
      return removeAll(isConcerned);
    };
    this.keys = new KeysService({
      ...{ store: this.store, port, frontends: FRONTENDS, times: { clusterMs: 0, monoMs: 0 } },
      limits: { watchesMax: 1000, watchBytesMax: 1e6, responseBytesMax: QUEUE_MAX },
      metrics: new MetricCells(createMetricsMemory(1), 0),
      log: { warn: (fields: unknown) => this.warnings.push(fields) },
    } as unknown as KeysParts);
  }

  queuedOf(frontend: number): number {
    return this.queued[frontend] ?? 0;
  }

  watch(frontend: number, requestId: number, isStream: boolean): void {
    const query = `wait=true&recursive=true${isStream ? "&stream=true" : ""}`;
    const request = { ...requestOf("GET", "/v2/keys/d"), query };
    this.keys.handle({ frontend, requestId, method: Method.get }, request, "/v2/keys/d");
  }

  put(name: string): void {
    this.store.apply({ ...syncCommand(0), op: CommandOp.set, path: `/1/d/${name}`, value: "x" });
  }

  take(): string[] {
    return this.sent.splice(0);
  }
}

test("when a member stops, one record per frontend ends all of its watches", () => {
  const world = new World();
  for (let id = 1; id <= 3; id++) world.watch(0, id, false);
  for (let id = 1; id <= 2; id++) world.watch(2, id, true);
  world.keys.cutWatches();
  assert.deepEqual(world.take(), ["0 cut 1,2,3", "2 cut 1,2"]);
  assert.equal(world.store.hub.count, 0);
});

test("a frontend whose queue fills between two events gets no further ones", () => {
  const world = new World();
  world.stuck.add(0);
  world.watch(0, 1, true);
  world.watch(0, 2, false);
  world.watch(1, 1, true);
  for (const name of ["a", "b", "c", "d", "e"]) world.put(name);
  world.keys.deliver();
  assert.deepEqual(
    world.take().filter((line) => line.startsWith("0")),
    ["0 next 1", "0 last 2", "0 next 1", "0 cut 1"],
    "the queue is full after three events",
  );
  assert.ok(world.queuedOf(0) <= QUEUE_MAX + EVENT_BYTES);
  assert.deepEqual(world.warnings, [{ frontend: 0, watches: 1, queuedBytes: world.queuedOf(0) }]);
});

test("the watches of a stuck frontend are searched for once until its queue is short again", () => {
  const world = new World();
  world.watch(0, 1, true);
  world.watch(1, 1, true);
  world.queued[0] = QUEUE_MAX + 1;
  for (let n = 0; n < 10; n++) {
    world.put(`k${n}`);
    world.keys.deliver();
  }
  assert.equal(world.scans, 1);
  const sent = world.take();
  assert.deepEqual(sent[0], "0 cut 1");
  assert.equal(sent.filter((line) => line === "1 next 1").length, 10);
  // One of a request that was already taken.
  world.watch(0, 2, false);
  world.put("x");
  world.keys.deliver();
  assert.deepEqual([world.take(), world.scans], [["0 cut 2", "1 next 1"], 1]);
  assert.equal(world.store.hub.count, 1);
  world.queued[0] = 0;
  world.watch(0, 3, true);
  world.put("y");
  world.keys.deliver();
  assert.deepEqual(world.take(), ["0 next 3", "1 next 1"]);
  world.queued[0] = QUEUE_MAX + 1;
  world.put("z");
  world.keys.deliver();
  assert.deepEqual([world.take(), world.scans], [["0 cut 3", "1 next 1"], 2]);
});
