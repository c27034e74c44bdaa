#!/usr/bin/env node
import { type Config, readConfig } from "../config/config.js";
import { ConfigError } from "../config/config-error.js";
import { usage } from "../config/flags.js";
import { DiscoveryError } from "../discovery/discovery-error.js";
import { RingdError } from "../lib/errors.js";
import { coreCount } from "../process/cores.js";
import { start } from "../thread/main.js";
import { dataDirKind } from "../wal/data-dir.js";
import { versionText } from "./version.js";

/** What the data directory was used for decides what this process is; then the flags do. */
async function run(config: Config): Promise<void> {
  const { proxy, discovery, dataDir } = config;
  const kind = dataDirKind(dataDir);
  const isProxy = kind === "proxy" || (kind === "empty" && proxy.mode !== "off");
  const warnings = [...config.warnings];
  if (kind !== "empty" && isProxy !== (proxy.mode !== "off")) {
    warnings.push(
      `the server is already initialized as ${kind} before, starting as etcd ${kind}: ` +
        `--data-dir=${dataDir} counts, and not --proxy=${proxy.mode}`,
    );
  }
  if (isProxy) {
    await runProxy({ ...config, warnings });
    return;
  }
  try {
    await start({ ...config, warnings });
  } catch (error) {
    const isFull = error instanceof DiscoveryError && error.reason === "full";
    if (!isFull || discovery.fallback !== "proxy") throw error;
    const warning = "discovery cluster is full, falling back to proxy";
    await runProxy({ ...config, warnings: [...config.warnings, warning] });
  }
}

/** Loaded only here: a member does without. */
async function runProxy(config: Config): Promise<void> {
  const { startProxy } = await import("../proxy/start.js");
  await startProxy(config);
}

/** @throws RingdError */
async function runGateway(argv: readonly string[]): Promise<void> {
  const { GATEWAY_USAGE, readGatewayFlags } = await import("../proxy/gateway-flags.js");
  const { startGateway } = await import("../proxy/gateway-start.js");
  const flags = readGatewayFlags(argv);
  if (flags === "help") process.stdout.write(GATEWAY_USAGE);
  else await startGateway(flags);
}

async function main(argv: readonly string[]): Promise<void> {
  if (argv[0] === "gateway") {
    await runGateway(argv.slice(1));
    return;
  }
  const request = readConfig(argv, process.env, coreCount());
  if (request.kind === "help") process.stdout.write(`${usage()}\n`);
  else if (request.kind === "version") process.stdout.write(`${versionText()}\n`);
  else await run(request.config);
}

main(process.argv.slice(2)).catch((error: unknown) => {
  if (!(error instanceof RingdError)) throw error;
  process.stderr.write(`${error.message}\n`);
  const isUsage = error instanceof ConfigError && error.exitCode === 2;
  if (isUsage) process.stderr.write(`${usage()}\n`);
  process.exit(error instanceof ConfigError ? error.exitCode : 1);
});
