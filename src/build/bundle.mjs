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
  "@opentelemetry/*",
  "@peculiar/x509",
  "bcryptjs",
  "pino-pretty",
  "piscina",
  "selfsigned",
  "uWebSockets.js",
  "yaml",
];

/**
 * Words of ringctl's command line that name a command of its own. Without any of them a smaller file
 * is loaded, in which these are missing: `ringctl get` compiles a third of the code.
 */
const rare =
  "backup bench completion doctor dump health import load migrate mirror move-leader snapshot top".split(
    " ",
  );

/** Stands in for the rare commands' files (ctl/commands/implementations.ts). */
const withoutRare = {
  name: "without-rare",
  setup({ onResolve, onLoad }) {
    const files = new RegExp(`^\\./(${rare.join("|")})(-\\w+)?\\.js$`);
    onResolve({ filter: files }, ({ path, kind }) =>
      kind === "dynamic-import" ? { path, namespace: "rare" } : undefined,
    );
    onLoad({ filter: /./, namespace: "rare" }, () => ({ contents: "export {};" }));
  },
};

/** Each program is two files: the one that is run enables V8's compile cache for the other. */
const mainOf = (name) => `${name}-main`;

rmSync(outdir, { recursive: true, force: true });
const common = {
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
};
await build({
  ...common,
  entryPoints: {
    ...Object.fromEntries(programs.map((name) => [mainOf(name), `${root}src/program/${name}.ts`])),
    ...Object.fromEntries(threads.map((name) => [name, `${root}src/thread/${name}.ts`])),
  },
});
await build({
  ...common,
  entryPoints: { "ringctl-usual": `${root}src/program/ringctl.ts` },
  plugins: [withoutRare],
  logOverride: { "import-is-undefined": "silent" },
});

/** What a program's first file loads. */
function loadingOf(name) {
  if (name !== "ringctl") return `require("./${mainOf(name)}.js");`;
  const words = JSON.stringify(rare);
  return `const isRare = process.argv.slice(2).some((word) => ${words}.includes(word));
if (isRare) require("./ringctl-main.js");
else require("./ringctl-usual.js");`;
}

for (const name of programs) {
  const { outputFiles } = await build({
    ...common,
    outdir: undefined,
    entryNames: undefined,
    sourcemap: false,
    write: false,
    stdin: {
      contents: `import { launch } from "./launch.js";\nlaunch(${name === "ringd"});\n${loadingOf(name)}\n`,
      resolveDir: `${root}src/program`,
      loader: "ts",
    },
    external: [`./${mainOf(name)}.js`, "./ringctl-usual.js"],
  });
  writeFileSync(`${outdir}/${name}.js`, `#!/usr/bin/env node\n${outputFiles[0].text}`);
}
writeFileSync(`${outdir}/package.json`, '{ "type": "commonjs" }\n');
for (const name of programs) chmodSync(`${outdir}/${name}.js`, 0o755);
