import type { Config } from "../config/config.js";
import { assert } from "../lib/assert.js";
import type { Logger } from "../log/logger.js";
import type { MetricCells } from "../metrics/cells.js";
import { cellOf } from "../metrics/families.js";
import { tlsInfoText } from "../tls/files.js";
import { TlsIdentity } from "../tls/identity.js";
import type { NodeTls } from "./node-http.js";
import { type Rejection, TlsDoor } from "./tls-door.js";

const REJECTED = cellOf("tlsRejected");

/**
 * What a node frontend needs to serve https to clients.
 *
 * @param owned set in the one thread that renews a generated pair and warns of its end
 * @throws TlsFileError
 */
export async function nodeTls(
  { clientTls }: Config,
  log: Logger,
  metrics: MetricCells,
  owned: MetricCells | undefined,
): Promise<NodeTls & { readonly info: string }> {
  assert(clientTls !== undefined, "https URLs come with TLS settings");
  const identity = await TlsIdentity.open(clientTls, { log, metrics: owned });
  const onRejected = ({ why, remote, serverName }: Rejection) => {
    metrics.add(REJECTED, 1);
    log.warn({ remote, serverName, reason: why }, `rejected connection (error "${why}")`);
  };
  return {
    openDoor: (rooms) => new TlsDoor(identity, rooms, { onRejected }),
    info: `ClientTLS: ${tlsInfoText(clientTls)}`,
  };
}
