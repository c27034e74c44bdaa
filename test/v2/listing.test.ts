import assert from "node:assert/strict";
import { test } from "node:test";
import { comparePaths } from "#ringd/btree/path-order.js";
import { Tree } from "#ringd/btree/tree.js";
import { Node, PERMANENT } from "#ringd/store/node.js";
import { ByteWriter } from "#ringd/v2/byte-writer.js";
import { Listing } from "#ringd/v2/listing.js";
import { Prng } from "../support/prng.js";
import { SEED } from "../support/seed.js";

const NOW_MS = 1_795_242_600_000;

/** Parents first; a path that ends in "/" is a directory. */
function treeOf(paths: readonly string[]): Tree<Node> {
  const nodes = paths.map((path, i) => {
    const isDirectory = path.endsWith("/");
    const name = isDirectory ? path.slice(0, -1) : path;
    return new Node(name, isDirectory ? "" : `v${i}`, isDirectory, i, i, PERMANENT);
  });
  return Tree.load(nodes.sort((a, b) => comparePaths(a.path, b.path)));
}

interface Listed {
  readonly text: string;
  readonly slices: number;
}

function list(tree: Tree<Node>, path: string, isRecursive: boolean, bytesMax = 1 << 20): Listed {
  const directory = tree.get(path);
  assert.ok(directory !== undefined);
  const listing = new Listing(directory, tree.cursor(""), isRecursive, NOW_MS);
  const writer = new ByteWriter();
  let text = "";
  for (let slices = 1; ; slices++) {
    assert.ok(slices < 1_000_000, "a listing ends");
    const isDone = listing.next(writer, bytesMax);
    text += writer.bytes.latin1Slice(0, writer.length);
    writer.clear();
    if (isDone) return { text, slices };
  }
}

test("the root of an empty store has no key, no indexes and no nodes", () => {
  assert.equal(list(treeOf(["/1/"]), "/1", false).text, '{"action":"get","node":{"dir":true}}\n');
});

const TREE = treeOf([
  "/1/",
  "/1/d/",
  "/1/d-a",
  "/1/d/_h/",
  "/1/d/_h/x",
  "/1/d/e/",
  "/1/d/e/f",
  "/1/d/g",
  "/1/d/e/_i",
]);

test("without recursive, sub-directories come without their children", () => {
  assert.equal(
    list(TREE, "/1/d", false).text,
    '{"action":"get","node":{"key":"/d","dir":true,"nodes":[{"key":"/d/e","dir":true,"modifiedIndex":5,"createdIndex":5},{"key":"/d/g","value":"v7","modifiedIndex":7,"createdIndex":7}],"modifiedIndex":1,"createdIndex":1}}\n',
  );
});

test("hidden nodes are left out with their descendants, unless requested", () => {
  assert.equal(
    list(TREE, "/1/d", true).text,
    '{"action":"get","node":{"key":"/d","dir":true,"nodes":[{"key":"/d/e","dir":true,"nodes":[{"key":"/d/e/f","value":"v6","modifiedIndex":6,"createdIndex":6}],"modifiedIndex":5,"createdIndex":5},{"key":"/d/g","value":"v7","modifiedIndex":7,"createdIndex":7}],"modifiedIndex":1,"createdIndex":1}}\n',
  );
  assert.equal(
    list(TREE, "/1/d/_h", true).text,
    '{"action":"get","node":{"key":"/d/_h","dir":true,"nodes":[{"key":"/d/_h/x","value":"v4","modifiedIndex":4,"createdIndex":4}],"modifiedIndex":3,"createdIndex":3}}\n',
  );
});

test("many hidden nodes are passed over in several turns", () => {
  const hidden = Array.from({ length: 20_000 }, (_, i) => `/1/d/_${i}`);
  const { text, slices } = list(treeOf(["/1/", "/1/d/", ...hidden, "/1/d/z"]), "/1/d", true);
  assert.match(text, /"nodes":\[\{"key":"\/d\/z",[^[]*\}\]/);
  assert.ok(slices >= 4, `${slices} slices`);
});

interface Shown {
  readonly key: string;
  readonly nodes?: readonly Shown[];
}

function keysOf(node: Shown): readonly string[] {
  return (node.nodes ?? []).flatMap((child) => [child.key, ...keysOf(child)]);
}

test("slices of any size make the same listing, of the nodes a plain filter finds", () => {
  const prng = new Prng(SEED);
  for (let run = 0; run < 200; run++) {
    const directories = ["/1/"];
    const paths = new Set(directories);
    for (let n = prng.below(40); n > 0; n--) {
      const parent = directories[prng.below(directories.length)] as string;
      const name = ["a", "_b", "c-", "c", "c.d", "~", "_"][prng.below(7)] as string;
      const isTaken = paths.has(`${parent}${name}`) || paths.has(`${parent}${name}/`);
      if (isTaken) continue;
      const isDirectory = prng.below(2) === 0;
      paths.add(isDirectory ? `${parent}${name}/` : `${parent}${name}`);
      if (isDirectory) directories.push(`${parent}${name}/`);
    }
    const tree = treeOf([...paths]);
    const asked = directories[prng.below(directories.length)] as string;
    const isRecursive = prng.below(2) === 0;
    const whole = list(tree, asked.slice(0, -1), isRecursive).text;
    const sliced = list(tree, asked.slice(0, -1), isRecursive, 1 + prng.below(300)).text;
    assert.equal(sliced, whole, `SEED=${SEED}`);
    const expected = [...paths]
      .filter((path) => path.startsWith(asked) && path !== asked)
      .map((path) => path.replace(/\/$/, ""))
      .filter((path) => !`/${path.slice(asked.length)}`.includes("/_"))
      .filter((path) => isRecursive || !path.slice(asked.length).includes("/"))
      .sort(comparePaths)
      .map((path) => path.slice("/1".length));
    assert.deepEqual(keysOf(JSON.parse(whole).node), expected, `SEED=${SEED}`);
  }
});
