import type { Config } from "../config/config.js";
import { assert } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { TlsIdentity } from "../tls/identity.js";
import type { NodeTls } from "./node-http.js";

const REJECTED = cellOf("tlsRejected");

/**
 * What a node frontend needs to serve https to clients.
 *
 * @param owned set in the one thread that renews a generated pair and warns of its end
 * @throws TlsFileError
 */
export async function nodeTls(
  config: Config,
  log: Logger,
  metrics: MetricCells,
  owned: MetricCells | undefined,
): Promise<NodeTls> {
  assert(config.clientTls !== undefined, "https URLs come with TLS settings");
  return {
    identity: await TlsIdentity.open(config.clientTls, { log, metrics: owned }),
    onRejected: ({ why, remote, serverName }) => {
      metrics.add(REJECTED, 1);
      log.warn({ remote, serverName, reason: why }, `rejected connection (error "${why}")`);
    },
  };
}
