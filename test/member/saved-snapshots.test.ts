import assert from "node:assert/strict";
import { test } from "node:test";
import { SavedSnapshots, type SavedSnapshotsPorts } from "#ringd/member/saved-snapshots.js";
import { createMetricsMemory, MetricCells } from "#ringd/metrics/cells.js";
import { Bell } from "#ringd/ring/bell.js";
import { Outlet } from "#ringd/ring/fragments.js";
import { createRing, RingWriter } from "#ringd/ring/ring.js";
import { Store } from "#ringd/store/store.js";

test("a member that joined saves none before it has applied an entry, then at once", () => {
  const store = new Store();
  const applier = { index: 0, term: 0 };
  const state = {
    ...{ store, applier, clusterId: 7n },
    raft: { id: 5n, commit: 9, conf: { voters: [5n], learners: [] } },
    machines: { encoder: () => ({ next: () => undefined }), outBytes: 0, stateBytes: 0 },
    head: () => ({ format: 4, clock: { ms: 0, term: 0, index: 0 } }),
  } as unknown as SavedSnapshotsPorts["state"];
  const times = { wallMs: 1_000_000, monoMs: 1000, clusterMs: 0 };
  const saved = new SavedSnapshots({
    ...{ state, times, intervalMs: 1000 },
    jobs: new Outlet(new RingWriter(createRing(65_536), new Bell(Bell.create()))),
    metrics: new MetricCells(createMetricsMemory(1), 0),
    log: { info: () => undefined, warn: () => undefined },
  });
  times.wallMs += 1000;
  saved.tick();
  assert.equal(saved.hasWork(), false);
  Object.assign(applier, { index: 9, term: 2 });
  saved.tick();
  assert.equal(saved.hasWork(), true);
});
