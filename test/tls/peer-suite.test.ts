import { NO_OPENSSL } from "./authority.js";

/** The tests of links between members, once more over TLS with certificates on both sides. */
if (NO_OPENSSL === false) {
  process.env.PEER_TLS = "1";
  await import("../peer/network.test.js");
  await import("../peer/broken-network.test.js");
  await import("../peer/snapshot.test.js");
}
