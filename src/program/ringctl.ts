#!/usr/bin/env node
import { main } from "../ctl/main.js";
import { flush } from "../ctl/output/terminal.js";

const [, program = "ringctl", ...words] = process.argv;
void run();

async function run(): Promise<void> {
  const exitCode = await main({
    program,
    words,
    env: process.env,
    version: async (name) => {
      if (name === "etcdctl") return (await import("../v2/status.js")).COMPAT_VERSION;
      return (await import("./version.js")).ringdVersion();
    },
  });
  await flush();
  process.exit(exitCode);
}
