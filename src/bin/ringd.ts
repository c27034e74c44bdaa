#!/usr/bin/env node
import { type Config, readConfig } from "../config/config.js";
import { ConfigError } from "../config/config-error.js";
import { usage } from "../config/flags.js";
import { DiscoveryError } from "../discovery/discovery-error.js";
import { RingdError } from "../lib/errors.js";
import { start } from "../thread/main.js";
import { dataDirKind } from "../wal/data-dir.js";
import { versionText } from "./version.js";

/** What the data directory was used for decides what this process is; then the flags do. */
async function run(config: Config): Promise<void> {
  const { proxy, discovery, dataDir } = config;
  const kind = dataDirKind(dataDir);
  if (kind === "proxy" || (kind === "empty" && proxy.mode !== "off")) {
    await runProxy(config);
    return;
  }
  try {
    await start(config);
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

try {
  const request = readConfig(process.argv.slice(2), process.env);
  if (request.kind === "help") process.stdout.write(`${usage()}\n`);
  else if (request.kind === "version") process.stdout.write(`${versionText()}\n`);
  else await run(request.config);
} catch (error) {
  if (!(error instanceof RingdError)) throw error;
  process.stderr.write(`${error.message}\n`);
  const isUsage = error instanceof ConfigError && error.exitCode === 2;
  if (isUsage) process.stderr.write(`${usage()}\n`);
  process.exit(error instanceof ConfigError ? error.exitCode : 1);
}
