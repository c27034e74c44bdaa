import type { Logger } from "../log/logger.js";

/** The log of the peer thread. */
export type PeerLog = Pick<Logger, "info" | "warn" | "error">;
