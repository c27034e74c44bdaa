import { existsSync, lstatSync, mkdirSync, type Stats, statSync } from "node:fs";
import nodeModule from "node:module";
import { join } from "node:path";

/** Since Node.js 22.1 and 22.10. */
type CompileCache = {
  readonly enableCompileCache?: (directory: string) => { readonly directory?: string };
  readonly flushCompileCache?: () => void;
};

const WRITABLE_BY_OTHERS = 0o022;
const OPEN_TO_OTHERS = 0o077;

/**
 * Keeps V8's code from one start to the next, where this Node.js can. Whoever may write to the
 * directory decides what the process runs, so nothing is shared: see `cacheDirectory`. A failure
 * costs the time of compiling, and nothing else.
 *
 * @param own directory of the package, beside its code
 * @returns the directory, for threads: NODE_COMPILE_CACHE has them use it, too
 */
export function enableCompileCache(own: string, env: NodeJS.ProcessEnv): string | undefined {
  const { enableCompileCache: enable } = nodeModule as CompileCache;
  if (enable === undefined) return undefined;
  // The user's own choice; Node.js has followed it already.
  if (env.NODE_COMPILE_CACHE || env.NODE_DISABLE_COMPILE_CACHE) return undefined;
  const directory = cacheDirectory(own, env);
  if (directory === undefined) return undefined;
  return enable(directory).directory === undefined ? undefined : directory;
}

/** Stores what was compiled so far, for a process that may be killed. */
export function flushCompileCache(): void {
  (nodeModule as CompileCache).flushCompileCache?.();
}

/**
 * A directory that nobody else can read or write, made if it is missing: in the package if it is
 * this user's, else in the user's cache directory (XDG).
 *
 * @returns undefined if there is none
 */
export function cacheDirectory(own: string, env: NodeJS.ProcessEnv): string | undefined {
  const { XDG_CACHE_HOME: cache, HOME: home } = env;
  const inPackage = inside(own, "compile-cache");
  if (inPackage !== undefined) return inPackage;
  if (cache) return inside(cache, "ringd");
  return home ? inside(home, ".cache", "ringd") : undefined;
}

/** @param base of this user, and writable to no other, as all on the way: nobody can replace it */
function inside(base: string, ...names: readonly string[]): string | undefined {
  try {
    let path = base;
    if (!isOurs(statSync(base), WRITABLE_BY_OTHERS)) return undefined;
    for (const [i, name] of names.entries()) {
      path = join(path, name);
      // Not recursive: that goes on for ever where nothing can be made, as in /proc.
      if (!existsSync(path)) mkdirSync(path, { mode: 0o700 });
      const isLast = i === names.length - 1;
      if (!isOurs(lstatSync(path), isLast ? OPEN_TO_OTHERS : WRITABLE_BY_OTHERS)) return undefined;
    }
    return path;
  } catch {
    return undefined; // Read-only, full, not there: it is compiled anew each time.
  }
}

function isOurs(found: Stats, forbidden: number): boolean {
  return found.isDirectory() && found.uid === process.getuid?.() && (found.mode & forbidden) === 0;
}
