import type { Config } from "../config/config.js";
import type { Guard } from "../frontend/guarded-exchange.js";
import { CORE_PART, type Topology } from "../messages/topology.js";
import { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { isServedByFrontend } from "../v2/local.js";
import { isPprofPath } from "./profiles.js";

const AUTH_ENABLED = cellOf("authEnabled");

/**
 * While authentication is enabled, profiles need the role root, and with `--protect-status`
 * everything else that is served without the core.
 */
export function authGuard({ protectStatus }: Config, topology: Topology): Guard {
  const core = new MetricCells(topology.metrics, CORE_PART);
  return {
    isGuarded: (path) =>
      core.get(AUTH_ENABLED) === 1 &&
      (isPprofPath(path) || (protectStatus && isServedByFrontend(path))),
  };
}
