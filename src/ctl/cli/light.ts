import Module, { createRequire } from "node:module";
import { setFlagsFromString } from "node:v8";

/**
 * Leaves out what a command that asks once and ends has no use for. To be called before the client is loaded.
 *
 * 1. undici's parser is WebAssembly, and V8 optimizes it in the background, which a process that ends must
 *    wait for. What runs for long does with that.
 * 2. undici loads its HTTP/2 part with the other, and that node:http2, all of TLS and cryptography: a tenth of
 *    the time that `get` takes. It is switched off unless `allowH2` is set, so a stub in its place is never
 *    called. undici's version is pinned exactly; a test sees whether the stub still is where it belongs.
 */
export function startLightly(): void {
  setFlagsFromString("--liftoff-only");
  setFlagsFromString("--wasm-lazy-compilation");
  const require = createRequire(import.meta.url);
  const path = require.resolve("undici/lib/dispatcher/client-h2.js");
  const stub = new Module(path);
  stub.exports = () => {
    throw new Error("HTTP/2 is left out");
  };
  stub.loaded = true;
  require.cache[path] = stub;
}
