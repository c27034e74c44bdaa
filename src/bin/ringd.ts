#!/usr/bin/env node
import { readConfig } from "../config/config.js";
import { ConfigError } from "../config/config-error.js";
import { usage } from "../config/flags.js";
import { RingdError } from "../lib/errors.js";
import { start } from "../thread/main.js";
import { versionText } from "./version.js";

try {
  const request = readConfig(process.argv.slice(2), process.env);
  if (request.kind === "help") process.stdout.write(`${usage()}\n`);
  else if (request.kind === "version") process.stdout.write(`${versionText()}\n`);
  else await start(request.config);
} catch (error) {
  if (!(error instanceof RingdError)) throw error;
  process.stderr.write(`${error.message}\n`);
  const isUsage = error instanceof ConfigError && error.exitCode === 2;
  if (isUsage) process.stderr.write(`${usage()}\n`);
  process.exit(error instanceof ConfigError ? error.exitCode : 1);
}
