import assert from "node:assert/strict";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { cacheDirectory } from "#ringd/process/compile-cache.js";

const dir = mkdtempSync(join(tmpdir(), "ringd-test-"));
after(() => rmSync(dir, { recursive: true }));

function place(name: string, mode = 0o755): string {
  const path = join(dir, name);
  mkdirSync(path, { mode });
  chmodSync(path, mode);
  return path;
}

test("the cache is in the package, else in the user's cache directory, and closed to others", () => {
  const own = place("own");
  const home = place("home");
  assert.equal(cacheDirectory(own, {}), join(own, "compile-cache"));
  assert.equal(statSync(join(own, "compile-cache")).mode & 0o777, 0o700);
  assert.equal(cacheDirectory(own, { HOME: home }), join(own, "compile-cache"));
  const gone = join(dir, "none");
  assert.equal(cacheDirectory(gone, { HOME: home }), join(home, ".cache/ringd"));
  assert.equal(statSync(join(home, ".cache/ringd")).mode & 0o777, 0o700);
  const xdg = place("xdg");
  assert.equal(cacheDirectory(gone, { HOME: home, XDG_CACHE_HOME: xdg }), join(xdg, "ringd"));
});

test("there is no cache where somebody else could write, and no error", () => {
  const gone = join(dir, "none");
  assert.equal(cacheDirectory(gone, {}), undefined);
  assert.equal(cacheDirectory(gone, { HOME: gone }), undefined);
  assert.equal(cacheDirectory(gone, { HOME: "/proc/self" }), undefined);
  assert.equal(cacheDirectory(place("shared", 0o1777), {}), undefined);
  assert.equal(cacheDirectory(place("group", 0o775), {}), undefined);
  const open = place("open");
  mkdirSync(join(open, "compile-cache"));
  chmodSync(join(open, "compile-cache"), 0o755);
  assert.equal(cacheDirectory(open, {}), undefined);
  const led = place("led");
  symlinkSync(place("target", 0o700), join(led, "compile-cache"));
  assert.equal(cacheDirectory(led, {}), undefined);
});

test("another user's directory is not used", (t) => {
  if (process.getuid?.() !== 0) return t.skip("needs root");
  const foreign = place("foreign");
  chownSync(foreign, 65_534, 65_534);
  assert.equal(cacheDirectory(foreign, { HOME: foreign }), undefined);
});
