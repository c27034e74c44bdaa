import type { Logger } from "../log/logger.js";

/** What the peer thread says. */
export type PeerLog = Pick<Logger, "info" | "warn" | "error">;
