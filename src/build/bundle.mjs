// Bundles each program and each thread into one file of dist/bin: a start reads one file instead of a
// hundred. CommonJS, as there the imports of what is loaded lazily are lazy, too.
import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const root = new URL("../../", import.meta.url).pathname;
const outdir = `${root}dist/bin`;

const programs = ["ringd", "ringctl", "cluster"];
/** Started by name, beside the file that starts them (thread/workers.ts, thread/pool.ts). */
const threads = ["core", "wal", "peer", "frontend", "pool-worker", "hash-worker"];

/** Native, with files of their own beside them, or large and hardly ever used. */
const external = [
  "@node-rs/crc32",
  "@peculiar/x509",
  "bcryptjs",
  "pino-pretty",
  "piscina",
  "selfsigned",
  "uWebSockets.js",
  "yaml",
];

rmSync(outdir, { recursive: true, force: true });
await build({
  entryPoints: [
    ...programs.map((name) => `${root}src/program/${name}.ts`),
    ...threads.map((name) => `${root}src/thread/${name}.ts`),
  ],
  outdir,
  entryNames: "[name]",
  bundle: true,
  platform: "node",
  format: "cjs",
  target: "node20.11",
  external,
  define: { "import.meta.url": "bundleUrl" },
  banner: { js: 'const bundleUrl = require("node:url").pathToFileURL(__filename).href;' },
  // Not minified: stack traces and profiles have the names of the sources. The maps are read with
  // `node --enable-source-maps` alone, so they cost a start nothing.
  sourcemap: "linked",
  sourcesContent: false,
  logLevel: "warning",
});
writeFileSync(`${outdir}/package.json`, '{ "type": "commonjs" }\n');
for (const name of programs) chmodSync(`${outdir}/${name}.js`, 0o755);
