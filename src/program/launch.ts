import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { enableCompileCache } from "../process/compile-cache.js";

/**
 * Begins each program's file of dist/bin (build/bundle.mjs): V8 uses the cache for files that are
 * loaded after it is enabled, so the program itself is a second file.
 *
 * @param hasThreads they get the cache by a variable
 */
export function launch(hasThreads: boolean): void {
  const bin = dirname(fileURLToPath(import.meta.url));
  const directory = enableCompileCache(join(bin, ".."), process.env);
  if (hasThreads && directory !== undefined) process.env.NODE_COMPILE_CACHE = directory;
}
