import assert from "node:assert/strict";
import { test } from "node:test";
import type { TreeView } from "#ringd/btree/cursor.js";
import { afterSubtree, comparePaths } from "#ringd/btree/path-order.js";
import { Tree } from "#ringd/btree/tree.js";
import { Node } from "#ringd/store/node.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";

const node = (path: string, index: number) => new Node(path, "", false, index, index, 0);

function randomPath(prng: Prng): string {
  const parts = Array.from({ length: 1 + prng.below(3) }, () => "ab!_0é"[prng.below(6)]);
  return `/${parts.join("/")}${prng.oneIn(3) ? String(prng.below(50)) : ""}`;
}

function all(tree: Tree<Node> | TreeView<Node>): string[] {
  const cursor = tree.cursor("");
  const lines: string[] = [];
  for (let n = cursor.next(); n !== undefined; n = cursor.next())
    lines.push(`${n.path}=${n.createdIndex}`);
  return lines;
}

function allOf(model: ReadonlyMap<string, number>): string[] {
  return [...model]
    .sort(([a], [b]) => comparePaths(a, b))
    .map(([path, index]) => `${path}=${index}`);
}

test(`the tree is a sorted map, and its views never change, SEED=${SEED}`, () => {
  const prng = new Prng(SEED);
  const tree = new Tree<Node>();
  const model = new Map<string, number>();
  let missed = "/";
  const views: { view: TreeView<Node>; expected: string[] }[] = [];
  for (let n = 0; n < 8000; n++) {
    const isShrinking = n % 2000 >= 1000;
    const isKnown = isShrinking && model.size > 0 && prng.oneIn(2);
    // A path that was looked for in vain may be set at once, or after other writes.
    const path = isKnown ? prng.pick([...model.keys()]) : prng.oneIn(4) ? missed : randomPath(prng);
    if (prng.oneIn(2)) assert.equal(tree.get(path)?.createdIndex, model.get(path));
    if (prng.oneIn(isShrinking ? 1.5 : 4)) {
      assert.equal(tree.delete(path)?.createdIndex, model.get(path));
      model.delete(path);
      if (prng.oneIn(3)) tree.checkInvariants(); // Before a lookup refills the caches.
    } else {
      assert.equal(tree.set(node(path, n))?.createdIndex, model.get(path));
      model.set(path, n);
    }
    assert.equal(tree.get(path)?.createdIndex, model.get(path));
    const other = randomPath(prng); // It may have moved to another page since the lookup.
    assert.equal(tree.get(other)?.createdIndex, model.get(other));
    missed = other;
    if (prng.oneIn(500)) views.push({ view: tree.view(), expected: allOf(model) });
    if (prng.oneIn(500)) tree.checkInvariants();
  }
  tree.checkInvariants();
  assert.deepEqual(all(tree), allOf(model));
  assert.ok(views.length > 3);
  for (const { view, expected } of views) assert.deepEqual(all(view), expected);
});

test("pages that a view keeps from being changed in place are counted", () => {
  const tree = Tree.load(Array.from({ length: 10_000 }, (_, i) => node(`/k${10_000 + i}`, i)));
  tree.set(node("/k10000", 1));
  const before = tree.copiedBytes;
  for (let i = 0; i < 64; i++) tree.set(node(`/k${10_000 + i}`, 2));
  assert.equal(tree.copiedBytes, before);
  tree.view();
  for (let n = 0; n < 3; n++) tree.set(node("/k10000", 3));
  const path = tree.copiedBytes - before;
  assert.ok(path > 3 * 64 * 8 && path < 10_000, `${path} bytes for a leaf and its branches`);
  tree.view();
  tree.set(node("/k10000", 4));
  assert.equal(tree.copiedBytes, before + 2 * path);
  tree.view();
  for (let i = 0; i < 10_000; i += 64) tree.delete(`/k${10_000 + i}`);
  assert.ok(tree.copiedBytes > before + 2 * path + 10_000 * 8);
});

test("a subtree is one range: '/' sorts below every other byte", () => {
  const paths = ["/a", "/a/b", "/a/b/c", "/a/c", "/a\0", "/a!", "/a-b", "/ab", "/b"];
  assert.deepEqual([...paths].reverse().sort(comparePaths), paths);
  const tree = Tree.load(paths.map((path, i) => node(path, i)));
  const cursor = tree.cursor("/a/");
  assert.equal(cursor.peek()?.path, "/a/b");
  cursor.seek(afterSubtree("/a"));
  assert.equal(cursor.peek()?.path, "/a\0");
});

test("a loaded tree is the tree of the same inserts", () => {
  const nodes = Array.from({ length: 10_000 }, (_, i) =>
    node(`/k${String(i).padStart(6, "0")}`, i),
  );
  const loaded = Tree.load(nodes);
  loaded.checkInvariants();
  assert.equal(loaded.size, 10_000);
  assert.equal(loaded.get("/k004321")?.createdIndex, 4321);
  loaded.delete("/k004321");
  loaded.checkInvariants();
  assert.equal(loaded.get("/k004321"), undefined);
});
